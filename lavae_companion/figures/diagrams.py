"""Diagrams: the augmentations of a pair (Figure 1) and the layers of a model (Figures 2 and 11)."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
from matplotlib.text import Text
from torch import Tensor, nn

from lavae_companion.figures.digits import show_digit
from lavae_companion.figures.style import COLOURS, PAGE_WIDTH, subplots, variant_styles
from lavae_core.errors import InvalidInputError
from lavae_core.latent_maps import LatentMaps

_NODES = {"original": (0.13, 0.5, "$x$"), "first": (0.5, 0.78, "$A_1(x)$"),
          "second": (0.5, 0.22, "$A_2(x)$"), "composed": (0.87, 0.5, "$A_2(A_1(x))$")}  # fmt: skip
_ARROWS = [("original", "first", "first", "-"), ("original", "second", "second", "-"),
           ("first", "composed", "second", "-"), ("second", "composed", "first", "--")]  # fmt: skip


def augmentation_graph(images: Mapping[str, Tensor], labels: Mapping[str, str]) -> Figure:
    """Figure 1: the variants of a digit under a pair, and arrows that are labelled augmentations.

    images: one (28, 28) for each variant. labels: of the augmentations "first" and "second".
    Raises InvalidInputError for any other variants or labels.
    """
    if set(images) != set(_NODES) or set(labels) != {"first", "second"}:
        names = ", ".join([*images, *labels])
        raise InvalidInputError(f"the graph shows {', '.join(_NODES)} of a pair; got {names}")
    colours = {name: colour for name, (colour, _) in variant_styles(_NODES).items()}
    figure = plt.figure(figsize=(PAGE_WIDTH, 3.6))
    canvas = figure.add_axes((0, 0, 1, 1))
    canvas.set(xlim=(0, 1), ylim=(0, 1))
    canvas.axis("off")
    for start, end, step, line in _ARROWS:
        (x0, y0, _), (x1, y1, _) = _NODES[start], _NODES[end]
        arrow = {"arrowstyle": "-|>", "color": colours[step], "lw": 1.8, "linestyle": line,
                 "shrinkA": 46, "shrinkB": 46}  # fmt: skip
        canvas.annotate("", xy=(x1, y1), xytext=(x0, y0), arrowprops=arrow)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2 + (0.075 if y1 + y0 > 1 else -0.075)
        canvas.text(x, y, labels[step], ha="center", va="center", color="0.15", fontsize=9)
    for variant, (x, y, formula) in _NODES.items():
        width, height = 0.12, 0.12 * PAGE_WIDTH / 3.6
        axis = figure.add_axes((x - width / 2, y - height / 2, width, height))
        show_digit(axis, images[variant])
        for spine in axis.spines.values():
            spine.set(linewidth=2.2, color=colours[variant])
        canvas.text(x, y - height / 2 - 0.05, formula, ha="center", va="center", fontsize=10)
    return figure


def architecture(columns: Mapping[str, Sequence[tuple[str, str]]], title: str) -> Figure:
    """Figures 2 and 11: a column of boxes (name, detail) for each part of a model.

    Data flow down each column and from one column to the next.
    """
    tallest = max(len(boxes) for boxes in columns.values())
    size = (PAGE_WIDTH * 1.15, 0.62 * tallest + 0.9)
    figure, axes = subplots(1, len(columns), figsize=size, squeeze=False)
    previous: Text | None = None
    for axis, (name, boxes), colour in zip(axes[0], columns.items(), cycle(COLOURS)):
        axis.set(xlim=(0, 1), ylim=(-tallest + 0.4, 0.6), title=name)
        axis.axis("off")
        pale = 0.87 + 0.13 * np.array(to_rgb(colour))  # opaque: arrows pass below
        frame = {"boxstyle": "round,pad=0.35", "fc": pale, "ec": colour, "lw": 1}
        for place, texts in enumerate(boxes):
            box = axis.text(0.5, -place, "\n".join(texts), ha="center", va="center", fontsize=7.5,
                            bbox=frame)  # fmt: skip
            if previous is not None:
                _arrow(previous, box)
            previous = box
    figure.suptitle(title, fontsize=10)
    return figure


def _arrow(start: Text, end: Text) -> None:
    """An arrow from one box of text to the next; to another column through the gap between them."""
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

    Consecutive layers of one shape share a box: to_mu and to_logvar, which read the same input.
    """
    boxes: list[tuple[str, str]] = []
    for name, layer in module.named_modules():
        if count := sum(p.numel() for p in layer.parameters(recurse=False)):
            label = f"{name}: {layer._get_name()}".removeprefix(": ")
            detail = f"{_shape(layer)}\n{count:,} parameters"
            if boxes and boxes[-1][1] == detail:
                label, detail = f"{boxes.pop()[0]}\n{label}", f"{detail} each"
            boxes.append((label, detail))
    return boxes


def _shape(layer: nn.Module) -> str:
    if isinstance(layer, nn.Linear):
        return f"{layer.in_features} to {layer.out_features}"
    if isinstance(layer, LatentMaps):
        return " x ".join(map(str, layer.matrices.shape))
    return f"{layer.in_channels} to {layer.out_channels} channels, stride {layer.stride[0]}"
