"""Pictures of a group and its representations (notebook 28)."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lavae_companion.figures.digits import show_digit
from lavae_companion.figures.style import OTHER_COLOURS, PAGE_WIDTH, require_some, subplots

INNER = 0.42  # radius of a ring over that of the ring around it
DIGIT = 0.26  # side of a digit; the outer ring has the radius 1


def cayley_graphs(
    graphs: Mapping[str, tuple[Sequence[str], Tensor, pd.DataFrame]], title: str, unit: str
) -> Figure:
    """A Cayley graph in each panel: (words of the elements, their digits (n, 28, 28), edges). The
    elements L1^k stand on a ring, and those that another generator reaches from them on an inner one.

    edges: columns start, end (places), generator and cost, which colours an edge on one scale for all
    panels. The first generator's edges are solid.
    """
    require_some("graphs", graphs)
    figure, axes = subplots(1, len(graphs), squeeze=False,
                            figsize=(PAGE_WIDTH * 1.15, PAGE_WIDTH * 1.15 / len(graphs) + 0.7))  # fmt: skip
    every = pd.concat([edges["cost"] for _, _, edges in graphs.values()])
    colour = plt.cm.ScalarMappable(plt.Normalize(every.min(), every.max()), "plasma_r")
    for axis, (name, (words, digits, edges)) in zip(axes[0], graphs.items(), strict=True):
        places = _rings(len(words), edges)
        dashes = dict(zip(edges["generator"].unique(), cycle(["-", (0, (4, 2)), ":"])))
        for row in edges.itertuples():
            bend = 0.12 if row.generator == edges["generator"].iloc[0] else 0.08
            axis.annotate("", places[row.end], places[row.start], arrowprops={
                "arrowstyle": "-|>", "lw": 2, "color": colour.to_rgba(row.cost), "shrinkA": 19,
                "shrinkB": 19, "ls": dashes[row.generator], "connectionstyle": f"arc3,rad={bend}",
            })  # fmt: skip
        for word, digit, place in zip(words, digits, places, strict=True):
            _node(axis, place, word, digit)
        edge = np.abs(places).max() + 0.27
        axis.set(title=name, xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal")
        axis.set_axis_off()
    figure.colorbar(colour, ax=axes, orientation="horizontal", shrink=0.5, aspect=40, label=unit)
    figure.suptitle(title, fontsize=10)
    return figure


def _rings(count: int, edges: pd.DataFrame) -> np.ndarray:
    """(count, 2): the first generator's powers on a ring, and what other generators lead to inside."""
    step = edges.set_index(["generator", "start"])["end"]
    first, *others = edges["generator"].unique()
    ring = [0]
    while (after := step[first, ring[-1]]) != 0:
        ring.append(after)
    turns = np.pi / 2 - 2 * np.pi * np.arange(len(ring)) / len(ring) + np.pi / 4 * (len(ring) == 4)
    angle, radius = dict(zip(ring, turns, strict=True)), dict.fromkeys(ring, 1.0)
    queue = list(ring)
    for place in queue:  # it grows
        for generator in [*others, first]:
            end = step[generator, place]
            if end not in angle:
                angle[end], radius[end] = angle[place], radius[place] * INNER
                queue.append(end)
    order = range(count)
    return np.array([(radius[i] * np.cos(angle[i]), radius[i] * np.sin(angle[i])) for i in order])


def _node(axis: Axes, place: np.ndarray, word: str, digit: Tensor) -> None:
    x, y = place
    inset = axis.inset_axes((x - DIGIT / 2, y - DIGIT / 2, DIGIT, DIGIT), transform=axis.transData)
    show_digit(inset, digit)
    axis.annotate(f"z {word}".strip(), place, (0, 21 if y > 0 else -21), fontsize=7, ha="center",
                  va="center", textcoords="offset points")  # fmt: skip


def on_integers(tables: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """Measured numbers that should be whole: a panel for each table, a group for each of its columns
    and a bar for each row. Black lines: the row "whole numbers", which has no bar."""
    require_some("tables", tables)
    figure, axes = subplots(len(tables), 1, figsize=(PAGE_WIDTH * 1.15, 2.3 * len(tables) + 0.6),
                            squeeze=False)  # fmt: skip
    colours = [colour for colour in OTHER_COLOURS if colour != "#000000"]
    for axis, (name, table) in zip(axes[:, 0], tables.items(), strict=True):
        rows = table.drop(index="whole numbers")
        places, width = np.arange(len(table.columns)), 0.8 / len(rows)
        for number, ((label, row), colour) in enumerate(zip(rows.iterrows(), cycle(colours))):
            left = places - 0.4 + number * width
            axis.bar(left, row, width * 0.92, align="edge", color=colour, label=label)
        axis.hlines(table.loc["whole numbers"], places - 0.46, places + 0.46, color="black", lw=1.5,
                    label="whole numbers")  # fmt: skip
        axis.axhline(0, color="0.35", lw=0.6)
        axis.set_xticks(places, table.columns)
        axis.set(title=name)
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.grid(axis="y", color="0.9", lw=0.6)
        axis.set_axisbelow(True)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(title, fontsize=10)
    return figure
