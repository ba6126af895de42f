"""Locks between processes and threads; a wait says after five seconds who holds it and what to do.

Only the standard library: run_all.sh uses this module where nothing is installed.
"""

import contextlib
import fcntl
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

SECONDS_OF_SILENCE = 5
SECONDS_BETWEEN_TRIES = 0.1


@contextlib.contextmanager
def hold(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock of the file `path`, after waiting for whoever has it.

    doing: what the others read, such as "trains a model". The kernel of the operating system drops
    the lock when its process ends, so none is ever stale.
    """
    with path.open("a+") as file:
        wait_until(lambda: taken(file), lambda: holder(file))
        sign(file, os.getpid(), doing)
        yield


def wait_until(done: Callable[[], bool], who: Callable[[], str]) -> None:
    """Wait until `done()`; after five seconds a line on stderr says for whom, unless TQDM_DISABLE asks
    for no news of progress, as nbval does."""
    end = time.monotonic() + SECONDS_OF_SILENCE
    while not done():
        if time.monotonic() >= end:
            end = float("inf")
            if not os.environ.get("TQDM_DISABLE"):
                print(
                    f"waiting for {who()}; this goes on when it has ended, so end it if it hangs",
                    file=sys.stderr, flush=True,
                )  # fmt: skip
        time.sleep(SECONDS_BETWEEN_TRIES)


def taken(file: TextIO) -> bool:
    """Take the lock of an open file; False if another process or thread has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sign(file: TextIO, process: int, doing: str) -> None:
    """Write into a file who has its lock."""
    file.truncate(0)
    file.write(f"process {process} on {platform.node()}, which {doing}")
    file.flush()


def holder(file: TextIO) -> str:
    """Who has the lock of an open file, in words."""
    file.seek(0)
    return file.read() or "another process"
