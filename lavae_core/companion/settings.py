"""What a run was asked for, and the folders that follow from it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lavae_core.companion.files import write_whole
from lavae_core.companion.notebooks import NOTEBOOKS, Notebook
from lavae_core.paths import COMMITTED, figures_dir, home, runs_dir

# ipykernel warns on every start about its TCP ports; a profile of ours also keeps a user's own
# start-up files out of the results.
KERNEL_CONFIG = 'c.Application.log_level = "ERROR"\n'


@dataclass(frozen=True)
class Settings:
    """seed, device: None means the notebooks' own default. notebooks: the folder of the sources."""

    profile: str = "quick"
    seed: int | None = None
    device: str | None = None
    force: bool = False
    notebooks: Path = NOTEBOOKS

    @property
    def resolved(self) -> tuple[str, int, str]:
        """Profile, seed and device, with what the notebooks take where nothing was asked for."""
        return self.profile, self.seed or 0, self.device or "cpu"

    @property
    def runs(self) -> Path:
        return runs_dir(*self.resolved)

    @property
    def figures(self) -> Path:
        return figures_dir(*self.resolved)

    @property
    def commits(self) -> bool:
        """Whether the executed notebooks replace the sources, whose outputs git keeps."""
        return self.resolved == COMMITTED

    def executed(self, notebook: Notebook) -> Path:
        """Where the executed notebook is kept."""
        return notebook.path if self.commits else self.runs / "notebooks" / notebook.path.name

    @property
    def progress_file(self) -> Path:
        return self.runs / "progress.json"

    @property
    def used_file(self) -> Path:
        """Where a kernel notes the names of the artifacts that it loads or makes."""
        return self.runs / "used.txt"

    def variables(self) -> dict[str, str | None]:
        """Environment variables of a kernel; None: not set, whatever the user's shell has."""
        return {
            "LAVAE_PROFILE": self.profile,
            "LAVAE_SEED": None if self.seed is None else str(self.seed),
            "LAVAE_DEVICE": self.device,
            "LAVAE_PROGRESS_FILE": str(self.progress_file),
            "LAVAE_USED_FILE": str(self.used_file),
            "PYTHONHASHSEED": "0",
            "IPYTHONDIR": str(ipython_dir()),
            "JUPYTER_PREFER_ENV_PATH": "1",  # else a user's own kernel named python3 comes first
            "MPLBACKEND": None,  # Agg, for one, would lose every picture without a word
        }


def ipython_dir() -> Path:
    """Our IPYTHONDIR, made if need be."""
    folder = home() / "ipython"
    profile = folder / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    write_whole(profile / "ipython_kernel_config.py", KERNEL_CONFIG)
    return folder


def changed_environment(variables: dict[str, str | None]) -> dict[str, str]:
    """A copy of the environment with `variables` set, or removed where None."""
    merged = {**os.environ, **variables}
    return {name: value for name, value in merged.items() if value is not None}


@contextmanager
def environment(variables: dict[str, str | None]) -> Iterator[None]:
    """Set `variables` (None: remove) for the kernels started meanwhile, which inherit them."""
    before = dict(os.environ)
    changed = changed_environment(variables)
    try:
        os.environ.clear()
        os.environ.update(changed)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
