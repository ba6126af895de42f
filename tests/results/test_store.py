"""The store: an artifact is made once, found again, checked, and set aside where it is damaged."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lavae_companion import paths, store
from lavae_companion.store import MANIFEST, get_or_make, key_of
from lavae_core.errors import StoreError

pytestmark = pytest.mark.usefixtures("home")

SPEC = {"pair": "flips", "schedule": {"epochs": 1.5, "lr": 1e-3}, "orders": (2, None)}


class Maker:
    """Makes an artifact of two files, and counts."""

    def __init__(self):
        self.made = 0

    def __call__(self, folder: Path, checkpoint: Path) -> dict:
        assert not list(folder.iterdir())
        self.made += 1
        (folder / "weights.bin").write_bytes(bytes(range(256)))
        (folder / "config.json").write_text("{}")
        return {"curve": [1, 2]}


def load(folder: Path) -> bytes:
    return (folder / "weights.bin").read_bytes()


def folder_of(spec: dict = SPEC, kind: str = "kind") -> Path:
    return paths.artifacts_dir() / f"{kind}-{key_of(spec)}"


def names() -> set[str]:
    return {path.name for path in paths.artifacts_dir().iterdir() if path.suffix != ".lock"}


def test_it_is_made_once():
    make = Maker()
    assert get_or_make("kind", SPEC, make, load) == bytes(range(256))
    assert get_or_make("kind", dict(reversed(SPEC.items())), make, load) == bytes(range(256))
    assert make.made == 1
    assert names() == {folder_of().name}

    content = json.loads((folder_of() / MANIFEST).read_text())
    assert content["told"]["curve"] == [1, 2] and content["told"]["minutes"] >= 0
    assert content["files"]["weights.bin"] == hashlib.sha256(bytes(range(256))).hexdigest()
    assert content["spec"] == {**SPEC, "orders": [2, None]}


def test_another_kind_or_specification_is_another_artifact():
    make = Maker()
    for kind, spec in [("kind", SPEC), ("other", SPEC), ("kind", SPEC | {"pair": "x"})]:
        get_or_make(kind, spec, make, load)
    assert make.made == 3


def test_minutes_are_without_those_of_inner_artifacts(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])

    def after(seconds: float, *inner):
        def make(folder: Path, checkpoint: Path) -> dict:
            for kind, make_inner in inner:
                get_or_make(kind, SPEC, make_inner, load)
            clock[0] += seconds
            return Maker()(folder, checkpoint)

        return make

    nested = after(60, ("b", after(120, ("c", after(240)))), ("d", after(30)))
    get_or_make("a", SPEC, nested, load)
    minutes = [store.minutes(folder_of(kind=kind).name) for kind in "abcd"]
    assert minutes == [1, 2, 4, 0.5]


def test_minutes_of_a_training_that_was_interrupted():
    def make(folder: Path, checkpoint: Path) -> dict:
        return Maker()(folder, checkpoint) | {"seconds": 90.0}

    get_or_make("kind", SPEC, make, load)
    assert store.minutes(folder_of().name) == 1.5


def test_what_was_made_since_a_moment():
    get_or_make("old", SPEC, Maker(), load)
    for file in folder_of(kind="old").iterdir():
        os.utime(file, (1000, 1000))
    get_or_make("new", SPEC, Maker(), load)
    get_or_make("old", SPEC, Maker(), load)  # it is read, not made
    partial = folder_of().with_name("new-0000.partial-abc")
    shutil.copytree(folder_of(kind="new"), partial)  # of a process that makes it at this moment
    assert store.made_since(2000) == [folder_of(kind="new").name]
    assert len(store.made_since(0)) == 2 and store.made_since(2**40) == []


def test_whether_it_exists():
    assert not store.exists("kind", SPEC) and store.made_since(0) == []
    get_or_make("kind", SPEC, Maker(), load)
    assert store.exists("kind", SPEC)
    assert not store.exists("other", SPEC) and not store.exists("kind", {})


def test_key_is_of_the_content():
    assert key_of({}) == hashlib.sha256(b"{}").hexdigest()[:16]
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2}) != key_of({"a": "2"})


# --- damage --------------------------------------------------------------------------------------


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "weights.bin").read_bytes())
    content[100] ^= 1
    (folder / "weights.bin").write_bytes(content)


def change_manifest(**changes):
    def change(folder: Path) -> None:
        file = folder / MANIFEST
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


def replace_by_a_file(folder: Path) -> None:
    folder.rename(folder.with_suffix(".away"))
    folder.write_text("x")


DAMAGES = {
    "truncated": lambda f: (f / "weights.bin").write_bytes(bytes(range(255))),
    "a bit flipped": flip_a_bit,
    "emptied": lambda f: (f / "weights.bin").write_bytes(b""),
    "a file missing": lambda f: (f / "config.json").unlink(),
    "a file added": lambda f: (f / "model.pickle").write_bytes(b"x"),
    "a folder added": lambda f: (f / "more").mkdir(),
    "a folder in place of a file": lambda f: (
        (f / "config.json").unlink(),
        (f / "config.json").mkdir(),
    ),
    "no manifest": lambda f: (f / MANIFEST).unlink(),
    "manifest emptied": lambda f: (f / MANIFEST).write_text(""),
    "manifest truncated": lambda f: (f / MANIFEST).write_text('{"fo'),
    "manifest not UTF-8": lambda f: (f / MANIFEST).write_bytes(b"\xff{"),
    "manifest a number": lambda f: (f / MANIFEST).write_text("7"),
    "manifest without format": lambda f: (f / MANIFEST).write_text("{}"),
    "files a list": change_manifest(files=["config.json", "weights.bin"]),
    "future format": change_manifest(format=2),
    "another specification": change_manifest(spec={}),
    "no folder": replace_by_a_file,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_set_aside_and_made_again(damage, capsys):
    make = Maker()
    get_or_make("kind", SPEC, make, load)
    capsys.readouterr()
    damage(folder_of())

    assert get_or_make("kind", SPEC, make, load) == bytes(range(256))
    assert make.made == 2
    message = capsys.readouterr().err
    assert folder_of().name in message and message.count("\n") == 1
    assert len(list((paths.artifacts_dir() / "damaged").iterdir())) == 1

    get_or_make("kind", SPEC, make, load)
    assert make.made == 2
    assert capsys.readouterr().err == ""


def test_the_message_names_the_damaged_file(capsys):
    get_or_make("kind", SPEC, Maker(), load)
    flip_a_bit(folder_of())
    get_or_make("kind", SPEC, Maker(), load)
    assert "weights.bin" in capsys.readouterr().err


def test_memory_that_runs_out_while_loading_is_no_damage():
    make = Maker()
    get_or_make("kind", SPEC, make, load)

    def out_of_memory(folder: Path):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        get_or_make("kind", SPEC, make, out_of_memory)
    assert get_or_make("kind", SPEC, make, load) == bytes(range(256))
    assert make.made == 1


@pytest.mark.parametrize("text", [None, "", '{"spec": ', "[]", "{}"])
def test_what_cannot_be_read_has_no_minutes(text):
    if text is not None:
        folder_of().mkdir(parents=True)
        (folder_of() / MANIFEST).write_text(text)
    with pytest.raises(StoreError, match=folder_of().name):
        store.minutes(folder_of().name)


def test_weights_that_cannot_be_loaded_are_made_again():
    make = Maker()
    get_or_make("kind", SPEC, make, load)
    failures = [StoreError("size mismatch\nand more")] * 2  # before the lock, and under it

    def fail_at_first(folder: Path) -> bytes:
        if failures:
            raise failures.pop()
        return load(folder)

    assert get_or_make("kind", SPEC, make, fail_at_first) == bytes(range(256))
    assert make.made == 2


# --- make that fails -----------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_make_that_raises_leaves_nothing_behind(error):
    make = Maker()
    get_or_make("kind", SPEC, make, load)
    other = SPEC | {"pair": "other"}

    def fail(folder: Path, checkpoint: Path):
        (folder / "half").write_bytes(b"x")
        raise error

    with pytest.raises(type(error)):
        get_or_make("kind", other, fail, load)
    assert names() == {folder_of().name}
    get_or_make("kind", SPEC, make, load)
    assert make.made == 1
    get_or_make("kind", other, make, load)  # the lock was given back
    assert make.made == 2


def test_what_a_killed_process_left_is_swept():
    left = folder_of().with_name(f"{folder_of().name}.partial-abc")
    foreign = folder_of().with_name("kind-0000.partial-abc")
    for folder in (left, foreign):
        folder.mkdir(parents=True)
    get_or_make("kind", SPEC, Maker(), load)
    assert names() == {folder_of().name, foreign.name}


def test_a_checkpoint_outlives_the_run_that_left_it():
    seen = []

    def make(folder: Path, checkpoint: Path):
        seen.append(checkpoint.read_text() if checkpoint.exists() else None)
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_text("step 500")
        if len(seen) == 1:
            raise RuntimeError("killed")
        return Maker()(folder, checkpoint)

    with pytest.raises(RuntimeError):
        get_or_make("kind", SPEC, make, load)
    get_or_make("kind", SPEC, make, load)
    assert seen == [None, "step 500"]


# --- a store that cannot be written ----------------------------------------------------------------


def no_space(*args, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/some/path")


def refused(make=None) -> str:
    with pytest.raises(StoreError) as caught:
        get_or_make("kind", SPEC | {"pair": "new"}, make or Maker(), load)
    assert "LAVAE_HOME" in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_full_disk(monkeypatch):
    make = Maker()
    get_or_make("kind", SPEC, make, load)
    for target in ("os.replace", "tempfile.mkdtemp", "pathlib.Path.mkdir"):
        with monkeypatch.context() as patch:
            patch.setattr(target, no_space)
            assert "No space left" in refused()
        assert names() == {folder_of().name}
    with monkeypatch.context() as patch:  # what is finished needs no writing
        for target in ("os.replace", "tempfile.mkdtemp", "pathlib.Path.mkdir"):
            patch.setattr(target, no_space)
        get_or_make("kind", SPEC, make, load)
    assert make.made == 1


def test_a_full_disk_in_the_words_of_safetensors(tmp_path):
    def make(folder: Path, checkpoint: Path):
        save_file({"z": torch.zeros(3)}, tmp_path / "missing" / "model.safetensors")

    assert "No such file" in refused(make)


def test_a_full_disk_at_the_end_keeps_the_last_state(monkeypatch):
    def make(folder: Path, checkpoint: Path) -> dict:
        checkpoint.parent.mkdir(exist_ok=True)
        state = checkpoint.read_text() if checkpoint.exists() else "nothing"
        checkpoint.write_text("step 500")
        return Maker()(folder, checkpoint) | {"state": state}

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", no_space)
        with pytest.raises(StoreError):
            get_or_make("kind", SPEC, make, load)
    get_or_make("kind", SPEC, make, load)
    metadata = json.loads((folder_of() / MANIFEST).read_text())["told"]
    assert metadata["state"] == "step 500"


def test_a_damaged_artifact_that_cannot_be_set_aside(monkeypatch):
    get_or_make("kind", SPEC | {"pair": "new"}, Maker(), load)
    flip_a_bit(folder_of(SPEC | {"pair": "new"}))
    monkeypatch.setattr("os.replace", no_space)
    assert "No space left" in refused()


def test_a_file_in_place_of_the_home(home):
    home.write_text("x")
    refused()


def test_a_file_in_place_of_the_store(home):
    home.mkdir()
    paths.artifacts_dir().write_text("x")
    refused()


# --- two processes ---------------------------------------------------------------------------------

ASK = """
import os, sys, time
from pathlib import Path
from lavae_companion.store import get_or_make
me, shared = sys.argv[1], Path(sys.argv[2])

