"""Charts: each function returns a matplotlib Figure.

Those of several panels raise InvalidInputError without a panel. Seaborn takes 1.5 seconds to import
and half of the notebooks need none of it, so it is imported where it draws.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle, product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator

from lavae_companion.figures import style
from lavae_companion.figures.style import OTHER_COLOURS, PAGE_WIDTH, require_some, subplots

VERDICT_COLOURS = {"holds": "#009E73", "inconclusive": "#E69F00", "equivalent": "#56B4E9",
                   "does not hold": "#D55E00"}  # fmt: skip
TURNS = 25  # in which the points of the variants are drawn
OUTSIDE = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}  # a legend right of the axes


def heatmap(
    tables: Mapping[str, pd.DataFrame], title: str, unit: str, ylabel: str, xlabel: str
) -> Figure:
    """Matrices side by side on one colour scale, each cell with its number."""
    import seaborn as sns

    require_some("matrices", tables)
    low = min(table.min(axis=None) for table in tables.values())
    high = max(table.max(axis=None) for table in tables.values())
    growth = max(1.0, max(len(table) for table in tables.values()) / 4)  # room for more labels
    size = (PAGE_WIDTH * 1.25 * growth, 3.9 * growth)
    figure, axes = subplots(1, len(tables), figsize=size, squeeze=False, sharey=True)
    for axis, (name, table) in zip(axes[0], tables.items(), strict=True):
        sns.heatmap(
            table.rename(index=_two_lines, columns=_two_lines), ax=axis, vmin=low, vmax=high,
            cmap="cividis_r", annot=True, fmt=".0f", annot_kws={"fontsize": 8}, linewidths=0.5,
            cbar=axis is axes[0, -1], cbar_kws={"label": unit},
        )  # fmt: skip
        _write_legibly(axis)
        axis.set(title=name, xlabel=xlabel, ylabel=ylabel if axis is axes[0, 0] else "")
        axis.tick_params(axis="x", rotation=40, length=0)
        axis.tick_params(axis="y", rotation=0, length=0)
        plt.setp(axis.get_xticklabels(), ha="right", rotation_mode="anchor")
    figure.suptitle(title, fontsize=11)
    return figure


def _write_legibly(axis: Axes) -> None:
    """Make numbers black or white, for contrast with their cell; seaborn's turn white too early."""
    from seaborn.utils import relative_luminance

    for text, colour in zip(axis.texts, axis.collections[0].get_facecolors(), strict=True):
        # WCAG 2.2: above this luminance black has the higher contrast ratio.
        text.set_color("black" if relative_luminance(colour) > 0.179 else "white")


def _two_lines(pair: str) -> str:
    return str(pair).replace(",", ",\n")


def projections(points: Mapping[str, np.ndarray], variants: Sequence[str], title: str) -> Figure:
    """Latents in the plane: a panel for each projection's points (M, 2), styled by variant (M,).

    They are drawn in turns, so that no variant covers the others.
    """
    require_some("projections", points)
    figure, axes = subplots(1, len(points), figsize=(PAGE_WIDTH * 1.15, 2.9), squeeze=False)
    variants, styles = np.asarray(variants), style.variant_styles(variants)
    for axis, (name, plane) in zip(axes[0], points.items(), strict=True):
        for turn, (variant, (colour, marker)) in product(range(TURNS), styles.items()):
            chosen = plane[variants == variant][turn::TURNS]
            axis.scatter(*chosen.T, s=5, alpha=0.5, color=colour, marker=marker, linewidths=0,
                         label=None if turn else variant, rasterized=True)  # fmt: skip
        axis.set(title=name, xlabel=f"{name} 1", ylabel=f"{name} 2", xticks=[], yticks=[])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, markerscale=2.5)
    figure.suptitle(title, fontsize=10)
    return figure


def recursion_paths(
    background: np.ndarray, paths: Mapping[str, np.ndarray], variants: Sequence[str], title: str
) -> Figure:
    """Figure 5's paths, each (steps + 1, 2), over test latents (M, 2) coloured by variant (M,)."""
    figure, axis = subplots(figsize=(PAGE_WIDTH * 0.85, 4.2))
    for variant, (colour, _) in style.variant_styles(variants).items():
        chosen = background[np.asarray(variants) == variant]
        axis.scatter(*chosen.T, s=4, alpha=0.3, color=colour, linewidths=0,
                     label=f"test images, {variant}", rasterized=True)  # fmt: skip
    for (label, path), colour in zip(paths.items(), cycle(OTHER_COLOURS)):
        axis.plot(*path.T, "-o", color=colour, lw=1.4, ms=4, label=label)
        _name_end(axis, path, 0, "start", colour)
        _name_end(axis, path, -1, f"step {len(path) - 1}", colour)
    axis.set(xlabel="independent component 1", ylabel="independent component 2", title=title)
    axis.legend(**OUTSIDE, markerscale=2)
    return figure


