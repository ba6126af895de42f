"""Views of digits in space, which no formula of one view's pixels gives: a tilted plane, and a slab that hides parts of itself.

Units are pixels. x points right, y down, z towards the camera, from the centre of the image; the digit
lies in the plane z = 0 or fills layers around it. It is turned about y (yaw), then about x (pitch). All
that depends on pixels is integer arithmetic, so that every machine renders the same bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from lavae_core.augmentations import SIDE
from lavae_core.errors import require_known, require_whole

STEP = 20  # degrees of a letter
ANGLES = (-STEP, 0, STEP)
SUB = 256  # a source position is a whole number of such parts of a pixel
CHUNK = 250  # images that are rendered at a time: they fit a cache

View = tuple[int, int]  # yaw and pitch in degrees
Word = tuple[int, int]  # letters L1, each a STEP of yaw, then L2, of pitch; negative: inverses
VIEWS: list[View] = list(product(ANGLES, ANGLES))


@dataclass(frozen=True)
class Body:
    """layers: (z, shade) from the front to the back; shades fall, and are 1 in front. nearness: of the
    pinhole, 1 / its distance in pixels; 0 for parallel rays."""

    layers: tuple[tuple[float, float], ...]
    nearness: float


# Seven voxels deep. The sides are darker than the front, and more so at the back.
_SLAB = ((3, 1.0), (2, 0.7), (1, 0.65), (0, 0.6), (-1, 0.55), (-2, 0.5), (-3, 0.45))
BODIES = {"tilt": Body(((0, 1.0),), 1 / 60), "slab": Body(_SLAB, 0.0)}


def render(images: Tensor, body: str, view: View) -> Tensor:
    """uint8 (N, 28, 28): digits (N, 28, 28) as `body` ("tilt" or "slab") from `view`; the front view,
    (0, 0), is the digit itself.

    A pixel is the brightest of the layers that its ray meets. As shades fall with depth, the first
    layer wins where the digit is white: it hides the others, as with a z-buffer.
    Raises InvalidInputError for an unknown body, or an angle of more than 60 degrees.
    """
    require_known("body", body, BODIES)
    for angle in view:
        require_whole("an angle of the view", angle, -60, 60)
    rendered = torch.empty_like(images)
    for start in range(0, len(images), CHUNK):
        pixels = images[start : start + CHUNK].flatten(1).numpy().T.astype(np.int32)  # (784, n)
        brightest = np.maximum.reduce([layer @ pixels for layer in _layers(body, view)])
        rounded = ((brightest + SUB * SUB // 2) // (SUB * SUB)).astype(np.uint8)
        rendered[start : start + CHUNK] = torch.from_numpy(rounded.T.reshape(-1, SIDE, SIDE))
    return rendered


def render_all(images: Tensor, body: str, views: Sequence[View] = tuple(VIEWS)) -> Tensor:
    """uint8 (V, N, 28, 28): every view of the digits (N, 28, 28). Raises as `render`."""
    return torch.stack([render(images, body, view) for view in views])


def word_between(start: View, end: View) -> Word:
    """The word that leads from one view to another."""
    return tuple((b - a) // STEP for a, b in zip(start, end, strict=True))


@cache
def _layers(body: str, view: View) -> list[csr_array]:
    """For each layer the bilinear weights (784, 784) of its pixels, times SUB^2 and its shade."""
    shape = BODIES[body]
    return [_weights(view, z, shade, shape.nearness) for z, shade in shape.layers]


def _weights(view: View, z: float, shade: float, nearness: float) -> csr_array:
    position = [np.rint(SUB * each).astype(int) for each in _source(view, z, nearness)]
    x, y = (each + SUB * (SIDE - 1) // 2 for each in position)  # from the first pixel's centre
    targets, sources, weights = [], [], []
    for right, down in product((0, 1), (0, 1)):
        column, row = x // SUB + right, y // SUB + down
        weight = (x % SUB if right else SUB - x % SUB) * (y % SUB if down else SUB - y % SUB)
        inside = (column >= 0) & (column < SIDE) & (row >= 0) & (row < SIDE)
        targets.append(np.flatnonzero(inside))
        sources.append((row * SIDE + column)[inside])
        weights.append(np.rint(shade * weight[inside]).astype(np.int32))
    places = np.concatenate(targets), np.concatenate(sources)
    return csr_array((np.concatenate(weights), places), shape=(SIDE * SIDE, SIDE * SIDE))


def _source(view: View, z: float, nearness: float) -> tuple[np.ndarray, np.ndarray]:
    """x, y (784,) of the points of the layer z that the rays of the pixels (u, v) meet.

    A point p is seen at u = X / (1 - nearness Z), v = Y / (1 - nearness Z) with (X, Y, Z) = R p: two linear
    equations in x and y.
    """
    yaw, pitch = np.deg2rad(view)
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    )
    turn = about_x @ about_y
    centred = np.arange(SIDE) - (SIDE - 1) / 2
    v, u = (each.ravel() for each in np.meshgrid(centred, centred, indexing="ij"))
    near = nearness * turn[2]
    (a, b), (c, d) = ([turn[row, k] + w * near[k] for k in (0, 1)] for row, w in ((0, u), (1, v)))
    right, down = (w * (1 - near[2] * z) - turn[row, 2] * z for row, w in ((0, u), (1, v)))
    determinant = a * d - b * c
    return (right * d - b * down) / determinant, (a * down - right * c) / determinant
