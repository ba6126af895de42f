"""How the commands `python -m lavae_companion.NAME` end."""

import sys
from collections.abc import Callable

from lavae_core.errors import LavaeError


def exit_status(action: Callable[[], None]) -> int:
    """0 after `action()`; 1 after an error that a user can cause, which is said in one line."""
    try:
        action()
    except (LavaeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
