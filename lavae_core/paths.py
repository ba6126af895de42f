"""Where things are kept: one place that knows the folders, so that no notebook handles a path."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
COMMITTED = ("quick", 0, "cpu")  # profile, seed and device of the results that git keeps


def home() -> Path:
    """Folder of everything that is not in git: LAVAE_HOME, else `.lavae` in the checkout."""
    return Path(os.environ.get("LAVAE_HOME") or CHECKOUT / ".lavae")


def data_dir() -> Path:
    """Folder of the data sets: LAVAE_DATA (a folder that the user filled), else `data` below home()."""
    return Path(os.environ.get("LAVAE_DATA") or home() / "data")


def artifacts_dir() -> Path:
    """Folder of the trained models."""
    return home() / "artifacts"


def runs_dir(profile: str, seed: int = 0, device: str = "cpu") -> Path:
    """Folder of what run_all.sh makes: executed notebooks, their records, the report."""
    seeded = f"-seed{seed}" if seed else ""
    placed = f"-{device.replace(':', '')}" if device != "cpu" else ""
    return home() / "runs" / f"{profile}{seeded}{placed}"


def figures_dir(profile: str = "quick", seed: int = 0, device: str = "cpu") -> Path:
    """Folder of pictures and tables: the committed one for COMMITTED, else one of the run."""
    if (profile, seed, device) == COMMITTED:
        return CHECKOUT / "figures"
    return runs_dir(profile, seed, device) / "figures"
