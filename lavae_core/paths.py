"""Where things are kept: one place that knows the folders, so that no notebook handles a path."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


def home() -> Path:
    """Folder of everything that is not in git: LAVAE_HOME, else `.lavae` in the checkout."""
    return Path(os.environ.get("LAVAE_HOME") or CHECKOUT / ".lavae")


def data_dir() -> Path:
    """Folder of the data sets: LAVAE_DATA (a folder that the user filled), else `data` below home()."""
    return Path(os.environ.get("LAVAE_DATA") or home() / "data")


def artifacts_dir() -> Path:
    """Folder of the trained models."""
    return home() / "artifacts"


def runs_dir(profile: str) -> Path:
    """Folder of what run_all.sh makes in `profile`: executed notebooks, their records, the report."""
    return home() / "runs" / profile


def figures_dir(profile: str = "quick", seed: int = 0, device: str = "cpu") -> Path:
    """Folder of pictures and tables; the committed one is that of profile quick, seed 0, on a CPU."""
    if (profile, seed, device) == ("quick", 0, "cpu"):
        return CHECKOUT / "figures"
    return runs_dir(profile) / "figures"
