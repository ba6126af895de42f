"""One function for each kind of picture, in one style.

Images are (N, 28, 28), uint8 or floats in [0, 1]. Every function but `layers` returns a matplotlib
Figure; those that take a mapping of pictures raise InvalidInputError where it is empty. Text is at
least 7 points at the width of a page, and colours are Okabe and Ito's, safe for colour-blind readers,
with one colour for each variant everywhere. Seaborn takes a second and a half to import and half of
the notebooks need none of it, so it is imported where it draws.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import LogLocator
from torch import Tensor, nn

from lavae_core.errors import InvalidInputError
from lavae_core.latent_maps import LatentMaps

VARIANT_COLOURS = {
    "original": "#0072B2",
    "first": "#E69F00",
    "second": "#009E73",
    "composed": "#CC79A7",
}
# Models, samples, words and pairs, which are at most seven.
OTHER_COLOURS = ["#D55E00", "#56B4E9", "#000000", "#999999", "#F0E442", "#7B3294", "#8C510A"]
VERDICT_COLOURS = {"holds": "#009E73", "open": "#E69F00", "does not hold": "#D55E00"}
MARKERS = {"original": "o", "first": "^", "second": "s", "composed": "D"}
FILLED_MARKERS = ["o", "^", "s", "D", "v", "P", "X"]  # one for each pair of the paper
PAGE_WIDTH = 7.0  # inches
TURNS = 25  # in which the points of the variants are drawn

matplotlib.rcParams.update(
    {
        "figure.dpi": 110,
        "savefig.dpi": 200,
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "pdf.fonttype": 42,
    }
)


def _subplots(rows: int = 1, columns: int = 1, **options):
    # Not by rcParams: those would also move axes that were placed by hand.
    return plt.subplots(rows, columns, layout="constrained", **options)


def digit_rows(
    rows: Mapping[str, Tensor], title: str, column_titles: Sequence[str] | None = None
) -> Figure:
    """A grid of digits: one labelled row of images (N, 28, 28) for each entry of `rows`."""
    _require_some("rows of digits", rows)
    count = len(next(iter(rows.values())))
    if count == 0 or any(len(images) != count for images in rows.values()):
        found = ", ".join(str(len(images)) for images in rows.values())
        raise InvalidInputError(f"every row needs the same images, at least one; got {found}")
    cell = min(0.62, (PAGE_WIDTH - 1.8) / count)
    figure, axes = _subplots(
        len(rows), count, squeeze=False,
        figsize=(count * cell + 1.9, len(rows) * cell + (0.75 if column_titles else 0.45)),
    )  # fmt: skip
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images, strict=True):
            _show_digit(axis, image)
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8, labelpad=6)
    for axis, text in zip(axes[0], column_titles or [], strict=False):
        axis.set_title(text, fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.01, wspace=0, hspace=0.02)
    return figure


def _require_some(what: str, given: Mapping) -> None:
    if not given:
        raise InvalidInputError(f"there are no {what} to show; ask for at least one")


def _show_digit(axis: plt.Axes, image: Tensor) -> None:
    """One image in an axis, without ticks; black is 0 and white is 1."""
    pixels = image.cpu().float() / (255 if image.dtype == torch.uint8 else 1)
    axis.imshow(pixels.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(visible=True, linewidth=0.4, color="0.7")


def augmentation_graph(images: Mapping[str, Tensor], labels: Mapping[str, str]) -> Figure:
    """Figure 1: the four variants of one digit as a directed graph with the augmentations on arrows.

    images: one (28, 28) image for each variant; labels: text of the arrows "first" and "second".
    """
    places = {"original": (0.13, 0.5), "first": (0.5, 0.78), "second": (0.5, 0.22),
              "composed": (0.87, 0.5)}  # fmt: skip
    names = {"original": "$x$", "first": "$A_1(x)$", "second": "$A_2(x)$",
             "composed": "$A_2(A_1(x))$"}  # fmt: skip
    arrows = [("original", "first", "first"), ("original", "second", "second"),
              ("first", "composed", "second"), ("second", "composed", "first")]  # fmt: skip
    figure = plt.figure(figsize=(PAGE_WIDTH, 3.6))
    canvas = figure.add_axes((0, 0, 1, 1))
    canvas.set(xlim=(0, 1), ylim=(0, 1))
    canvas.axis("off")
    for start, end, step in arrows:
        (x0, y0), (x1, y1) = places[start], places[end]
        dashed = (start, step) == ("second", "first")
        canvas.annotate(
            "", xy=(x1, y1), xytext=(x0, y0),
            arrowprops={"arrowstyle": "-|>", "color": VARIANT_COLOURS[step], "lw": 1.8,
                        "linestyle": "--" if dashed else "-", "shrinkA": 46, "shrinkB": 46},
        )  # fmt: skip
        above = 0.075 if y1 + y0 > 1 else -0.075
        canvas.text((x0 + x1) / 2, (y0 + y1) / 2 + above, labels[step], ha="center", va="center",
                    color="0.15", fontsize=9)  # fmt: skip
    for variant, (x, y) in places.items():
        width, height = 0.12, 0.12 * PAGE_WIDTH / 3.6
        axis = figure.add_axes((x - width / 2, y - height / 2, width, height))
        _show_digit(axis, images[variant])
        for spine in axis.spines.values():
            spine.set(linewidth=2.2, color=VARIANT_COLOURS[variant])
        canvas.text(x, y - height / 2 - 0.05, names[variant], ha="center", va="center", fontsize=10)
    return figure


def heatmap(
    tables: Mapping[str, pd.DataFrame], title: str, unit: str, ylabel: str, xlabel: str
) -> Figure:
    """Matrices side by side on one colour scale, each cell with its number."""
    import seaborn as sns

    _require_some("matrices", tables)
    low = min(table.min(axis=None) for table in tables.values())
    high = max(table.max(axis=None) for table in tables.values())
    growth = max(1.0, max(len(table) for table in tables.values()) / 4)  # room for more labels
    size = (PAGE_WIDTH * 1.25 * growth, 3.9 * growth)
    figure, axes = _subplots(1, len(tables), figsize=size, squeeze=False, sharey=True)
    for position, (axis, (name, table)) in enumerate(zip(axes[0], tables.items(), strict=True)):
        last = position == len(tables) - 1
        shown = table.rename(index=_two_lines, columns=_two_lines)
        sns.heatmap(
            shown, ax=axis, vmin=low, vmax=high, cmap="cividis_r", annot=True, fmt=".0f",
            annot_kws={"fontsize": 8}, cbar=last, cbar_kws={"label": unit}, linewidths=0.5,
        )  # fmt: skip
        _write_legibly(axis)
        axis.set(title=name, xlabel=xlabel, ylabel=ylabel if position == 0 else "")
        axis.tick_params(axis="x", rotation=40, length=0)
        axis.tick_params(axis="y", rotation=0, length=0)
        plt.setp(axis.get_xticklabels(), ha="right", rotation_mode="anchor")
    figure.suptitle(title, fontsize=11)
    return figure


def _write_legibly(axis: Axes) -> None:
    """Black or white numbers, whichever has more contrast with its cell; seaborn turns to white
    early, and white on the middle of the scale is hard to read."""
    from seaborn.utils import relative_luminance

    colours = axis.collections[0].get_facecolors()
    for text, colour in zip(axis.texts, colours, strict=True):
        # WCAG 2.2: above this luminance black has the higher contrast ratio.
        text.set_color("black" if relative_luminance(colour) > 0.179 else "white")


def _two_lines(pair: str) -> str:
    return str(pair).replace(",", ",\n")


def projections(points: Mapping[str, np.ndarray], variants: Sequence[str], title: str) -> Figure:
    """Latents in the plane: a panel for each projection's points (M, 2), coloured by variant (M,).

    They are drawn in turns, so that no variant lies on top of all others.
    """
    _require_some("projections", points)
    figure, axes = _subplots(1, len(points), figsize=(PAGE_WIDTH * 1.15, 2.9), squeeze=False)
    variants = np.asarray(variants)
    for axis, (name, plane) in zip(axes[0], points.items(), strict=True):
        for turn, (variant, colour) in product(range(TURNS), VARIANT_COLOURS.items()):
            chosen = plane[variants == variant][turn::TURNS]
            axis.scatter(*chosen.T, s=5, alpha=0.5, color=colour, marker=MARKERS[variant],
                         linewidths=0, label=variant if turn == 0 else None, rasterized=True)  # fmt: skip
        axis.set(title=name, xlabel=f"{name} 1", ylabel=f"{name} 2", xticks=[], yticks=[])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, markerscale=2.5)
    figure.suptitle(title, fontsize=10)
    return figure


def recursion_paths(
    background: np.ndarray, paths: Mapping[str, np.ndarray], variants: Sequence[str], title: str
) -> Figure:
    """Figure 5's paths: each (steps + 1, 2), its ends named, over the test latents (M, 2)."""
    figure, axis = _subplots(figsize=(PAGE_WIDTH * 0.85, 4.2))
    variants = np.asarray(variants)
    for variant in dict.fromkeys(variants):
        chosen = background[variants == variant]
        axis.scatter(*chosen.T, s=4, alpha=0.3, color=VARIANT_COLOURS[variant], linewidths=0,
                     label=f"test images, {variant}", rasterized=True)  # fmt: skip
    for (label, path), colour in zip(paths.items(), OTHER_COLOURS, strict=False):
        axis.plot(*path.T, "-o", color=colour, lw=1.4, ms=4, label=label)
        _name_end(axis, path, 0, "start", colour)
        _name_end(axis, path, -1, f"step {len(path) - 1}", colour)
    axis.set(xlabel="independent component 1", ylabel="independent component 2", title=title)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=2)
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

    figure, axis = _subplots(figsize=(PAGE_WIDTH, 3.1))
    long = table.rename_axis("row").reset_index().melt("row", var_name="column")
    palette = OTHER_COLOURS[: len(table)]
    sns.barplot(long, x="column", y="value", hue="row", ax=axis, palette=palette, saturation=1)
    for container in axis.containers:
        axis.bar_label(container, fmt="%.0f", fontsize=7, padding=1)
    axis.set(xlabel="", ylabel=ylabel, title=title)
    axis.legend(title="", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def quartile_curves(
    curves: Mapping[str, np.ndarray], title: str, xlabel: str, ylabel: str
) -> Figure:
    """Mean and quartiles over images of curves (steps, N), a panel for each on one scale."""
    _require_some("curves", curves)
    figure, axes = _subplots(1, len(curves), figsize=(PAGE_WIDTH, 3.2), squeeze=False, sharey=True)
    for axis, (label, values), colour in zip(axes[0], curves.items(), OTHER_COLOURS, strict=False):
        steps = np.arange(1, len(values) + 1)
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=1)
        axis.fill_between(
            steps, low, high, color=colour, alpha=0.18, linewidth=0, label="quartiles"
        )
        axis.plot(steps, middle, "--", color=colour, lw=1, label="median")
        axis.plot(steps, values.mean(1), "-o", color=colour, lw=1.6, ms=4, label="mean")
        axis.set(title=label, xlabel=xlabel, xticks=steps)
        axis.legend()
    axes[0, 0].set(ylabel=ylabel, ylim=0)
    figure.suptitle(title, fontsize=10)
    return figure


