"""Tasks for test_sweep.py, in a module that a worker imports in no time: no torch here."""

import os
import signal


def square(number: int) -> int:
    return number**2


def square_if_even(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd\nand more")
    return number**2


def square_or_die(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def die_once(marker: str) -> str:
    """Kills its worker, the first time; the file `marker` tells the second time."""
    try:
        open(marker, "x").close()
    except FileExistsError:
        return "done"
    os.kill(os.getpid(), signal.SIGKILL)
    return "not reached"
