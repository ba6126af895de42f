"""`run_all.sh --seeds 0 1 2`, or `--verdicts`: what the claims are judged on, for several seeds.

A task is one group of measurements of one seed. Tasks run one after the other in this process, or on
the workers of a Dask cluster. Each result goes to the store, so a next call runs what is missing.
"""

from collections.abc import Iterator

import torch

import lavae_core
from lavae_companion import profiles, store
from lavae_companion.data import home
from lavae_companion.experiments import Setting, load_or_train
from lavae_companion.results import controls, measurements
from lavae_companion.results.controls import Control
from lavae_companion.results.measurements import Measurement, Vectors
from lavae_companion.runner.execute import first_line
from lavae_companion.runner.files import only_run, require_writable, say
from lavae_companion.runner.run import Settings
from lavae_core import runtime
from lavae_core.errors import InvalidInputError, LavaeError

CONNECT_SECONDS = 5
Done = Iterator[tuple[Measurement, Vectors | Exception]]


def sweep(settings: Settings, scheduler: str | None) -> None:
    """Measure every group for every seed of `settings`; scheduler: the address of a Dask cluster.

    Raises LavaeError at the end if a task failed, with the names of all that did.
    """
    for folder in (home(), settings.runs):
        require_writable(folder)
    tasks = tasks_of(settings)
    missing = [task for task in tasks if not store.exists(task.KIND, task.spec())]
    say(f"{len(tasks)} tasks, {len(tasks) - len(missing)} of them in the store")
    failed = []
    with only_run(settings.runs):
        for task, result in on_cluster(missing, scheduler) if scheduler else one_by_one(missing):
            if isinstance(result, Exception):
                failed.append(task.label)
                say(f"{task.label} failed: {first_line(str(result))}")
            else:
                task.keep(result)
    if failed:
        raise LavaeError(f"{len(failed)} of {len(missing)} tasks failed, the others are kept: "
                         f"{'; '.join(failed)}")  # fmt: skip


def tasks_of(settings: Settings) -> list[Measurement]:
    """All groups of each seed, with --verdicts the controls too, group by group: the first has models
    that the others need too."""
    profile, started = profiles.resolve(settings.profile), runtime.start(settings.device)
    kinds = [(Measurement, measurements.GROUPS)]
    if settings.verdicts:
        kinds.append((Control, controls.GROUPS))
    return [
        kind(Setting(seed, started, profile.n_train), profile, group)
        for kind, groups in kinds
        for group in groups
        for seed in settings.seeds
    ]


def one_by_one(tasks: list[Measurement]) -> Done:
    """Each task with its result, or with the exception that it ended with."""
    for number, task in enumerate(tasks, 1):
        say(f"[{number}/{len(tasks)}] {task.label} ...")
        try:
            result = load_or_train(task)
        except Exception as error:  # of one task: the others go on
            result = error
        yield task, result


def on_cluster(tasks: list[Measurement], address: str) -> Done:
    """As `one_by_one`, on the workers of a Dask cluster, which tries a task whose worker dies again.

    Raises InvalidInputError where there is no cluster, or a worker has another version of us.
    """
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise LavaeError("--scheduler needs Dask: pip install -e '.[cluster]'") from None
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"no Dask scheduler at {address}: {first_line(str(error))}"
        ) from None
    with client:
        _require_same(client.run(versions))
        futures = {client.submit(load_or_train, task, pure=False): task for task in tasks}
        for number, future in enumerate(as_completed(futures), 1):
            say(f"[{number}/{len(tasks)}] {futures[future].label}")
            yield futures[future], future.exception() or future.result()


def versions() -> tuple[str, str]:
    """Of lavae_core and PyTorch, where this is called."""
    return lavae_core.__version__, torch.__version__


def _require_same(by_worker: dict[str, tuple[str, str]]) -> None:
    if not by_worker:
        raise InvalidInputError("the Dask cluster has no workers; start at least one")
    for address, theirs in by_worker.items():
        if tuple(theirs) != versions():
            raise InvalidInputError(f"worker {address} has {theirs}, this machine {versions()}")
