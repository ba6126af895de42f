"""`python -m lavae_companion.explorer [PATH]`: the explorer of the weights in the checkout."""

import sys
from pathlib import Path

from lavae_companion import data
from lavae_companion.command import exit_status
from lavae_companion.explorer import build
from lavae_companion.weights import FAMILIES
from lavae_core.models import LAVAE


def main(arguments: list[str]) -> int:
    """Write the page to PATH, else to explorer.html in LAVAE_HOME; return the exit status."""
    path = Path(arguments[0]) if arguments else data.home() / "explorer.html"

    def write() -> None:
        models = {family: LAVAE.shipped(family) for family in FAMILIES}
        build(models, data.load("test"), path, "the weights of the checkout")
        print(path)

    return exit_status(write)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
