"""One function for each kind of figure, in one style that a user's matplotlibrc does not change."""

from pathlib import Path

import matplotlib.pyplot as plt

from lavae_companion.figures.carry import by_length, spectra, waterfall
from lavae_companion.figures.charts import (
    bands,
    bars,
    curves,
    dots,
    frontier,
    heatmap,
    intervals,
    projections,
    quartile_curves,
    recursion_paths,
    scatter_by_pair,
)
from lavae_companion.figures.diagrams import architecture, augmentation_graph, layers
from lavae_companion.figures.digits import digit_rows
from lavae_companion.figures.groups import cayley_graphs, on_integers
from lavae_companion.figures.latent import Walk, animation, latent_path, matrices, stations
from lavae_companion.figures.levels import with_levels
from lavae_companion.figures.turning import by_angle, frequencies, turning
from lavae_companion.figures.turntable import turntable

plt.style.use(["default", Path(__file__).with_name("companion.mplstyle")])

__all__ = [
    "Walk", "animation", "architecture", "augmentation_graph", "bands", "bars", "by_angle",
    "by_length", "cayley_graphs", "curves", "digit_rows", "dots", "frequencies", "frontier",
    "heatmap", "intervals", "latent_path", "layers", "matrices", "on_integers", "projections",
    "quartile_curves", "recursion_paths", "scatter_by_pair", "spectra", "stations", "turning",
    "turntable", "waterfall", "with_levels",
]  # fmt: skip