def _name_end(axis: Axes, path: np.ndarray, place: int, name: str, colour: str) -> None:
    """Write `name` beside path[place], on the side away from the middle of the path."""
    away = path[place] - path.mean(0)
    x, y = 12 * away / max(np.linalg.norm(away), 1e-9)  # points
    beside = "left" if x > 0 else "right"
    axis.annotate(
        name, path[place], textcoords="offset points", xytext=(x, y), fontsize=8, color=colour,
        weight="bold", ha=beside if abs(x) > abs(y) else "center", va="center",
        path_effects=[withStroke(linewidth=2, foreground="white")],
    )  # fmt: skip


def bars(table: pd.DataFrame, title: str, ylabel: str) -> Figure:
    """Grouped bars: a group for each column of `table`, a bar for each of its rows."""
    import seaborn as sns

    figure, axis = subplots(figsize=(PAGE_WIDTH, 3.1))
    long = table.rename_axis("row").reset_index().melt("row", var_name="column")
    palette = (OTHER_COLOURS * len(table))[: len(table)]
    sns.barplot(long, x="column", y="value", hue="row", ax=axis, palette=palette, saturation=1)
    for container in axis.containers:
        axis.bar_label(container, fmt="%.0f", fontsize=7, padding=1)
    axis.set(xlabel="", ylabel=ylabel, title=title)
    axis.legend(**OUTSIDE, title="")
    return figure


def quartile_curves(
    curves: Mapping[str, np.ndarray], title: str, xlabel: str, ylabel: str
) -> Figure:
    """Mean and quartiles over images of curves (steps, N), a panel for each on one scale."""
    require_some("curves", curves)
    figure, axes = subplots(1, len(curves), figsize=(PAGE_WIDTH, 3.2), squeeze=False, sharey=True)
    for axis, (label, values), shade in zip(axes[0], curves.items(), cycle(OTHER_COLOURS)):
        steps = np.arange(1, len(values) + 1)
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=1)
        axis.fill_between(steps, low, high, color=shade, alpha=0.18, lw=0, label="quartiles")
        axis.plot(steps, middle, "--", color=shade, lw=1, label="median")
        axis.plot(steps, values.mean(1), "-o", color=shade, lw=1.6, ms=4, label="mean")
        axis.set(title=label, xlabel=xlabel, xticks=steps)
        axis.legend()
    axes[0, 0].set(ylabel=ylabel, ylim=0)
    figure.suptitle(title, fontsize=10)
    return figure


def dots(table: pd.DataFrame, title: str, xlabel: str) -> Figure:
    """A band for each row of `table`, a numbered point for each column, on a logarithmic axis."""
    figure, axis = subplots(figsize=(PAGE_WIDTH, 0.7 * len(table) + 1.1))
    places = -np.arange(len(table))
    for place in places[::2]:
        axis.axhspan(place - 0.5, place + 0.5, color="0.95", linewidth=0, zorder=0)
    heights = places + np.linspace(0.32, -0.32, len(table.columns))[:, None]
    styles = zip(table.items(), heights, cycle(OTHER_COLOURS), cycle(style.MARKERS))
    for (column, values), height, colour, marker in styles:
        axis.scatter(values, height, color=colour, marker=marker, s=22, label=column)
        for value, place in zip(values, height, strict=True):
            axis.annotate(f"{value:.0f}", (value, place), (6, 0), textcoords="offset points",
                          fontsize=7, va="center_baseline")  # fmt: skip
    axis.set_yticks(places, table.index)
    _use_log_scale(axis)
    axis.set(title=title, xlabel=xlabel, ylim=(0.5 - len(table), 0.5))
    axis.margins(x=0.1)  # room for the numbers
    axis.legend(**OUTSIDE)
    return figure


def _use_log_scale(axis: Axes) -> None:
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")


