"""The errors that a user can cause: each is one line that names what was wrong and what is allowed."""


class LavaeError(Exception):
    """Base of every error that this package raises on purpose; its message is one line for the user."""


class InvalidInputError(LavaeError, ValueError):
    """A value, name, shape, dtype or range that is not allowed."""


class DataError(LavaeError):
    """A data set that cannot be found, fetched or verified."""


class StoreError(LavaeError):
    """A folder that cannot be written, or an artifact of another architecture or version."""


class TrainingError(LavaeError):
    """Training that cannot go on, such as a loss that is not a number."""


def require_known(kind: str, name: object, known) -> None:
    """Raise InvalidInputError unless `name` is one of `known`; the message lists all of them."""
    if name not in known:
        allowed = ", ".join(str(item) for item in known)
        raise InvalidInputError(f"unknown {kind} {name!r}; allowed: {allowed}")
