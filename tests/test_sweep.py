"""The sweep over seeds: independent tasks, what happens to one that fails or dies, and a cluster."""

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psutil
import pytest
import torch
from sweep_tasks import die_once, square, square_if_even, square_or_die, work_or_die

from lavae_core import measurements
from lavae_core.companion import cli, sweep
from lavae_core.companion.display import Watch
from lavae_core.companion.files import only_run
from lavae_core.companion.settings import Settings
from lavae_core.errors import InvalidInputError, LavaeError, StoreError
from lavae_core.paths import CHECKOUT


@pytest.fixture
def watch(tmp_path):
    return Watch(tmp_path / "progress.json")


def results(tasks, work, pool, watch) -> dict:
    with contextlib.closing(pool):
        return {task: result for task, result, _ in sweep.run(tasks, work, pool, watch)}


def test_every_task_has_its_result(watch):
    assert results([1, 2, 3], square, sweep.on_this_machine(), watch) == {1: 1, 2: 4, 3: 9}


def test_a_task_that_fails_is_named_and_the_others_go_on(watch):
    found = results([1, 2, 3, 4], square_if_even, sweep.on_this_machine(), watch)
    assert (found[2], found[4]) == (4, 16)
    assert [sweep._first_line(found[n]) for n in (1, 3)] == ["1 is odd", "3 is odd"]


@pytest.mark.parametrize("work", [square_or_die, work_or_die])
@pytest.mark.parametrize("at_once", [1, 2])
def test_a_task_that_dies_is_named_and_the_others_go_on(at_once, work, watch):
    from joblib.externals.loky import get_reusable_executor

    pool = sweep.Pool(lambda: get_reusable_executor(max_workers=at_once), at_once)
    found = results([1, 2, 3, 4], work, pool, watch)
    assert isinstance(found.pop(2), sweep.BrokenExecutor)
    assert found == {1: 1, 3: 9, 4: 16}


def test_only_what_a_death_hit_is_tried_alone(watch):
    together = threading.Barrier(2, timeout=20)

    def work(task):
        if task == 1:
            raise sweep.BrokenExecutor
        return task if task == 2 else together.wait() in (0, 1)

    pool = sweep.Pool(lambda: ThreadPoolExecutor(2), 2)
    found = results([1, 2, 3, 4, 5, 6], work, pool, watch)
    assert isinstance(found.pop(1), sweep.BrokenExecutor)
    assert found == {2: 2, 3: True, 4: True, 5: True, 6: True}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_worker_ends_with_the_sweep_that_was_killed(how, tmp_path):
    marker = tmp_path / "worker"
    code = f"import sweep_tasks; sweep_tasks.sweep_until_killed({str(marker)!r})"
    run = subprocess.Popen([sys.executable, "-c", code], cwd=CHECKOUT / "tests")
    try:
        until(lambda: marker.is_file() and marker.read_text())
        worker = int(marker.read_text())
        assert psutil.pid_exists(worker)
    finally:
        run.send_signal(how)
        run.wait(60)
    until(lambda: not _runs(worker))


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# -- the whole sweep, with measurements of no cost -------------------------------------------------


@pytest.fixture
def counted(home, monkeypatch):
    """Two groups that count their calls; the second fails for seed 1. Runs in threads."""
    calls = []

    def easy(study):
        calls.append(("easy", study.setting.seed))
        return {"number": torch.arange(3.0) + study.setting.seed}

    def hard(study):
        calls.append(("hard", study.setting.seed))
        if study.setting.seed == 1:
            raise LavaeError("no luck")
        return {"other": torch.ones(2)}

    monkeypatch.setattr(measurements, "GROUPS", {"easy": easy, "hard": hard})
    monkeypatch.setattr(
        sweep, "on_this_machine", lambda: sweep.Pool(lambda: ThreadPoolExecutor(1), 1)
    )
    return calls


def test_failures_are_kept_apart_and_a_next_call_runs_what_is_missing(counted, capsys):
    settings = Settings("smoke")
    with pytest.raises(LavaeError, match=r"1 of 4 tasks failed: hard, seed 1; the others are kept"):
        sweep.sweep([0, 1], settings, None)
    assert counted == [("easy", 0), ("easy", 1), ("hard", 0), ("hard", 1)]  # group by group
    assert "hard, seed 1 failed: no luck" in capsys.readouterr().err
    del counted[:]
    with pytest.raises(LavaeError):
        sweep.sweep([0, 1, 2], settings, None)
    assert counted == [("easy", 2), ("hard", 1), ("hard", 2)]


def test_a_sweep_beside_a_run_is_one_too_many(counted):
    settings = Settings("smoke")
    settings.runs.mkdir(parents=True)
    with only_run(settings.runs), pytest.raises(StoreError, match="another run is at work"):
        sweep.sweep([0], settings, None)
    assert counted == []


