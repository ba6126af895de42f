"""A digit that turns: what it costs by angle, the spectrum of its generator, and an animation."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
import pandas as pd
import torch
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from lavae_companion.figures.digits import show_digit
from lavae_companion.figures.style import (
    COLOURS,
    MARKERS,
    OTHER_COLOURS,
    PAGE_WIDTH,
    require_some,
    subplots,
)


def by_angle(table: pd.DataFrame, title: str, ylabel: str) -> Figure:
    """A line for each column of `table` over its index, angles in degrees."""
    figure, axis = subplots(figsize=(PAGE_WIDTH, 3.4))
    styles = zip(table, cycle(OTHER_COLOURS + COLOURS), cycle(MARKERS))
    for name, colour, marker in styles:
        line = table[name].dropna()
        axis.plot(line.index, line, f"-{marker}", color=colour, ms=3, lw=1.2, label=name)
    ticks = [tick for tick in (0.9, 1, 1.2, 1.5, 2, 3, 5, 8) if tick < 1.1 * table.max(axis=None)]
    axis.set(title=title, xlabel="angle in degrees", ylabel=ylabel, yscale="log")
    axis.minorticks_off()
    axis.set_yticks(ticks, ticks)
    axis.set_xticks(range(0, 361, 45))
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def frequencies(spectra: Mapping[str, Tensor], multiplicities: pd.DataFrame, title: str) -> Figure:
    """Left: the eigenvalues (d,) of each generator on the imaginary axis, a row for each. Right: bars
    of `multiplicities`, of its columns for each frequency, its index."""
    require_some("spectra", spectra)
    figure, (left, right) = subplots(1, 2, figsize=(PAGE_WIDTH * 1.15, 3.1), width_ratios=(1.7, 1))
    for place, (values, marker) in enumerate(zip(spectra.values(), cycle(MARKERS))):
        colour = OTHER_COLOURS[place % len(OTHER_COLOURS)]
        left.plot(values.imag, np.full(len(values), place), marker, color=colour, alpha=0.5, mew=0)
    most = max(int(values.imag.abs().max().ceil()) for values in spectra.values())
    left.set_xticks(range(-most, most + 1))
    left.set_yticks(range(len(spectra)), list(spectra))
    left.grid(axis="x", lw=0.5, color="0.8")
    left.set(xlabel="frequency: eigenvalue of A on the imaginary axis", ylabel="generator")
    left.invert_yaxis()
    left.margins(y=0.12)
    shown = multiplicities[(multiplicities.abs() > 0.05).any(axis=1)]
    width = 0.8 / shown.shape[1]
    for place, name in enumerate(shown):
        right.bar(shown.index + (place - (shown.shape[1] - 1) / 2) * width, shown[name], width,
                  color=OTHER_COLOURS[place], label=name)  # fmt: skip
    right.grid(axis="y", lw=0.5, color="0.8")
    right.set_axisbelow(True)
    right.set_xticks(shown.index)
    right.set(xlabel="frequency k", ylabel="trace of the projector")
    right.legend()
    figure.suptitle(title, fontsize=10)
    return figure


def turning(rows: Mapping[str, Tensor], generator: Tensor, title: str) -> FuncAnimation:
    """One digit turning, each of `rows` (F, 28, 28) beside the others, F angles of a whole turn; and the
    eigenvalues of exp(theta A) on the unit circle, A being `generator` (d, d)."""
    values = torch.linalg.eigvals(generator.double().cpu()).numpy()
    frames = len(next(iter(rows.values())))
    figure = Figure(figsize=(2.2 * len(rows) + 2.6, 2.9))
    figure.text(0.5, 0.91, title, ha="center", fontsize=11)
    share = 1 / (len(rows) + 1)
    for place, (name, images) in enumerate(rows.items()):
        axis = figure.add_axes((share * place + 0.01, 0.05, share - 0.02, 0.7))
        show_digit(axis, images[0])
        axis.set_title(name, fontsize=10)
    circle = figure.add_axes((1 - share + 0.01, 0.05, share - 0.02, 0.7), aspect="equal")
    circle.add_patch(Circle((0, 0), 1, fill=False, color="0.6"))
    circle.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3))
    circle.set_axis_off()
    names = [abs(round(float(value))) for value in values.imag]
    dots = circle.scatter(
        values.real, values.imag, s=45, c=[OTHER_COLOURS[name % 7] for name in names], zorder=2
    )

    def draw(frame: int) -> None:
        angle = 2 * np.pi * frame / frames
        for axis, images in zip(figure.axes, rows.values(), strict=False):
            axis.images[0].set_data(images[frame].cpu().numpy() / _white(images))
        placed = np.exp(angle * values)
        dots.set_offsets(np.stack([placed.real, placed.imag], axis=1))
        circle.set_title(f"eigenvalues at {360 * frame / frames:.0f}°", fontsize=10)

    return FuncAnimation(figure, draw, frames=frames, init_func=lambda: None)


def _white(images: Tensor) -> int:
    return 255 if images.dtype == torch.uint8 else 1
