"""Charts of the BCE through maps, by kind of map (notebook 25) and by length of a word (notebook 26)."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lavae_companion.figures.style import (
    MARKERS,
    OTHER_COLOURS,
    PAGE_WIDTH,
    require_some,
    subplots,
)


def waterfall(tables: Mapping[str, pd.Series], title: str, xlabel: str) -> Figure:
    """For each panel the costs of a series, one below the other; a bar leads from each to the next,
    blue where it falls and orange where it grows. Dashed: the last one, the bound."""
    require_some("costs", tables)
    rows = -(-len(tables) // 2)
    figure, axes = subplots(rows, min(len(tables), 2), squeeze=False, sharey=True,
                            figsize=(PAGE_WIDTH * 1.15, 2.6 * rows + 0.4))  # fmt: skip
    for axis in axes.flat[len(tables) :]:
        axis.set_axis_off()
    for axis, (name, costs) in zip(axes.flat, tables.items(), strict=False):
        values, places = costs.to_numpy(), np.arange(len(costs))
        steps = np.diff(values, prepend=values[0])
        colours = np.where(steps > 0, OTHER_COLOURS[0], OTHER_COLOURS[1])
        axis.barh(places, -steps, left=values, height=0.6, color=colours)
        axis.plot(values, places, "|", color="black", ms=11, mew=2)
        for value, step, place in zip(values, steps, places, strict=True):
            axis.annotate(f"{value:.1f}", (max(value, value - step), place), (6, 0),
                          textcoords="offset points", fontsize=7, va="center")  # fmt: skip
        axis.axvline(values[-1], color="0.35", lw=1, ls="--", zorder=0)
        axis.set_yticks(places, costs.index)
        axis.set(title=name, xlabel=xlabel)
        axis.margins(x=0.14, y=0.04)
    axes[0, 0].invert_yaxis()  # of all: they share it
    figure.suptitle(title, fontsize=10)
    return figure


def spectra(points: pd.DataFrame, x: str, y: str, title: str, xlabel: str) -> Figure:
    """Columns x and y as points, a panel for each `pair`, a colour and marker for each `fit`, and
    the line on which both are equal."""
    pairs = points["pair"].unique()
    figure, axes = subplots(1, len(pairs), squeeze=False, sharey=True,
                            figsize=(PAGE_WIDTH * 1.15, 3.1))  # fmt: skip
    low = points[x].min()
    for axis, pair in zip(axes[0], pairs, strict=True):
        axis.plot([low, 1], [low, 1], color="0.35", lw=1, ls="--", label="equal")
        own = points[points["pair"] == pair].groupby("fit", sort=False)
        for (fit, rows), colour, marker in zip(own, cycle(OTHER_COLOURS), cycle(MARKERS)):
            axis.plot(rows[x], rows[y], marker, color=colour, ms=4, alpha=0.7, mew=0, label=fit)
        axis.set(title=pair.replace(",", ",\n"), xlabel=xlabel)
        axis.locator_params(axis="x", nbins=4)
    axes[0, 0].set(ylabel=y)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    figure.suptitle(title, fontsize=10)
    return figure


def by_length(points: pd.DataFrame, title: str, ylabel: str) -> Figure:
    """Cost over the length of a word, a panel for each `panel` and a line for each `maps`; dotted,
    in the colour of the line: the column `predicted`, where it has values. Costs above ten times the least are cut off."""
    require_some("words", points)
    panels = points["panel"].unique()
    rows = -(-len(panels) // 2)
    figure, axes = subplots(rows, min(len(panels), 2), squeeze=False, sharex=True, sharey=True,
                            figsize=(PAGE_WIDTH * 1.15, 2.5 * rows + 0.5))  # fmt: skip
    looks = zip(cycle(OTHER_COLOURS), cycle(MARKERS), strict=False)
    styles = dict(zip(points["maps"].unique(), looks, strict=False))
    for axis, panel in zip(axes.flat, panels, strict=False):
        for maps, line in points[points["panel"] == panel].groupby("maps", sort=False):
            colour, marker = styles[maps]
            axis.plot(line["length"], line["cost"], f"-{marker}", color=colour, ms=4, lw=1.2)
            axis.plot(line["length"], line["predicted"], ":", color=colour, lw=1.8)
        axis.set(title=panel, xlabel="letters", ylabel=ylabel, xscale="log", yscale="log")
        axis.set_xticks(lengths := sorted(points["length"].unique()), lengths, minor=False)
        axis.minorticks_off()
        axis.set_yticks(ticks := [50, 70, 100, 150, 200, 300, 500], ticks)
        axis.set_ylim(top=min(10 * points["cost"].min(), 1.1 * points["cost"].max()))
        axis.label_outer()
    for maps, (colour, marker) in styles.items():
        axes[0, 0].plot([], [], f"-{marker}", color=colour, ms=4, label=maps)
    axes[0, 0].plot([], [], ":", color="0.35", label="predicted by the spectrum")
    figure.legend(loc="outside lower center", ncols=4)
    figure.suptitle(title, fontsize=10)
    return figure
