"""The idea in pictures: latent maps as matrices, and a digit's walk through the latent space."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, ConnectionPatch
from matplotlib.patheffects import withStroke
from torch import Tensor

from lavae_companion.figures.digits import show_digit
from lavae_companion.figures.style import OTHER_COLOURS, PAGE_WIDTH, subplots, variant_styles

SIGNED = "RdBu_r"  # colours of latents and matrices: white is 0
_OUTLINE = withStroke(linewidth=3, foreground="white")
HOLD, MOVE = 11, 9  # frames at a station and on the way to the next one


@dataclass(frozen=True)
class Walk:
    """The stations of a digit: `words` of latent maps, which each go on from the one before.

    names: of the images in image space. truth: those images, uint8 (S, 28, 28). z: (S, d), the
    latents. decoded: (S, 28, 28) in [0, 1].
    """

    words: Sequence[str]
    names: Sequence[str]
    truth: Tensor
    z: Tensor
    decoded: Tensor

    def captions(self) -> list[str]:
        return [_formula(f"z {word}".strip()) for word in self.words]

    def letters(self) -> list[str]:
        """The letter that leads from each station to the next."""
        return [word.split()[-1] for word in self.words[1:]]


def matrices(shown: Mapping[str, Tensor], title: str) -> Figure:
    """Square matrices (d, d) on one colour scale, and the eigenvalues of the first one."""
    figure, axes = subplots(1, len(shown) + 1, figsize=(PAGE_WIDTH * 1.25, 2.0))
    for axis, (name, matrix) in zip(axes, shown.items(), strict=False):
        picture = axis.imshow(matrix.cpu().numpy(), cmap=SIGNED, vmin=-1, vmax=1)
        axis.set(title=name, xticks=[], yticks=[])
    figure.colorbar(picture, ax=axes[:-1], shrink=0.6, aspect=12)
    name, first = next(iter(shown.items()))
    values = torch.linalg.eigvals(first.cpu()).numpy()
    axes[-1].add_patch(Circle((0, 0), 1, fill=False, color="0.6", ls=":"))
    axes[-1].scatter(values.real, values.imag, s=14, color=OTHER_COLOURS[0], alpha=0.6, zorder=2)
    axes[-1].set(title=f"eigenvalues of {name}", xlabel="real", ylabel="imaginary", aspect="equal",
                 xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), xticks=(-1, 0, 1), yticks=(-1, 0, 1))  # fmt: skip
    figure.suptitle(title, fontsize=10)
    return figure


def stations(walk: Walk, title: str) -> Figure:
    """Three rows: the images of a walk in image space, their latents, the decoded latents."""
    count = len(walk.words)
    figure, axes = plt.subplots(
        3, count, squeeze=False, figsize=(PAGE_WIDTH * 1.15, 4.6),
        gridspec_kw={"wspace": 0.6, "hspace": 0.5, "left": 0.11, "right": 0.98, "bottom": 0.06,
                     "top": 0.85},
    )  # fmt: skip
    bound = walk.z.abs().max().item()
    for place, (top, middle, bottom) in enumerate(axes.T):
        show_digit(top, walk.truth[place])
        middle.imshow(walk.z[place].view(4, -1).cpu().numpy(), cmap=SIGNED, vmin=-bound, vmax=bound)
        middle.set(xticks=[], yticks=[])
        middle.spines[:].set_visible(False)
        show_digit(bottom, walk.decoded[place])
        top.set_title(walk.names[place], fontsize=8)
        middle.set_title(walk.captions()[place], fontsize=8, color=OTHER_COLOURS[0])
        _point(middle, bottom, (0.5, 0), (0.5, 1), "decode")
    if not walk.words[0]:  # else the walk began earlier
        _point(axes[0, 0], axes[1, 0], (0.5, 0), (0.5, 1.2), "encode")
    for place, letter in enumerate(walk.letters()):
        _point(*axes[1, place : place + 2], (1, 0.5), (0, 0.5), _formula(letter))
        _point(*axes[0, place : place + 2], (1, 0.5), (0, 0.5), _in_image_space(letter))
    for axis, label in zip(axes[:, 0], ("image space", "latent space", "decoded"), strict=True):
        axis.set_ylabel(label, fontsize=9, labelpad=8)
    figure.suptitle(title, fontsize=10)
    return figure


def animation(
    walk: Walk, path: Tensor, plane: np.ndarray, cloud: np.ndarray, variants: Sequence[str]
) -> FuncAnimation:
    """A walk, animated: the decoded latent, the image in image space, and the place in the plane.

    path: (F, 28, 28), the decoded frames of `latent_path`. plane: (F, 2), their places. cloud: (M, 2),
    the places of other images' latents, styled by variant (M,).
    """
    figure = Figure(figsize=(7.2, 2.9))
    figure.text(0.5, 0.91, "", ha="center", fontsize=15, color=OTHER_COLOURS[0], weight="bold")
    left, middle = (figure.add_axes((x, 0.08, 0.27, 0.67)) for x in (0.02, 0.325))
    right = figure.add_axes((0.64, 0.08, 0.34, 0.67))
    for axis, text in ((left, "decoded"), (middle, "image space")):
        show_digit(axis, torch.zeros(28, 28))
        axis.set_title(text, fontsize=10)
    right.set_title("latent space, in two dimensions", fontsize=10)
    right.set(xticks=[], yticks=[])
    right.spines[:].set_visible(False)
    for variant, (colour, marker) in variant_styles(variants).items():
        chosen = cloud[np.asarray(variants) == variant]
        right.scatter(*chosen.T, s=7, alpha=0.35, color=colour, marker=marker, linewidths=0)
        right.text(*np.median(chosen, axis=0), variant, fontsize=9, color=colour, weight="bold",
                   ha="center", va="center", path_effects=[_OUTLINE])  # fmt: skip
    (trail,) = right.plot([], [], "-", color="0.2", lw=1.5)
    (dot,) = right.plot([], [], "o", color=OTHER_COLOURS[0], ms=9, mec="white")
    captions, truth = walk.captions(), walk.truth.cpu()

    def draw(frame: int) -> None:
        station, moving = divmod(frame, HOLD + MOVE)
        arrived = station + (moving >= HOLD + MOVE // 2)
        figure.texts[0].set_text(captions[arrived])
        left.images[0].set_data(path[frame].cpu().numpy())
        middle.images[0].set_data(truth[arrived].numpy() / 255)
        trail.set_data(*plane[: frame + 1].T)
        dot.set_data(*plane[frame : frame + 1].T)

    return FuncAnimation(figure, draw, frames=len(path), init_func=lambda: None)


def latent_path(z: Tensor) -> Tensor:
    """Latents (F, d) of the frames of an animation: stops at each of z (S, d), lines between them."""
    share = torch.cat([torch.zeros(HOLD), torch.arange(1, MOVE + 1) / (MOVE + 1)]).to(z)
    moving = [torch.lerp(a, b, share[:, None]) for a, b in zip(z, z[1:], strict=False)]
    return torch.cat([*moving, z[-1].expand(HOLD, -1)])


def _formula(word: str) -> str:
    """A word with its powers raised, as text of matplotlib."""
    return re.sub(r"\^(-?\d+)", r"$^{\1}$", word)


def _in_image_space(letter: str) -> str:
    name = letter.replace("L", "A")
    return f"undo {name.removesuffix('^-1')}" if name.endswith("^-1") else name


def _point(
    start: Axes, end: Axes, at: tuple[float, float], to: tuple[float, float], text: str
) -> None:
    """An arrow between two axes, from and to a place in fractions of them; its text beside it."""
    arrow = ConnectionPatch(
        at, to, coordsA=start.transAxes, coordsB=end.transAxes, arrowstyle="-|>",
        mutation_scale=9, color="0.35", lw=1, shrinkA=3, shrinkB=3,
    )  # fmt: skip
    start.figure.add_artist(arrow)
    ends = [start.transAxes.transform(at), end.transAxes.transform(to)]
    x, y = start.figure.transFigure.inverted().transform(np.mean(ends, axis=0))
    if start.get_subplotspec().rowspan == end.get_subplotspec().rowspan:
        start.figure.text(x, y + 0.012, text, ha="center", va="bottom", fontsize=8)
    else:
        start.figure.text(x + 0.01, y, text, ha="left", va="center", fontsize=8)
