"""Is this Python ready to run the companion? run_all.sh runs this file with each candidate.

    python -P environment.py [STAMP]          exit 0 if ready (and STAMP is of today's lock)
    python -P environment.py --stamp STAMP    write STAMP

It must run where nothing is installed, so it imports only the standard library.
"""

import hashlib
import importlib.util
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = ("lavae_core", "lavae_companion")
NEEDED = ("torch", "papermill", "ipykernel", "nbconvert", "matplotlib", "pooch", "tabulate")


def stamp() -> str:
    """Hash of the two files that determine what is installed."""
    content = b"".join((CHECKOUT / n).read_bytes() for n in ("requirements.lock", "pyproject.toml"))
    return hashlib.sha256(content).hexdigest()


def ready() -> bool:
    """Whether both packages are this checkout's and what they need can be found (not imported)."""
    specs = [importlib.util.find_spec(name) for name in PACKAGES]
    ours = all(
        spec and spec.origin and Path(spec.origin).resolve().is_relative_to(CHECKOUT)
        for spec in specs
    )
    return ours and all(importlib.util.find_spec(name) for name in NEEDED)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--stamp"]:
        Path(arguments[1]).write_text(stamp())
        return 0
    stamps = [Path(name) for name in arguments]
    return 0 if ready() and all(s.is_file() and s.read_text() == stamp() for s in stamps) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
