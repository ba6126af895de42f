"""Files that are there as a whole or not at all, and folders that can be written."""

import csv
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lavae_core.errors import StoreError
from lavae_core.paths import CHECKOUT


def write_whole(path: Path, text: str) -> None:
    """Replace `path` by `text`; whoever reads, or is killed, meanwhile has the old or the new."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV by column; none where it has not been made yet."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


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
    """Hold the lock of a folder of runs; StoreError if another process has it."""
    lock = FileLock(folder / "run.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise StoreError(f"another run is at work in {shown(folder)}") from None
    try:
        yield
    finally:
        lock.release()


def shown(path: Path) -> str:
    """`path` as a person in the checkout would type it."""
    return str(path.relative_to(CHECKOUT) if path.is_relative_to(CHECKOUT) else path)
