"""Killed with SIGKILL at any moment, a training ends with the same bits; kill.py does it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from lavae_companion import locks, paths, store

SCRIPT = Path(__file__).with_name("kill.py")

HOLD = """
import os, sys
from pathlib import Path
from lavae_companion import store

def make(folder, checkpoint):
    checkpoint.parent.mkdir()
    checkpoint.write_text("a state")
    (folder / "half").write_text("x")
    print("made half", flush=True)
    sys.stdin.read()  # until it is killed

store.get_or_make("kind", {}, make, None)
"""


def test_killed_at_twenty_moments():
    done = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, "--times", "20"], capture_output=True, text=True
    )
    printed = f"{done.stdout}{done.stderr}"
    assert done.returncode == 0, printed
    assert re.search("^20 kills, .* all bits equal: yes, .* although saved: 0, ", printed, re.M)
    for moment in ("clock", "rename checkpoint", "rename artifact"):  # the saves are among them
        assert re.search(rf"^ +[1-9]\d* at: {moment}$", printed, re.M), printed


def test_the_lock_of_a_dead_process_does_not_block(home):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "made half\n"
        target = paths.artifacts_dir() / f"kind-{store.key_of({})}"
        with Path(f"{target}.lock").open("a+") as file:
            assert not locks.taken(file)  # the living process holds its lock
        holder.kill()

    def make(folder: Path, checkpoint: Path) -> dict:
        assert os.listdir(folder) == []
        return {"state": checkpoint.read_text()}

    assert store.get_or_make("kind", {}, make, lambda folder: folder) == target
    assert not list(paths.artifacts_dir().glob("*partial*"))
    assert not list((paths.artifacts_dir() / "checkpoints").iterdir())


def test_a_state_beside_its_finished_artifact_goes(home):
    """Of a process that was killed between the two; else it would take up room for ever."""
    store.get_or_make("kind", {}, lambda folder, state: {}, lambda folder: folder)
    state = paths.artifacts_dir() / "checkpoints" / f"kind-{store.key_of({})}.safetensors"
    state.parent.mkdir()
    state.write_text("a state")
    store.get_or_make("kind", {}, None, lambda folder: folder)
    assert not state.exists()
