"""Locks: a wait says who holds it; threads of one process train one after the other."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from lavae_companion import locks, store
from lavae_companion.experiments import TrainedVAE, load_or_train
from lavae_core.augmentations import Family
from lavae_core.training import Schedule

HOLD = """
import sys
from pathlib import Path
from lavae_companion import locks
with locks.hold(Path(sys.argv[1]), "trains a model"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of a file, tmp_path / run.lock, until its stdin is closed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run.lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("end", ["close", "kill"])
def test_a_wait_says_once_who_holds_the_lock(holder, tmp_path, monkeypatch, capsys, end):
    monkeypatch.setattr(locks, "SECONDS_OF_SILENCE", 0.3)
    release = holder.stdin.close if end == "close" else holder.kill
    threading.Timer(1, release).start()
    with locks.hold(tmp_path / "run.lock", "waits"):
        said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert f"process {holder.pid} " in said[0] and "trains a model" in said[0]


def test_a_short_wait_says_nothing(holder, tmp_path, capsys):
    threading.Timer(0.5, holder.kill).start()
    with locks.hold(tmp_path / "run.lock", "waits"):
        assert capsys.readouterr().err == ""


def test_a_wait_without_news_of_progress_says_nothing(holder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(locks, "SECONDS_OF_SILENCE", 0.1)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    threading.Timer(0.5, holder.kill).start()
    with locks.hold(tmp_path / "run.lock", "waits"):
        assert capsys.readouterr().err == ""


def test_what_the_holder_before_wrote_is_replaced(tmp_path):
    path = tmp_path / "run.lock"
    for doing in ("does something that takes many words", "does"):
        with locks.hold(path, doing):
            assert path.read_text().endswith(f"which {doing}")


def in_threads(*functions) -> None:
    threads = [threading.Thread(target=each) for each in functions]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def test_a_thread_that_waits_says_so(home, monkeypatch, capsys):
    monkeypatch.setattr(locks, "SECONDS_OF_SILENCE", 0.1)
    both, at_work = threading.Barrier(2), []

    def make(folder: Path, _) -> dict:
        at_work.append(1)
        assert len(at_work) == 1
        threading.Event().wait(0.6)
        at_work.pop()
        return {}

    def ask(number: int):
        both.wait()
        store.get_or_make("kind", {"number": number}, make, lambda folder: folder)

    in_threads(lambda: ask(1), lambda: ask(2))
    assert len(list((home / "artifacts").glob("kind-*/manifest.json"))) == 2
    assert capsys.readouterr().err.count("another thread") == 1


def test_trainings_in_threads_have_the_bits_of_one_after_the_other(setting, tmp_path, monkeypatch):
    """A Dask worker with threads: weights are drawn from torch's global generator."""
    schedule = Schedule(epochs=2, batch=16, warmup=1)
    pairs = "flip_lr,flip_ud", "rotate_cw,flip_lr"
    tasks = [TrainedVAE(setting, Family.parse(pair), schedule) for pair in pairs]
    expected = [load_or_train(task) for task in tasks]
    monkeypatch.setenv("LAVAE_HOME", str(tmp_path / "another"))
    trained, start = {}, threading.Barrier(len(tasks))

    def train(number: int) -> None:
        start.wait()
        trained[number] = load_or_train(tasks[number])

    in_threads(lambda: train(0), lambda: train(1))
    for number, model in enumerate(expected):
        other = trained[number].state_dict()
        assert all(torch.equal(value, other[name]) for name, value in model.state_dict().items())
