"""The explorer: one HTML page in which a trained LAVAE runs, made by `build`."""

from lavae_companion.explorer.build import build

__all__ = ["build"]
