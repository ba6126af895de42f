"""Where pictures and tables go, and on what their numbers were measured."""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.animation import Animation, PillowWriter
from matplotlib.figure import Figure

from lavae_companion import notebook
from lavae_companion.experiments import Setting
from lavae_companion.paths import CHECKOUT, play_dir
from lavae_core.errors import InvalidInputError, StoreError

FRAMES_PER_SECOND = 12


def folder() -> Path:
    """LAVAE_OUTPUT, which run_all.sh sets for each notebook; outside of it a folder of its own.

    Raises StoreError where it cannot be made.
    """
    place = Path(os.environ.get("LAVAE_OUTPUT") or play_dir())
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {place}: {error.strerror}") from error
    return place


def announce() -> None:
    """In a notebook outside of run_all.sh, print where its pictures and tables go."""
    if notebook.shell() is not None:
        print(
            f"pictures and tables of this notebook go to {_relative(play_dir())}, not to figures/"
        )
        own = Path.cwd().parent  # of a notebook in notebooks/
        if own != CHECKOUT and (own / "lavae_core").is_dir():
            print(f"the code is that of another checkout, {CHECKOUT}; choose a kernel of {own}")


def save_figure(figure: Figure, name: str) -> None:
    """Write name.png and name.pdf, the same bytes for the same picture."""
    place = folder()
    with _writing(name):
        figure.savefig(place / f"{name}.png", metadata={"Software": None})
        figure.savefig(place / f"{name}.pdf", metadata={"CreationDate": None})


def save_animation(animation: Animation, name: str) -> bytes:
    """Write name.gif, the same bytes for the same pictures, and return them."""
    path = folder() / f"{name}.gif"
    with _writing(name):
        animation.save(path, writer=PillowWriter(fps=FRAMES_PER_SECOND), dpi=100)
        return path.read_bytes()


def save_table(table: pd.DataFrame, name: str, decimals: int = 4) -> None:
    """Write name.csv. Raises InvalidInputError for an empty table."""
    place = folder()
    if table.empty:
        raise InvalidInputError(f"the table {name} is empty; ask for at least one row")
    with _writing(name):
        table.to_csv(place / f"{name}.csv", float_format=f"%.{decimals}f")


def save_provenance(profile: str, setting: Setting, seeds: Iterable[int], name: str) -> None:
    """Write name.json: on what the numbers of name.csv were measured."""
    content = json.dumps(provenance(profile, setting, seeds), indent=1)
    place = folder()
    with _writing(name):
        (place / f"{name}.json").write_text(content + "\n")


def provenance(profile: str, setting: Setting, seeds: Iterable[int]) -> dict[str, Any]:
    """Profile, seeds, device, precision, vector instructions, PyTorch and git's commit, as JSON.

    commit is None outside of this project's own repository, and ends with "+" where the code was
    changed since; nothing names the machine.
    """
    capabilities = torch.cpu.get_capabilities()
    return {
        "profile": profile,
        "seeds": sorted(seeds),
        "device": setting.runtime.device,
        "precision": setting.runtime.precision,
        "instructions": sorted(name for name, present in capabilities.items() if present is True),
        "torch": torch.__version__,
        "commit": _commit(),
    }


@contextmanager
def _writing(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write {name} to {folder()}: {error.strerror}") from error


def _relative(path: Path) -> str:
    return os.path.relpath(path, CHECKOUT) if path.is_relative_to(CHECKOUT) else path.name


def _commit() -> str | None:
    try:
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != CHECKOUT:
            return None
        changed = _git("status", "--porcelain", "--", "lavae_core", "lavae_companion")
        return _git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(CHECKOUT), *arguments]
    # Of a hook that calls us, GIT_DIR and its like are of another repository.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(command, env=own, capture_output=True, text=True, check=True)
    return done.stdout.strip()