def test_what_was_measured_is_found_by_seed(counted, cpu):
    from lavae_core.study import Study

    with pytest.raises(LavaeError):
        sweep.sweep([0, 1], Settings("smoke"), None)
    del counted[:]
    found = measurements.vectors(Study("smoke", 0), ["easy", "hard"])
    assert counted == []
    assert {seed: sorted(vectors) for seed, vectors in found.items()} == {
        0: ["number", "other"], 1: ["number"],
    }  # fmt: skip
    assert found[1]["number"].tolist() == [1, 2, 3]
    assert list(measurements.vectors(Study("smoke", 5), ["easy"])) == [0, 1, 5]  # its own: now
    assert counted == [("easy", 5)]


def test_a_worker_of_another_precision_is_refused(counted, cpu):
    task = sweep.tasks_of([0], Settings("smoke"))[0]
    other = "bf16" if task.setting.runtime.precision == "fp32" else "fp32"
    changed = replace(task.setting, runtime=replace(task.setting.runtime, precision=other))
    with pytest.raises(InvalidInputError, match=f"computes in .*, the sweep in {other}"):
        sweep.measure(replace(task, setting=changed))


@pytest.mark.parametrize(
    "arguments",
    [["--scheduler", "tcp://x"], ["--seeds", "1", "--only", "3"], ["--seeds", "1", "--seed", "2"],
     ["--seeds", "1", "--list"], ["--seeds", "x"], ["--check", "--seeds", "1"]],
    ids=" ".join,
)  # fmt: skip
def test_options_that_do_not_go_together(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_seed_out_of_range(capsys):
    assert cli.main(["--seeds", "0", "-1"]) == 2
    assert (
        "error: seed must be a whole number from 0 to 4294967295, got -1" in capsys.readouterr().err
    )


# -- a Dask cluster on the loopback address --------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a scheduler with two workers, each a process of its own."""
    pytest.importorskip("distributed", reason="Dask is an extra: pip install -e '.[cluster]'")
    folder = tmp_path_factory.mktemp("dask")
    where = folder / "scheduler.json"
    paths = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests")])
    variables = os.environ | {"PYTHONPATH": paths}

    def start(*arguments):
        command = [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, cwd=folder, env=variables, **silent)

    ours = ["--scheduler-file", str(where), "--no-dashboard"]
    local = ["--host", "127.0.0.1"]
    running = [start("dask_scheduler", "--port", "0", *local, *ours)]
    try:
        until(lambda: where.is_file() and where.read_text().endswith("}"))
        for _ in range(2):  # a worker that dies is started again by its nanny
            running.append(start("dask_worker", "--nthreads", "1", *local, *ours))
        address = json.loads(where.read_text())["address"]
        from distributed import Client

        with Client(address) as client:
            client.wait_for_workers(2, timeout=60)
        yield address
    finally:
        for process in running:  # a nanny before its worker, which it would start again
            tree = psutil.Process(process.pid)
            for each in [tree, *tree.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            process.wait(30)


def until(true, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def test_a_cluster_gives_the_same_results(cluster, watch):
    pool = sweep.on_cluster(cluster)
    assert pool.at_once == 2
    assert results([1, 2, 3, 4], square, pool, watch) == {1: 1, 2: 4, 3: 9, 4: 16}
    found = results([1, 2], square_if_even, sweep.on_cluster(cluster), watch)
    assert (sweep._first_line(found[1]), found[2]) == ("1 is odd", 4)


def test_a_task_whose_worker_dies_is_tried_again(cluster, watch, tmp_path):
    marker = str(tmp_path / "died")
    assert results([marker], die_once, sweep.on_cluster(cluster), watch) == {marker: "done"}


def test_a_worker_of_another_version_is_named(cluster, monkeypatch):
    monkeypatch.setattr(sweep.lavae_core, "__version__", "99")
    with pytest.raises(
        InvalidInputError, match=r"worker tcp://.* has \('.*'\), this machine \('99'"
    ):
        sweep.on_cluster(cluster)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1", "x://y"])
def test_no_scheduler(address, monkeypatch):
    pytest.importorskip("distributed", reason="Dask is an extra: pip install -e '.[cluster]'")
    monkeypatch.setattr(sweep, "CONNECT_SECONDS", 0.5)
    with pytest.raises(InvalidInputError, match=f"no Dask scheduler at {address}"):
        sweep.on_cluster(address)
    # A client that was refused is finalized here: Dask's finalizer waits for a lock that the next
    # client holds while it starts, so in that client's thread it would block the start.
    gc.collect()
