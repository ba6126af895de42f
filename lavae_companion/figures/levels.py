"""A curve beside levels that do not depend on its x (notebook 31)."""

from collections.abc import Mapping
from itertools import cycle

import pandas as pd
from matplotlib.figure import Figure

from lavae_companion.figures.style import COLOURS, MARKERS, OTHER_COLOURS, PAGE_WIDTH, subplots


def with_levels(
    curves: pd.DataFrame, levels: Mapping[str, float], title: str, xlabel: str, ylabel: str
) -> Figure:
    """A line for each column of `curves` over its index, and a broken one for each of `levels`; the y
    axis is logarithmic. Levels whose colour comes again are dash-dotted."""
    figure, axis = subplots(figsize=(PAGE_WIDTH * 1.15, 3.8))
    for name, colour, marker in zip(curves, cycle(COLOURS), cycle(MARKERS)):
        axis.plot(curves.index, curves[name], f"-{marker}", color=colour, ms=5, label=name)
    dashes = ["--"] * len(OTHER_COLOURS) + ["-."] * len(OTHER_COLOURS)
    for (name, value), colour, dash in zip(levels.items(), cycle(OTHER_COLOURS), dashes):
        axis.axhline(value, color=colour, ls=dash, lw=1.2, label=f"{name}: {value:.0f}")
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel, yscale="log")
    axis.minorticks_off()
    axis.set_yticks(ticks := [60, 70, 85, 100, 130, 170, 220, 300, 400, 600, 800], ticks)
    axis.set_xticks(curves.index)
    figure.legend(loc="outside right center")
    return figure