def intervals(table: pd.DataFrame, title: str) -> Figure:
    """The parts of the claims, each with its 95% interval and the paper's value, claims in bands.

    Each number is a factor from its threshold, so that right of 1 supports the claim. table: of
    claims.table(); rows without an interval, or with a threshold of 0, are left out.
    """
    rows = table.dropna(subset=["value", "low"])
    rows = rows[rows["threshold"] > 0].iloc[::-1].reset_index(drop=True)
    figure, axis = subplots(figsize=(PAGE_WIDTH * 1.15, 0.2 * len(rows) + 1.2))
    for _, places in list(rows.groupby("claim", sort=False).groups.items())[::2]:
        axis.axhspan(min(places) - 0.5, max(places) + 0.5, color="0.95", linewidth=0, zorder=0)
    for place, row in rows.iterrows():
        colour = VERDICT_COLOURS[row["part_verdict"]]
        low, value, high, published = _factors(row)
        axis.plot([low, high], [place, place], color=colour, lw=2.2, solid_capstyle="butt")
        axis.plot(value, place, "o", color=colour, ms=5)
        if pd.notna(published):
            axis.plot(published, place, "x", color="0.35", ms=5)
    axis.axvline(1, color="0.35", lw=1, ls="--")
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_yticks(range(len(rows)), rows["part"], fontsize=7)
    axis.set_ylim(-0.8, len(rows) - 0.2)
    axis.set(title=title, xlabel="factor from the threshold;\nright of 1 supports the claim")
    handles = [plt.Line2D([], [], color=colour, marker="o", lw=2, label=verdict)
               for verdict, colour in VERDICT_COLOURS.items()
               if verdict in set(rows["part_verdict"])]  # fmt: skip
    handles.append(plt.Line2D([], [], color="0.35", marker="x", lw=0, label="published"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _factors(row: pd.Series) -> np.ndarray:
    """Low, value, high and published of a row of `intervals` as factors from its threshold."""
    numbers = row[["low", "value", "high", "published"]].to_numpy(dtype=float)
    numbers = numbers.clip(min=0)  # the interval of a small share may reach below 0
    with np.errstate(divide="ignore"):  # a share of 0 is infinitely far from its threshold
        return (numbers / row["threshold"]) ** (1 if row["side"] == "above" else -1)


def scatter_by_pair(
    points: pd.DataFrame, x: str, y: str, colour: str, title: str, xlabel: str, ylabel: str
) -> Figure:
    """Points of two columns, one colour and marker for each value of the column `colour`."""
    import seaborn as sns

    figure, axis = subplots(figsize=(PAGE_WIDTH, 3.6))
    count = points[colour].nunique()
    palette, markers = (OTHER_COLOURS * count)[:count], (style.MARKERS * count)[:count]
    sns.scatterplot(points, x=x, y=y, hue=colour, style=colour, palette=palette, markers=markers,
                    ax=axis, s=60, alpha=0.85)  # fmt: skip
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axis.legend(**OUTSIDE, title=f"{colour} on")
    return figure


def curves(
    points: pd.DataFrame, x: str, y: str, colour: str, title: str, xlabel: str, ylabel: str
) -> Figure:
    """A line with its points, on a logarithmic x axis, for each value of the column `colour`."""
    figure, axis = subplots(figsize=(PAGE_WIDTH, 3.4))
    for (name, line), shade in zip(points.groupby(colour, sort=False), cycle(OTHER_COLOURS)):
        axis.plot(line[x], line[y], "-o", color=shade, ms=5, label=name)
    _use_log_scale(axis)
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axis.legend(**OUTSIDE)
    return figure


def bands(
    points: pd.DataFrame, x: str, colour: str, panel: str, title: str, xlabel: str, ylabel: str
) -> Figure:
    """Lines of the column `value` in bands from `low` to `high`, on a logarithmic x axis: a panel for
    each value of the column `panel`, a colour and marker for each of `colour`.

    There are fewer colours than markers; lines whose colour comes again are dashed.
    """
    require_some("lines", points)
    names = points[panel].unique()
    figure, axes = subplots(
        1, len(names), figsize=(PAGE_WIDTH * 1.15, 3.9), squeeze=False, sharey=True
    )
    for axis, name in zip(axes[0], names, strict=True):
        lines = points[points[panel] == name].groupby(colour, sort=False)
        styles = zip(lines, cycle(OTHER_COLOURS), cycle(style.MARKERS))
        for place, ((label, line), shade, marker) in enumerate(styles):
            dash = "-" if place < len(OTHER_COLOURS) else "--"
            axis.fill_between(line[x], line["low"], line["high"], color=shade, alpha=0.18, lw=0)
            axis.plot(line[x], line["value"], dash, marker=marker, color=shade, ms=4, label=label)
        _use_log_scale(axis)
        axis.set(title=name, xlabel=xlabel)
    axes[0, 0].set(ylabel=ylabel)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    figure.suptitle(title, fontsize=10)
    return figure


def frontier(points: pd.DataFrame, x: str, y: str, title: str, xlabel: str, ylabel: str) -> Figure:
    """Two costs of several trainings, each better to the left and below: a colour for each value of
    the column `pair`, whose points a line joins in their order, a marker for each of `training`.

    The y axis is logarithmic above 1 and linear below, so that a cost of 0 has a place.
    """
    require_some("trainings", points)
    figure, axis = subplots(figsize=(PAGE_WIDTH * 1.15, 3.9))
    markers = dict(zip(points["training"].unique(), cycle(style.MARKERS), strict=False))
    for (pair, rows), colour in zip(points.groupby("pair", sort=False), cycle(OTHER_COLOURS)):
        axis.plot(rows[x], rows[y], color=colour, lw=1, label=pair)
        for training, row in rows.set_index("training").iterrows():
            axis.plot(row[x], row[y], markers[training], color=colour, ms=6)
    for training, marker in markers.items():
        axis.plot([], [], marker, color="0.35", label=training)
    axis.set_yscale("symlog", linthresh=1)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axis.legend(**OUTSIDE)
    return figure
