"""Folders of the companion: one place that knows them, so that no notebook handles a path."""

import os
from pathlib import Path

from lavae_companion.data import home

CHECKOUT = Path(__file__).resolve().parents[1]
FIGURES = CHECKOUT / "figures"
NOTEBOOKS = CHECKOUT / "notebooks"


def shipped() -> bool:
    """Whether models come from weights/ of the checkout and none is trained (run_all.sh --shipped)."""
    return bool(os.environ.get("LAVAE_SHIPPED"))


def artifacts_dir() -> Path:
    """Folder of the trained models."""
    return home() / "artifacts"


def play_dir() -> Path:
    """Folder of pictures and tables that a notebook writes outside of run_all.sh."""
    return home() / "play"


def runs_dir(profile: str, seed: int = 0, device: str = "cpu", dataset: str = "mnist") -> Path:
    """Folder of what run_all.sh makes: executed notebooks, their records, figures, the report."""
    parts = [
        profile,
        f"seed{seed}" if seed else "",
        device.replace(":", "") if device != "cpu" else "",
        Path(dataset).stem if dataset != "mnist" else "",
        "shipped" if shipped() else "",
    ]
    return home() / "runs" / "-".join(part for part in parts if part)
