"""Kill a small real training again and again, and compare what it ends with, bit by bit.

    python tests/runner/kill.py --times 50

A training of stage 1 goes through store.get_or_make in a process of its own, is ended with
SIGKILL and started again until it is done; then the next one begins, until there were enough
kills. Every other kill comes by the clock, at a random moment of the run; the others come at a
random file operation in the store, so that saves are hit for certain: then the file that is about
to be renamed is cut short, as a kill in the middle of writing would leave it.

This process imports torch once, starts no thread (none would survive a fork), and forks
the trainings. tests/runner/test_kill.py runs it with 20 kills.
"""

import argparse
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy starts its threads when imported
sys.path.append(str(Path(__file__).parents[1]))  # made_up

import made_up
import torch
import torch._dynamo  # noqa: F401  (an optimizer loads it: once here, not in every fork)

from lavae_companion import data, experiments, paths
from lavae_companion.paper import FLIPS
from lavae_core import objectives, runtime, training
from lavae_core.training import Schedule

IMAGES, EPOCHS, BATCH = 200, 3, 32
TOTAL = EPOCHS * 4 * IMAGES // BATCH  # 75 steps
CHECKPOINT_STEPS, LOG_STEPS = 8, 4
HANGS_AFTER = 300  # seconds
CUT_CHECKPOINT, WHOLE_ARTIFACT = "rename checkpoint", "rename artifact"  # the saves

Operation = str  # such as "rename checkpoint" or "open manifest.json"


@dataclass
class Tally:
    """What happened so far. killed: how many times at which moment."""

    killed: Counter
    runs: int = 0
    differ: int = 0
    repeated: int = 0  # steps beyond those that a save had not kept: should be none


