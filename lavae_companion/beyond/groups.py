"""A group of augmentations from the maps of its generators (notebook 28).

The augmentations move pixels, so that the group that they generate is known. Maps are fitted to the
generators alone; every other element is a product of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from lavae_companion.beyond.representations import (
    Group,
    block_diagonal,
    elements,
    generated,
    intertwiner,
    irreps,
    multiplicities,
    whole_multiplicities,
)
from lavae_companion.experiments import TrainedVAE, at_epochs, load_or_train
from lavae_companion.results.scores import image_scores
from lavae_companion.results.words import Word
from lavae_companion.study import Study
from lavae_core import augmentations
from lavae_core.augmentations import SIDE, Family, to_float
from lavae_core.errors import InvalidInputError
from lavae_core.latent_maps import LatentMaps, Moments, descend, fit_exact, letters
from lavae_core.models import LAVAE, encode_variants

TIMES_BASE = 1.5  # epochs of an orbit over those of a pair: 5,625 steps of 128 in profile quick
N_ORIGINALS = 5000  # that maps are fitted to
CLIPS = (0.1, 0.03, 0.01, 0.003, 0.001)  # of a linear decoder's pixels


def pixel_permutation(name: str) -> Tensor:
    """int64 (784,): p such that the augmentation takes flattened pixels x to x[p].

    Raises InvalidInputError for an unknown augmentation, or one that does more than move pixels.
    """
    numbers = torch.arange(SIDE * SIDE).view(1, SIDE, SIDE)
    if augmentations.get(name).draws:
        raise InvalidInputError(
            f"{name} is drawn at random: it generates no group of pixels' moves"
        )
    low, high = (augmentations.apply(name, each.to(torch.uint8)).flatten().long()
                 for each in (numbers % 256, numbers // 256))  # fmt: skip
    moved = low + 256 * high
    if not torch.equal(moved.sort().values, numbers.flatten()):
        raise InvalidInputError(
            f"{name} does more than move pixels: it is in no group of their moves"
        )
    return moved


class Orbit:
    """The group that augmentations generate. family: with a variant for each element, in the order
    of group.words; parts: its irreducible representations.

    generators: text such as "rotate_cw,flip_lr". Raises InvalidInputError as Family.parse,
    pixel_permutation and `generated`.
    """

    def __init__(self, generators: str):
        names = Family.parse(generators).generators
        self._steps = [pixel_permutation(name) for name in names]
        self.group: Group = generated(self._steps)
        self.family = Family(names, tuple(word.replace("L", "A") for word in self.group.words))
        self.parts = irreps(self.group)

    def moved(self, pixels: Tensor, word: str) -> Tensor:
        """Images or logits (..., 28, 28) under a word of generators."""
        flat = pixels.flatten(-2)
        for name, power in letters(word):
            for _ in range(power):
                flat = flat[..., self._steps[int(name[1:]) - 1]]
        return flat.view(pixels.shape)

    def places_of(self, other: "Orbit") -> list[int]:
        """For each element of `other` the place of the same moves here. Raises InvalidInputError unless
        both groups have the same elements."""
        own, others = self._moves(), other._moves()
        if set(own) != set(others):
            first, second = (",".join(each.family.generators) for each in (self, other))
            raise InvalidInputError(f"{second} generate another group than {first}")
        return [own.index(moves) for moves in others]

    def _moves(self) -> list[tuple[int, ...]]:
        pixels = torch.arange(SIDE * SIDE).view(SIDE, SIDE)
        return [tuple(self.moved(pixels, w).flatten().tolist()) for w in self.group.words]


def stage1(study: Study, family: Family) -> TrainedVAE:
    """Stage 1 of an orbit; not yet trained."""
    plain = study.stage1(family)
    return at_epochs(plain, TIMES_BASE * plain.schedule.epochs)


def trained(study: Study, family: Family) -> LAVAE:
    """The trained model of `stage1`; its maps are not fitted."""
    return load_or_train(stage1(study, family))


def training_images(study: Study, family: Family) -> Tensor:
    """uint8 (V, n, 28, 28) on the device: what maps are fitted to."""
    setting = study.setting
    images = augmentations.variants(
        setting.originals()[:N_ORIGINALS], family, split="train", seed=setting.seed
    )
    return images.to(setting.runtime.device)


class Components:
    """Principal components in the place of a VAE: `encode` is linear, `decode` its transpose.

    images: uint8 (V, n, 28, 28). Pixels are clipped to [c, 1 - c] with the c of CLIPS that has the
    least cross-entropy on them.
    """

    def __init__(self, images: Tensor, dims: int):
        x = to_float(images.flatten(0, 1)).flatten(1)
        self._mean = x.mean(0)
        centred = (x - self._mean).double()
        _, directions = torch.linalg.eigh(centred.t() @ centred)  # in ascending order
        self._directions = directions[:, -dims:].flip(1).float()  # (784, d)
        some = images.flatten(0, 1)[:: max(1, len(x) // 1000)]
        costs = {}
        for self._clip in CLIPS:
            z = self.encode(to_float(some))[0]
            costs[self._clip] = image_scores(self.decode, z, some)[0].mean().item()
        self._clip = min(costs, key=costs.get)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, 1, 28, 28) to components and log-variances of 0, each (N, d)."""
        z = (x.flatten(1) - self._mean) @ self._directions
        return z, torch.zeros_like(z)

    def decode(self, z: Tensor) -> Tensor:
        """Components (N, d) to logits (N, 1, 28, 28)."""
        x = self._mean + z @ self._directions.t()
        return torch.logit(x, eps=self._clip).view(-1, 1, SIDE, SIDE)


