"""Tasks for test_sweep.py, in a module that a worker imports in no time: no torch here."""

import os
import signal
import time
from pathlib import Path


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


def work_or_die(number: int) -> int:
    """Like square_or_die, but the others are still at work when it dies."""
    if number != 2:
        time.sleep(1)
    return square_or_die(number)


def die_once(marker: str) -> str:
    """Kills its worker, the first time; the file `marker` tells the second time."""
    try:
        open(marker, "x").close()
    except FileExistsError:
        return "done"
    os.kill(os.getpid(), signal.SIGKILL)
    return "not reached"


def stay(marker: str) -> None:
    """Writes its process to the file `marker` and works on."""
    Path(marker).write_text(str(os.getpid()))
    time.sleep(600)


def sweep_until_killed(marker: str) -> None:
    """What run_all.sh does with one task that never ends."""
    from lavae_core.companion import sweep
    from lavae_core.companion.display import Watch

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's is ignored
    watch = Watch(Path(marker).with_suffix(".json"))
    list(sweep.run([marker], stay, sweep.on_this_machine(), watch))
