"""The errors that a user can cause: each is one line that names what was wrong and what is allowed."""

import math


class LavaeError(Exception):
    """Base of every error that this package raises on purpose; its message is one line for the user."""


class InvalidInputError(LavaeError, ValueError):
    """A value, name, shape, dtype or range that is not allowed."""


class StoreError(LavaeError):
    """A folder that cannot be written, or an artifact of another architecture or version."""


class TrainingError(LavaeError):
    """Training that cannot go on, such as a loss that is not a number."""


def require_known(kind: str, name: object, known) -> None:
    """Raise InvalidInputError unless `name` is one of `known`; the message lists all of them."""
    known = list(known)  # `in` a dictionary would refuse a list as unhashable
    if name not in known:
        raise InvalidInputError(f"unknown {kind} {name!r}; allowed: {', '.join(map(str, known))}")


def require_whole(what: str, value: object, least: int, most: int | None = None) -> None:
    """Raise InvalidInputError unless `value` is a whole number from `least` (to `most`)."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        limits = f"from {least}" if most is None else f"from {least} to {most}"
        raise InvalidInputError(f"{what} must be a whole number {limits}, got {value!r}")


def require_seed(value: object) -> None:
    """Raise InvalidInputError unless `value` is a seed that every library takes."""
    require_whole("seed", value, 0, 2**32 - 1)  # scikit-learn's largest


def require_number(what: str, value: object, positive: bool = False) -> None:
    """Raise InvalidInputError unless `value` is finite and at least 0, or above 0 if `positive`."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (positive and value == 0):
        limits = "above 0" if positive else "from 0"
        raise InvalidInputError(f"{what} must be a finite number {limits}, got {value!r}")