def train() -> None:
    """The training, undisturbed; in LAVAE_HOME."""
    training.CHECKPOINT_STEPS, training.LOG_STEPS = CHECKPOINT_STEPS, LOG_STEPS
    images, labels = made_up.uint8_images(IMAGES), torch.zeros(IMAGES, dtype=torch.int64)
    data.load = lambda split, **_: data.ImageSet(images, labels)
    steps = os.open(_steps_file(), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    losses = objectives.VAEObjective.losses

    def counted(self, index, generator):
        os.write(steps, b".")
        return losses(self, index, generator)

    objectives.VAEObjective.losses = counted
    setting = experiments.Setting(0, runtime.start("cpu", "fp32"))
    schedule = Schedule(epochs=EPOCHS, batch=BATCH, lr=2e-3, warmup=10)
    experiments.load_or_train(experiments.TrainedVAE(setting, FLIPS, schedule))


def result() -> dict:
    """What the finished run left: the hashes of its weights and configuration, its loss curve."""
    (folder,) = paths.artifacts_dir().glob("stage1-" + "[0-9a-f]" * 16)
    manifest = json.loads((folder / "manifest.json").read_text())
    left = [p.name for p in paths.artifacts_dir().rglob("*") if "partial" in p.name]
    left += [p.name for p in (paths.artifacts_dir() / "checkpoints").iterdir()]
    return {"files": manifest["files"], "curve": manifest["told"]["curve"], "left": left}


def kill_many(times: int, folder: Path, seed: int) -> Tally:
    """Kill `times` times, in homes below `folder`; print a line for every finished run."""
    random_source = random.Random(seed)
    expected, operations, seconds = _undisturbed(folder)
    saves = [CUT_CHECKPOINT, WHOLE_ARTIFACT]
    others = sorted(set(operations) - set(saves))
    random_source.shuffle(others)
    planned = saves + others
    tally = Tally(Counter())
    turn = kills = 0
    while kills < times or tally.runs == 0:
        _use_home(folder / f"run-{tally.runs}")
        killed_here, finished = [], False
        while not finished:
            moment = None
            if kills < times:
                turn += 1
                moment = "clock" if turn % 2 else planned[(turn // 2 - 1) % len(planned)]
            finished = _attempt(moment, random_source, seconds)
            if not finished:
                killed_here.append(moment)
                kills += 1
        tally.runs += 1
        tally.killed.update(killed_here)
        steps = _steps_file().stat().st_size
        tally.repeated += max(0, steps - TOTAL - CHECKPOINT_STEPS * len(killed_here))
        same = result() == expected
        tally.differ += not same
        what = "the same bits" if same else "OTHER BITS"
        print(f"run {tally.runs}: {what} after {len(killed_here)} kills, {steps} steps", flush=True)
    return tally


def _undisturbed(folder: Path) -> tuple[dict, list[Operation], float]:
    """Its result, its file operations in the store, and how long it took."""
    _use_home(folder / "undisturbed")
    log = folder / "operations"
    started = time.monotonic()

    def work() -> None:
        with log.open("a") as file:
            _listen(lambda operation, _path: print(operation, file=file, flush=True))
            train()

    if not _ended_well(_fork(work)):
        raise RuntimeError("the undisturbed run was killed")
    return result(), log.read_text().splitlines(), time.monotonic() - started


def _attempt(moment: str | None, random_source: random.Random, seconds: float) -> bool:
    """Start or continue the run and kill it at `moment`; True if it was done before that."""
    share, nth = random_source.random(), random_source.randint(1, 3)
    if moment in (None, "clock"):
        pid = _fork(train)
        if moment == "clock":
            time.sleep(share * seconds / 2)
            os.kill(pid, signal.SIGKILL)
        return _ended_well(pid)
    nth = nth if moment == CUT_CHECKPOINT else 1

    def work() -> None:
        _listen(_killer(moment, nth, share))
        train()

    return _ended_well(_fork(work))


def _killer(moment: Operation, nth: int, share: float) -> Callable[[Operation, str], None]:
    seen = 0

    def kill(operation: Operation, path: str) -> None:
        nonlocal seen
        seen += operation == moment
        if operation != moment or seen < nth:
            return
        if os.path.isfile(path) and moment == CUT_CHECKPOINT:
            os.truncate(path, int(share * os.path.getsize(path)))
        os.kill(os.getpid(), signal.SIGKILL)

    return kill


def _listen(heard: Callable[[Operation, str], None]) -> None:
    """Call heard(operation, path) before every file operation that this process does in the store."""
    store = f"{paths.artifacts_dir()}{os.sep}"

    def hook(event: str, arguments: tuple) -> None:
        if event not in ("open", "os.rename", "os.mkdir", "os.remove", "shutil.rmtree"):
            return
        path = os.fspath(arguments[0]) if isinstance(arguments[0], str | os.PathLike) else ""
        if path.startswith(store):
            heard(f"{event.removeprefix('os.')} {_called(path.removeprefix(store))}", path)

    sys.addaudithook(hook)


def _called(path: str) -> str:
    """What a path in the store is, without what is different in every run."""
    parent, _, name = path.rpartition("/")
    if parent == "checkpoints":
        return "checkpoint"
    if parent:
        return name
    return "lock" if name.endswith(".lock") else "checkpoints" if "-" not in name else "artifact"


def _use_home(folder: Path) -> None:
    folder.mkdir(parents=True)
    os.environ["LAVAE_HOME"] = str(folder)


def _steps_file() -> Path:
    return data.home() / "steps"


def _fork(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.alarm(HANGS_AFTER)  # ends a run that waits for a dead one's lock
        work()
        code = 0
    except BaseException as error:
        print(f"the run failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def _ended_well(pid: int) -> bool:
    """True if the run was done, False if it was killed; RuntimeError if it failed or hung."""
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    if status:
        raise RuntimeError(f"a run ended with {os.waitstatus_to_exitcode(status)}")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=re.split(r"\n\n", __doc__)[0])
    parser.add_argument("--times", type=int, default=50, help="kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lavae-kill-") as folder:
        tally = kill_many(options.times, Path(folder), options.seed)
    for moment, count in sorted(tally.killed.items()):
        print(f"  {count:3d} at: {moment}")
    equal = "no" if tally.differ else "yes"
    print(
        f"{tally.killed.total()} kills, {tally.runs} runs, all bits equal: {equal}, "
        f"steps that were lost although saved: {tally.repeated}, "
        f"{time.monotonic() - started:.0f} seconds"
    )
    return 1 if tally.differ or tally.repeated else 0


if __name__ == "__main__":
    sys.exit(main())