# -- maps, fitted to posterior means ---------------------------------------------------------------


def moments(latents: Tensor) -> Moments:
    """Moments of latents (1 + k, n, d), the originals' first; on the CPU, as all that is made of them."""
    return Moments(latents.cpu(), torch.zeros(latents.shape))


def fit(given: Moments, relators: Sequence[str] = (), weight: float = 1.0) -> LatentMaps:
    """Maps of least squares, float64, with weight * ||W - 1||_F^2 for the matrix W of each relator.

    Whether the relators hold afterwards, `representations.residuals` says; of words that are not the
    identity for the augmentations, large ones remain. Raises InvalidInputError as `fit_exact`.
    """
    start = fit_exact(given, (None,) * len(given.cross), 0.0)
    maps = LatentMaps(len(start), start.shape[-1]).double()
    maps.matrices.data = start.double()
    identity = torch.eye(start.shape[-1]).to(maps.matrices)
    if relators:
        descend(maps.matrices, lambda: given.expected_error(maps.matrices) + weight * sum(
            (maps.matrix(word) - identity).square().sum() for word in relators))  # fmt: skip
    return maps.requires_grad_(False)


@dataclass(frozen=True)
class Represented:
    """Maps L_i = Q^-1 rho_i Q that are an exact representation: rho has counts[name] copies of each
    irreducible part, one after the other, and the rows of `basis` Q are latent directions of each."""

    maps: LatentMaps
    counts: Mapping[str, int]
    basis: Tensor

    def names(self, parts: Mapping[str, Tensor]) -> list[str]:
        """For each row of `basis` the part that it belongs to."""
        return [name for name, n in self.counts.items() for _ in range(n * parts[name].shape[-1])]


def represent(given: Moments, orbit: Orbit, near: LatentMaps) -> Represented:
    """The exact representation of least squares near `near`: multiplicities by its traces, Q by
    averaging over the group, then L-BFGS over Q. Raises InvalidInputError as `intertwiner`."""
    matrices = elements(orbit.group, near).double()
    measured = multiplicities(orbit.parts, matrices)
    counts = whole_multiplicities(orbit.parts, measured, matrices.shape[-1])
    rho = block_diagonal(orbit.parts, counts)[[orbit.group.place(name) for name in near.names]]
    basis = intertwiner(orbit.group, orbit.parts, counts, matrices)
    descend(basis, lambda: given.expected_error(torch.linalg.solve(basis, rho @ basis)))
    maps = LatentMaps(len(rho), len(basis)).double()
    maps.matrices.data = torch.linalg.solve(basis, rho @ basis)
    return Represented(maps.requires_grad_(False), counts, basis)


# -- their BCE -------------------------------------------------------------------------------------


def mapped(z: Tensor, matrix: Tensor) -> Tensor:
    """Latents z (N, d) under a matrix (d, d), multiplied in float64."""
    return (z.double() @ matrix.to(z.device, torch.float64)).to(z)


def cost(decode: Callable, z: Tensor, matrix: Tensor, target: Tensor) -> float:
    """Mean BCE of latents (N, d), mapped by a matrix and decoded, against a target (N, 28, 28)."""
    return image_scores(decode, mapped(z, matrix), target)[0].mean().item()


def costs(decode: Callable, z: Tensor, matrices: Tensor, images: Tensor) -> list[float]:
    """`cost` of each element's matrix (n, d, d) against its images (n, N, 28, 28)."""
    return [cost(decode, z, *each) for each in zip(matrices, images, strict=True)]


def edge_costs(
    decode: Callable, z: Tensor, orbit: Orbit, maps: LatentMaps, images: Tensor
) -> pd.DataFrame:
    """A row for each edge of the Cayley graph: element, generator, the element that it leads to, and
    the cost of the element's word with that letter after it."""
    rows = []
    for start, word in enumerate(orbit.group.words):
        for name in maps.names:
            end = orbit.group.place(longer := f"{word} {name}")
            value = cost(decode, z, maps.matrix(longer), images[end])
            rows.append({"start": start, "generator": name, "end": end, "cost": value})
    return pd.DataFrame(rows)


def as_text(word: Word) -> str:
    """A random word of `results.words` as text."""
    return " ".join(f"L{position + 1}^{sign}" for position, sign in word)


def retrieved(z: Tensor, matrices: Tensor, direct: Tensor) -> float:
    """H@1: how often the nearest of all latents (n, N, d) of N images in n poses is the one that a
    mapped latent z L(g) (N, d) should be. z: (N, d)."""
    bank, right = direct.flatten(0, 1), 0
    for place, matrix in enumerate(matrices):
        nearest = torch.cdist(mapped(z, matrix), bank).argmin(1)
        right += (nearest == place * len(z) + torch.arange(len(z)).to(z.device)).sum().item()
    return right / (len(matrices) * len(z))


def latents(model: LAVAE | Components, images: Tensor) -> Tensor:
    """Posterior means (V, N, d) of images (V, N, 28, 28)."""
    return encode_variants(model, images)[0]
