"""A turntable of digits in rows, and what its words cost."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from lavae_companion.figures.digits import show_digit
from lavae_companion.figures.style import MARKERS, OTHER_COLOURS, PAGE_WIDTH, require_some

TRAINED = "#CDE4F5"  # behind what was trained
COLOURS = OTHER_COLOURS[:4] + OTHER_COLOURS[5:]  # yellow is too pale for a line


def turntable(
    rows: Mapping[str, Tensor],
    columns: Sequence[str],
    trained: Sequence[bool],
    costs: pd.DataFrame,
    title: str,
) -> Figure:
    """Above, a row of images (D, C, 28, 28) for each entry of `rows`, digit by digit, shaded where the
    column was `trained` (C,); below, the column `ratio` of costs over `letters`, a panel for each
    `region` and a line for each `method`. Raises InvalidInputError without rows."""
    require_some("rows of digits", rows)
    digits, count = len(next(iter(rows.values()))), len(columns)
    figure = plt.figure(figsize=(PAGE_WIDTH * 1.15, 0.62 * len(rows) + 3.4), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[0.62 * len(rows) + 0.5, 2.9])
    blocks = above.subfigures(1, digits, squeeze=False, wspace=0.02)[0]
    for place, block in enumerate(blocks):
        axes = block.subplots(len(rows), count, squeeze=False)
        for line, (name, images) in zip(axes, rows.items(), strict=True):
            for axis, image, seen in zip(line, images[place], trained, strict=True):
                show_digit(axis, image)
                for spine in axis.spines.values():
                    spine.set(linewidth=2.2 if seen else 0.4, color=TRAINED if seen else "0.7")
            if place == 0:
                line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        for axis, text, seen in zip(axes[0], columns, trained, strict=True):
            look = {"facecolor": TRAINED if seen else "white", "edgecolor": "none", "pad": 1.5}
            axis.set_title(text, fontsize=7, bbox=look)
    _lines(below, costs)
    figure.suptitle(title, fontsize=10)
    return figure


def _lines(figure, costs: pd.DataFrame) -> None:
    regions = costs["region"].unique()
    axes = figure.subplots(1, len(regions), squeeze=False, sharey=True)[0]
    looks = zip(cycle(COLOURS), cycle(MARKERS))
    styles = dict(zip(costs["method"].unique(), looks, strict=False))
    for axis, region in zip(axes, regions, strict=True):
        own = costs[costs["region"] == region].groupby("method", sort=False)
        for method, line in own:
            colour, marker = styles[method]
            axis.plot(
                line["letters"], line["ratio"], f"-{marker}", color=colour, ms=4, label=method
            )
        axis.axhline(1, color="0.35", lw=1, ls="--", zorder=0)
        axis.set(title=f"{region} the trained views", xlabel="letters")
        axis.set_xticks(sorted(costs["letters"].unique()))
    axes[0].set(ylabel="cost ratio")
    axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