def make(folder, checkpoint):
    (shared / f"made-{me}").touch()
    for _ in range(600):  # until the other one asks, too
        if len(list(shared.glob("asked-*"))) == 2:
            break
        time.sleep(0.1)
    time.sleep(0.5)
    (folder / "maker").write_text(me)
    return {}

(shared / f"asked-{me}").touch()
print(get_or_make("kind", {"x": 1}, make, lambda folder: (folder / "maker").read_text()))
"""


@pytest.mark.parametrize("damaged", [False, True])
def test_two_processes_make_it_once(damaged, tmp_path, home):
    if damaged:
        folder = folder_of({"x": 1})
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text("damaged")
    shared = tmp_path / "shared"
    shared.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASK, me, str(shared)],
            stdout=subprocess.PIPE, text=True, cwd=paths.CHECKOUT,
        )
        for me in ("a", "b")
    ]  # fmt: skip
    results = {process.communicate(timeout=120)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    made = [path.name.removeprefix("made-") for path in shared.glob("made-*")]
    assert len(made) == 1 and results == set(made)


# --- permissions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077, 0o027])
def test_an_artifact_has_the_permissions_that_the_umask_says(mask):
    def make(folder: Path, checkpoint: Path) -> dict:
        save_file({"z": torch.zeros(3)}, folder / "model.safetensors")
        (folder / "config.json").write_text("{}")
        return {}

    before = os.umask(mask)
    try:
        folder = get_or_make("kind", {"x": 1}, make, lambda folder: folder)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o777 & ~mask
    modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert modes == dict.fromkeys(("model.safetensors", "config.json", MANIFEST), 0o666 & ~mask)


@pytest.fixture
def shared_home(monkeypatch):
    """A LAVAE_HOME that all users of the machine can reach, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("LAVAE_HOME", folder)
        yield Path(folder)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_second_user_can_load_what_the_first_has_made(shared_home, checkpoint):
    def make(folder: Path, _) -> dict:
        (folder / "maker").write_text("me")
        return {}

    def ask(number: int) -> str:
        return get_or_make(
            "kind", {"x": number}, make, lambda folder: (folder / "maker").read_text()
        )

    before = os.umask(0o022)
    assert ask(1) == "me"
    if checkpoint:  # of a process that died before it could remove it
        left = store._checkpoint(folder_of({"x": 1}))
        left.parent.mkdir(exist_ok=True)
        left.touch()
    everything = [shared_home, *shared_home.rglob("*")]
    if os.geteuid() == 0:  # root may write anywhere: as another user
        os.seteuid(65534)
    else:
        for path in everything:
            path.chmod(path.stat().st_mode & ~0o222)
    try:
        assert ask(1) == "me"
        with pytest.raises(StoreError, match="ermission"):
            ask(2)
    finally:
        os.seteuid(os.getuid())
        os.umask(before)
        for path in everything:
            path.chmod(path.stat().st_mode | 0o200)
