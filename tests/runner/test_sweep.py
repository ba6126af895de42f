"""The sweep over seeds: what happens to a task that fails or dies, here and on a cluster."""

import contextlib
import gc
import json
import os
import subprocess
import sys
import time

import psutil
import pytest
import torch
from sweep_tasks import Square

from lavae_companion.paths import CHECKOUT
from lavae_companion.results import controls, measurements
from lavae_companion.runner import sweep
from lavae_companion.runner.files import only_run
from lavae_companion.runner.run import Settings
from lavae_companion.study import Study
from lavae_core.errors import InvalidInputError, LavaeError, StoreError


@pytest.fixture
def counted(home, monkeypatch):
    """Two groups of measurements that count their calls; the second fails for seed 1."""
    calls = []

    def easy(study):
        calls.append(("easy", study.setting.seed))
        return {"number": torch.arange(3.0) + study.setting.seed}

    def hard(study):
        calls.append(("hard", study.setting.seed))
        if study.setting.seed == 1:
            raise LavaeError("no luck\nand more")
        return {"other": torch.ones(2)}

    monkeypatch.setattr(measurements, "GROUPS", {"easy": easy, "hard": hard})
    return calls


def test_failures_are_named_and_a_next_call_runs_what_is_missing(counted, capsys):
    with pytest.raises(LavaeError, match="1 of 4.*hard, seed 1"):
        sweep.sweep(Settings("smoke", seeds=(0, 1)), None)
    assert counted == [("easy", 0), ("easy", 1), ("hard", 0), ("hard", 1)]  # group by group
    assert capsys.readouterr().err.splitlines() == [
        "4 tasks, 0 of them in the store",
        "[1/4] easy, seed 0 ...",
        "[2/4] easy, seed 1 ...",
        "[3/4] hard, seed 0 ...",
        "[4/4] hard, seed 1 ...",
        "hard, seed 1 failed: no luck",
    ]
    del counted[:]
    with pytest.raises(LavaeError, match="1 of 3.*hard, seed 1"):
        sweep.sweep(Settings("smoke", seeds=(0, 1, 2)), None)
    assert counted == [("easy", 2), ("hard", 1), ("hard", 2)]


def test_verdicts_measure_the_controls_too(counted, monkeypatch):
    monkeypatch.setattr(controls, "GROUPS", {"fair": measurements.GROUPS["easy"]})
    sweep.sweep(Settings("smoke", seeds=(0, 2), verdicts=True), None)
    assert counted == [(group, seed) for group in ("easy", "hard", "easy") for seed in (0, 2)]
    del counted[:]
    by_seed = measurements.by_seed(Study("smoke"), [2], ["fair"], controls.Control)
    assert counted == [] and by_seed[2]["number"].tolist() == [2, 3, 4]


def test_what_was_measured_is_what_the_notebooks_load(counted):
    sweep.sweep(Settings("smoke", seeds=(2, 0)), None)
    del counted[:]
    by_seed = measurements.by_seed(Study("smoke", 5), [0, 2], ["easy", "hard"])
    assert counted == [] and list(by_seed) == [0, 2]
    assert by_seed[2]["number"].tolist() == [2, 3, 4]


def test_a_sweep_beside_a_run_is_one_too_many(counted):
    settings = Settings("smoke", seeds=(0,))
    settings.runs.mkdir(parents=True)
    with only_run(settings.runs), pytest.raises(StoreError, match="runs/smoke"):
        sweep.sweep(settings, None)
    assert counted == []


# -- a Dask cluster on the loopback address --------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a scheduler with two workers, each a process of its own."""
    pytest.importorskip("distributed", reason="Dask is an extra: pip install -e '.[cluster]'")
    folder = tmp_path_factory.mktemp("dask")
    where = folder / "scheduler.json"
    paths = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests" / "runner")])
    variables = os.environ | {"PYTHONPATH": paths, "LAVAE_HOME": str(folder)}

    def start(*arguments):
        command = [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:],
                   "--host", "127.0.0.1", "--scheduler-file", str(where), "--no-dashboard"]  # fmt: skip
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, cwd=folder, env=variables, **silent)

    running = [start("dask_scheduler", "--port", "0")]
    try:
        end = time.monotonic() + 60
        while not (where.is_file() and where.read_text().endswith("}")):
            assert time.monotonic() < end, "no scheduler"
            time.sleep(0.1)
        for _ in range(2):  # a worker that dies is started again by its nanny
            running.append(start("dask_worker", "--nthreads", "1"))
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


def test_a_task_that_fails_or_kills_its_worker_is_named_and_the_others_go_on(cluster):
    fates = {1: "fail", 3: "die once", 4: "die"}
    tasks = [Square(number, fates.get(number, "")) for number in range(7)]
    results = {task.number: result for task, result in sweep.on_cluster(tasks, cluster)}
    failed = {number: results.pop(number) for number in (1, 4)}
    assert results == {number: number**2 for number in (0, 2, 3, 5, 6)}
    assert str(failed[1]) == "1 is odd\nand more"
    assert type(failed[4]).__name__ == "KilledWorker"


def test_a_worker_of_another_version_is_named(cluster, monkeypatch):
    from distributed import Client

    with Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)  # those that died come back
    monkeypatch.setattr(sweep.lavae_core, "__version__", "99")
    with pytest.raises(InvalidInputError, match=r"tcp://.*\('99'"):
        list(sweep.on_cluster([], cluster))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1", "x://y"])
def test_no_scheduler(address, monkeypatch):
    pytest.importorskip("distributed", reason="Dask is an extra: pip install -e '.[cluster]'")
    monkeypatch.setattr(sweep, "CONNECT_SECONDS", 0.5)
    with pytest.raises(InvalidInputError, match=address):
        list(sweep.on_cluster([], address))
    # A client that was refused is finalized here: Dask's finalizer waits for a lock that the next
    # client holds while it starts, so in that client's thread it would block the start.
    gc.collect()
