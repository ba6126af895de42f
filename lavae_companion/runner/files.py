"""Atomic writes, folders that can be written, the lock of a run, and lines for a person."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lavae_companion import locks
from lavae_companion.paths import CHECKOUT
from lavae_core.errors import StoreError

PICTURES = (".gif", ".png")  # what a page can show


def listed(folder: Path, stem: str = "") -> list[Path]:
    """Pictures and tables of `folder` whose names begin with `stem`, by name."""
    return sorted(p for p in folder.glob(f"{stem}*") if p.suffix in (*PICTURES, ".csv"))


def write_whole(path: Path, text: str) -> None:
    """Replace `path` by `text`; whoever reads, or is killed, meanwhile has the old or the new."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def require_writable(folder: Path) -> None:
    """Make `folder` if need be; raise StoreError unless a file can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(f"cannot write to the folder {shown(folder)}: {error.strerror}") from None


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of runs; StoreError, which names who has it, if another does."""
    with (folder / "run.lock").open("a+") as file:
        if not locks.taken(file):
            raise StoreError(
                f"another run is at work in {shown(folder)}: {locks.holder(file)}; "
                "wait for its end, or end it"
            )
        locks.sign(file, os.getpid(), "runs notebooks")
        yield


def say(text: str) -> None:
    """A line on stderr, at once."""
    print(text, file=sys.stderr, flush=True)


def shown(path: Path) -> str:
    """`path` as a person in the checkout would type it."""
    return str(path.relative_to(CHECKOUT) if path.is_relative_to(CHECKOUT) else path)
