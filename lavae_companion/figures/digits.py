"""Rows of digits: reconstructions, samples, interpolations and recursions."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lavae_companion.figures.style import PAGE_WIDTH, require_some, subplots
from lavae_core.errors import InvalidInputError


def digit_rows(
    rows: Mapping[str, Tensor], title: str, column_titles: Sequence[str] | None = None
) -> Figure:
    """A grid of digits: a labelled row of images (N, 28, 28), uint8 or in [0, 1], for each entry.

    Raises InvalidInputError without rows or images, or for rows of different lengths.
    """
    require_some("rows of digits", rows)
    counts = [len(images) for images in rows.values()]
    if min(counts) == 0 or min(counts) != max(counts):
        raise InvalidInputError(f"rows need the same number of images, at least one; got {counts}")
    cell = min(0.62, (PAGE_WIDTH - 1.8) / counts[0])
    figure, axes = subplots(
        len(rows), counts[0], squeeze=False,
        figsize=(counts[0] * cell + 1.9, len(rows) * cell + (0.75 if column_titles else 0.45)),
    )  # fmt: skip
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images, strict=True):
            show_digit(axis, image)
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8, labelpad=6)
    for axis, text in zip(axes[0], column_titles or [], strict=False):
        axis.set_title(text, fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.01, wspace=0, hspace=0.02)
    return figure


def show_digit(axis: Axes, image: Tensor) -> None:
    """Draw an image (28, 28) without ticks; black is 0 and white is 1, or 255 where it is uint8."""
    pixels = image.cpu().float() / (255 if image.dtype == torch.uint8 else 1)
    axis.imshow(pixels.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(visible=True, linewidth=0.4, color="0.7")