def dots(table: pd.DataFrame, title: str, xlabel: str) -> Figure:
    """A band for each row of `table`, in it a point with its number for each column, one below the
    other; the x axis is logarithmic, where bars would have no foot to stand on."""
    figure, axis = _subplots(figsize=(PAGE_WIDTH, 0.7 * len(table) + 1.1))
    places = -np.arange(len(table))
    for place in places[::2]:
        axis.axhspan(place - 0.5, place + 0.5, color="0.95", linewidth=0, zorder=0)
    offsets = np.linspace(0.32, -0.32, len(table.columns))
    styles = zip(table.columns, offsets, OTHER_COLOURS, FILLED_MARKERS, strict=False)
    for column, offset, colour, marker in styles:
        axis.scatter(
            table[column], places + offset, color=colour, marker=marker, s=22, label=column
        )
        for value, place in zip(table[column], places + offset, strict=True):
            axis.annotate(f"{value:.0f}", (value, place), (6, 0), textcoords="offset points",
                          fontsize=7, va="center_baseline")  # fmt: skip
    axis.set_yticks(places, table.index)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set(title=title, xlabel=xlabel, ylim=(0.5 - len(table), 0.5))
    axis.margins(x=0.1)  # room for the numbers
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def intervals(table: pd.DataFrame, title: str) -> Figure:
    """The statistics of the claims: a row for each part with its 95% interval and the paper's value;
    the parts of every other claim stand on a grey band.

    Each is a factor from its bound, so that right of 1 is the claimed side. table: of
    claims.table(); rows without a value are left out.
    """
    shown = table.dropna(subset=["value", "low"]).iloc[::-1].reset_index(drop=True)
    figure, axis = _subplots(figsize=(PAGE_WIDTH * 1.15, 0.2 * len(shown) + 1.2))
    for _, places in list(shown.groupby("claim", sort=False).groups.items())[::2]:
        axis.axhspan(min(places) - 0.5, max(places) + 0.5, color="0.95", linewidth=0, zorder=0)
    for place, row in shown.iterrows():
        colour = VERDICT_COLOURS[row["part verdict"]]
        side, bound = row["rule"].split()
        numbers = row[["low", "value", "high", "published"]].to_numpy(dtype=float)
        with np.errstate(divide="ignore"):  # a share of 0 is infinitely far from its bound
            low, value, high, published = (numbers / float(bound)) ** (1 if side == "above" else -1)
        axis.plot([low, high], [place, place], color=colour, lw=2.2, solid_capstyle="butt")
        axis.plot(value, place, "o", color=colour, ms=5)
        if pd.notna(published):
            axis.plot(published, place, "x", color="0.35", ms=5)
    axis.axvline(1, color="0.35", lw=1, ls="--")
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_yticks(range(len(shown)), shown["part"], fontsize=7)
    axis.set_ylim(-0.8, len(shown) - 0.2)
    axis.set(title=title, xlabel="factor from the bound; right of 1 is the claimed side")
    handles = [
        plt.Line2D([], [], color=colour, marker="o", lw=2, label=verdict)
        for verdict, colour in VERDICT_COLOURS.items()
        if verdict in set(shown["part verdict"])
    ]
    handles.append(plt.Line2D([], [], color="0.35", marker="x", lw=0, label="published"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def scatter_by_pair(
    points: pd.DataFrame, x: str, y: str, colour: str, title: str, xlabel: str, ylabel: str
) -> Figure:
    """Points of two columns, one colour and marker for each value of the column `colour`."""
    import seaborn as sns

    figure, axis = _subplots(figsize=(PAGE_WIDTH, 3.6))
    names = list(dict.fromkeys(points[colour]))
    sns.scatterplot(
        points, x=x, y=y, hue=colour, style=colour, palette=OTHER_COLOURS[: len(names)],
        markers=FILLED_MARKERS[: len(names)], ax=axis, s=60, alpha=0.85,
    )  # fmt: skip
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axis.legend(title=f"{colour} on", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def curves(
    points: pd.DataFrame, x: str, y: str, colour: str, title: str, xlabel: str, ylabel: str
) -> Figure:
    """A line with its points, on a logarithmic x axis, for each value of the column `colour`."""
    figure, axis = _subplots(figsize=(PAGE_WIDTH, 3.4))
    for (name, line), shade in zip(points.groupby(colour, sort=False), OTHER_COLOURS, strict=False):
        axis.plot(line[x], line[y], "-o", color=shade, ms=5, label=name)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def architecture(columns: Mapping[str, Sequence[tuple[str, str]]], title: str) -> Figure:
    """Figures 2 and 11: a column of boxes (name, detail) for each part of a model, data flowing down
    each column and from one column to the next."""
    tallest = max(len(boxes) for boxes in columns.values())
    figure, axes = _subplots(
        1, len(columns), figsize=(PAGE_WIDTH * 1.15, 0.62 * tallest + 0.9), squeeze=False
    )
    palette = list(VARIANT_COLOURS.values())
    before: Text | None = None
    for axis, (name, boxes), colour in zip(axes[0], columns.items(), palette, strict=False):
        axis.set(xlim=(0, 1), ylim=(-tallest + 0.4, 0.6), title=name)
        axis.axis("off")
        pale = 0.87 + 0.13 * np.array(to_rgb(colour))  # opaque: arrows pass below
        for place, (layer, detail) in enumerate(boxes):
            box = axis.text(
                0.5, -place, f"{layer}\n{detail}", ha="center", va="center", fontsize=7.5,
                bbox={"boxstyle": "round,pad=0.35", "fc": pale, "ec": colour, "lw": 1},
            )  # fmt: skip
            if before is not None:
                _arrow(before, box)
            before = box
    figure.suptitle(title, fontsize=10)
    return figure


def _arrow(start: Text, end: Text) -> None:
    """An arrow from one box of text to the next; to another column by way of the gap between both."""
    (x, y), source = start.get_position(), start.axes.transData
    if start.axes is not end.axes:
        below = end.get_position()[1]
        start.axes.plot([x, 1, 1], [y, y, below], color="0.4", lw=1, clip_on=False, zorder=1)
        x, y = 1, below
    arrow = ConnectionPatch(
        (x, y), end.get_position(), coordsA=source, coordsB=end.axes.transData,
        patchA=start.get_bbox_patch() if start.axes is end.axes else None,
        patchB=end.get_bbox_patch(), shrinkA=0, shrinkB=0, arrowstyle="-|>", mutation_scale=8,
        color="0.4", lw=1,
    )  # fmt: skip
    arrow.set_in_layout(False)
    end.figure.add_artist(arrow)


def layers(module: nn.Module) -> list[tuple[str, str]]:
    """(name and kind, shape and parameter count) of each layer that holds parameters.

    Linear layers of one shape that follow each other read the same input (to_mu and to_logvar), so
    they stand side by side in one box.
    """
    found: list[tuple[str, str]] = []
    for name, layer in module.named_modules():
        own = sum(p.numel() for p in layer.parameters(recurse=False))
        if own:
            detail = f"{_shape(layer)}\n{own:,} parameters"
            label = f"{name}: {layer._get_name()}".removeprefix(": ")
            if found and found[-1][1] == detail:
                label, detail = (
                    f"{found.pop()[0]}\n{label}",
                    f"{_shape(layer)}\n{own:,} parameters each",
                )
            found.append((label, detail))
    return found


def _shape(layer: nn.Module) -> str:
    if isinstance(layer, nn.Linear):
        return f"{layer.in_features} to {layer.out_features}"
    if isinstance(layer, LatentMaps):
        return " x ".join(map(str, layer.matrices.shape))
    return f"{layer.in_channels} to {layer.out_channels} channels, stride {layer.stride[0]}"
