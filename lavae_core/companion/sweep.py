"""`run_all.sh --seeds 0 1 2`: what the verdicts are judged on, measured for several seeds.

A task is one group of measurements of one seed. Tasks are independent and run behind the interface
of concurrent.futures: in processes of this machine by loky, or on a Dask cluster. What was measured
is kept in the store task by task, so a next call runs only what is missing.
"""

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from typing import TypeVar

import torch

import lavae_core
from lavae_core import artifacts, measurements, profiles, runtime
from lavae_core.companion.display import Watch, say
from lavae_core.companion.execution import SECONDS_PER_TICK, kill_children
from lavae_core.companion.files import only_run, require_writable
from lavae_core.companion.settings import Settings, environment
from lavae_core.errors import InvalidInputError, LavaeError
from lavae_core.experiments import Setting, load_or_train
from lavae_core.measurements import Measurement, Vectors
from lavae_core.paths import home

CONNECT_SECONDS = 5
T, R = TypeVar("T"), TypeVar("R")
ATTEMPTS = 2  # of a task whose process died: the second alone, so that it is known which one dies


@dataclass(frozen=True)
class Pool:
    """Where tasks run. open: a new executor; at_once: tasks to hand out at a time; close: leave."""

    open: Callable[[], Executor]
    at_once: int
    close: Callable[[], None] = lambda: None


def sweep(seeds: list[int], settings: Settings, scheduler: str | None) -> None:
    """Measure every group for every seed. Raises LavaeError, at the end, if a task failed."""
    for folder in (home(), settings.figures, settings.runs):
        require_writable(folder)
    tasks = tasks_of(seeds, settings)
    missing = [task for task in tasks if not artifacts.exists(task.KIND, task.spec())]
    say(f"{len(tasks)} tasks, {len(tasks) - len(missing)} of them done before")
    failed = []
    with only_run(settings.runs), environment(settings.variables()):
        pool = on_cluster(scheduler) if scheduler else on_this_machine()
        watch = Watch(settings.progress_file)
        with contextlib.closing(pool):
            for number, (task, result, minutes) in enumerate(run(missing, measure, pool, watch), 1):
                position = f"[{number}/{len(missing)}] {task.label}"
                if isinstance(result, Exception):
                    failed.append(task.label)
                    say(f"{position} failed: {_first_line(result)}")
                else:
                    task.keep(result)
                    say(f"{position} done in {minutes:.1f} min")
    if failed:
        raise LavaeError(
            f"{len(failed)} of {len(missing)} tasks failed: {'; '.join(failed)}; the others are kept"
        )


def tasks_of(seeds: list[int], settings: Settings) -> list[Measurement]:
    """All groups of each seed; the flips first: Table I, and models that the heatmap needs too."""
    profile = profiles.resolve(settings.profile)
    started = runtime.start(settings.device or "cpu")
    return [
        Measurement(Setting(seed, started, profile.n_train), profile, group)
        for group in measurements.GROUPS
        for seed in seeds
    ]


def measure(task: Measurement) -> Vectors:
    """What a worker does: the measurement, from its store or made now."""
    return load_or_train(task)


def run(
    tasks: list[T], work: Callable[[T], R], pool: Pool, watch: Watch
) -> Iterator[tuple[T, R | Exception, float]]:
    """Each task with its result, or with why it has none, and its minutes, as they are done.

    A process that dies takes with it what others of its pool were doing. Whatever was under way is
    tried again, one by one, so that the task that kills its process is known from those it hit.
    """
    waiting, suspects, tried = list(tasks), [], Counter()

    def has_room(running: dict) -> bool:
        alone = suspects or any(tried[task] for task, _ in running.values())
        return len(running) < (1 if alone else pool.at_once)

    while waiting or suspects:
        executor, running, broken = pool.open(), {}, False
        try:
            while running or ((waiting or suspects) and not broken):
                while (waiting or suspects) and has_room(running) and not broken:
                    task = (suspects or waiting).pop(0)
                    running[executor.submit(work, task)] = task, time.monotonic()
                for future in _first_done(running, watch):
                    task, started = running.pop(future)
                    result = _result(future)
                    tried[task] += 1
                    if isinstance(result, BrokenExecutor) and tried[task] < ATTEMPTS:
                        broken = True
                        suspects.append(task)
                        continue
                    broken = broken or isinstance(result, BrokenExecutor)
                    yield task, result, (time.monotonic() - started) / 60
        finally:
            watch.close()
            if running:  # interrupted: a worker would train on for nobody
                kill_children()
            executor.shutdown(wait=not running)


def _first_done(running: dict[Future, object], watch: Watch) -> set[Future]:
    while True:
        done, _ = wait(running, timeout=SECONDS_PER_TICK, return_when=FIRST_COMPLETED)
        if done:
            return done
        watch.tick()


def _result(future: Future) -> object:
    try:
        return future.result()
    except Exception as error:  # of one task: the others go on
        return error


def on_this_machine() -> Pool:
    """Processes of loky, as many as fill the cores with the threads that each uses."""
    from joblib import cpu_count
    from joblib.externals.loky import get_reusable_executor

    processes = max(1, cpu_count() // runtime.THREADS)
    return Pool(
        lambda: get_reusable_executor(
            max_workers=processes, timeout=None, initializer=_end_with, initargs=(os.getpid(),)
        ),
        processes,
    )


def _end_with(parent: int) -> None:
    """Of a worker: end when `parent` has, however that ended; else it would train on for nobody."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_PER_TICK)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def on_cluster(address: str) -> Pool:
    """The workers of a Dask cluster that runs already.

    Raises InvalidInputError where there is none, or where a worker has another version of us.
    """
    try:
        from distributed import Client
    except ImportError:
        raise LavaeError("--scheduler needs Dask: pip install -e '.[cluster]'") from None
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"no Dask scheduler at {address}: {_first_line(error)}") from None
    try:
        _require_same(client)
    except LavaeError:
        client.close()
        raise
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    return Pool(lambda: client.get_executor(retries=ATTEMPTS, pure=False), workers, client.close)


def versions() -> tuple[str, str]:
    """Of lavae_core and PyTorch, where this is called."""
    return lavae_core.__version__, torch.__version__


def _require_same(client) -> None:
    found = client.run(versions)
    if not found:
        raise InvalidInputError("the Dask cluster has no workers; start at least one")
    for address, there in found.items():
        if tuple(there) != versions():
            raise InvalidInputError(f"worker {address} has {there}, this machine {versions()}")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
