"""Long words: how far a latent map carries (notebook 26).

A random word is a list of (position of the generator, +1 or -1); its first n letters are the word of
length n. What it should show is known where every augmentation has an order.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from lavae_core import augmentations
from lavae_core.augmentations import Family
from lavae_core.errors import InvalidInputError, require_whole
from lavae_core.latent_maps import LatentMaps
from lavae_core.models import LAVAE, encode

# Squared pixel error of MSP's prediction on MNIST at step 1 and 8 (Miyato et al., NeurIPS 2022): output of
# extrp.ipynb in github.com/takerum/meta_sequential_prediction. Other data and another task.
MSP_ERRORS = {1: 6.4, 8: 54.9}
Word = list[tuple[int, int]]


def random_words(n_maps: int, count: int, length: int, inverses: bool, seed: int) -> list[Word]:
    """`count` words of `length` letters, each drawn from all maps, and from their inverses as well.

    Raises InvalidInputError unless both are whole numbers from 1.
    """
    require_whole("the number of words", count, 1)
    require_whole("the length of a word", length, 1)
    source = np.random.default_rng(seed)
    positions = source.integers(n_maps, size=(count, length)).tolist()
    signs = source.choice([-1, 1] if inverses else [1], size=(count, length)).tolist()
    return [list(zip(*each, strict=True)) for each in zip(positions, signs, strict=True)]


def truth(images: Tensor, family: Family, word: Word) -> Tensor:
    """uint8 (N, 28, 28): images under a word; an inverse is the power before the identity.

    Raises InvalidInputError for an augmentation without an order: no image shows its inverse.
    """
    for name, order in zip(family.generators, family.orders, strict=True):
        if order is None:
            raise InvalidInputError(f"{name} has no order; choose augmentations that have one")
    for position, sign in word:
        name, order = family.generators[position], family.orders[position]
        for _ in range(sign % order):
            images = augmentations.get(name).function(images)
    return images


def carry(maps: LatentMaps, z: Tensor, word: Word) -> Tensor:
    """Latents (N, d) under a word, in double precision. Raises InvalidInputError as maps.matrix."""
    mapped = z.double()
    for position, sign in word:
        mapped = mapped @ maps.matrix(f"L{position + 1}^{sign}").double()
    return mapped.to(z)


def scales(maps: LatentMaps) -> list[float]:
    """Geometric mean of each map's |eigenvalues|, |det L|^(1 / d): what a letter multiplies by."""
    logs = torch.linalg.slogdet(maps.matrices.double()).logabsdet / maps.matrices.shape[-1]
    return logs.exp().tolist()


def predicted(maps: LatentMaps, z: Tensor, word: Word) -> Tensor:
    """The latents z (N, d) of the truth, scaled as the spectra alone say: along each eigenvector of a
    map by |eigenvalue| to the number of its letters less that of its inverses, in no order."""
    scaled = z.double()
    for position, matrix in enumerate(maps.matrices):
        count = sum(sign for place, sign in word if place == position)
        scaled = scaled @ on_eigenvalues(matrix, lambda values, n=count: values.abs() ** n)
    return scaled.to(z)


def half_length(scale: float) -> float:
    """Letters after which latents have half (or, of a scale above 1, twice) their size; infinite for
    a scale of 1, to single precision."""
    return math.inf if abs(scale - 1) < 1e-6 else math.log(2) / abs(math.log(scale))


def exact_involutions(maps: LatentMaps) -> LatentMaps:
    """Two maps that are involutions, and commute, to all digits: eigenvalues +1 or -1 by their sign,
    of L2 after it is averaged with L1 L2 L1. Near maps that nearly are.

    Raises InvalidInputError for other than two maps, or an eigenvalue on the imaginary axis.
    """
    if len(maps.matrices) != 2:
        raise InvalidInputError(f"only a pair of involutions, got {len(maps.matrices)} maps")
    one, two = maps.matrices.double()
    one = on_eigenvalues(one, _signs)
    two = on_eigenvalues((two + one @ two @ one) / 2, _signs)
    exact = LatentMaps(2, one.shape[-1]).to(maps.matrices.device)
    exact.matrices.data = torch.stack([one, two]).to(maps.matrices)
    return exact.requires_grad_(False)


def _signs(values: Tensor) -> Tensor:
    if (values.real.abs() < 1e-6).any():
        raise InvalidInputError("a map has an eigenvalue without a sign; is it an involution?")
    return values.real.sign()


def on_eigenvalues(matrix: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """V f(Lambda) V^-1 of a matrix (d, d) = V Lambda V^-1, its real part, in float64."""
    values, vectors = torch.linalg.eig(matrix.double())
    changed = torch.diag(function(values)).to(vectors)
    return (vectors @ changed @ torch.linalg.inv(vectors)).real


@torch.no_grad()
def through_images(
    model: LAVAE, images: Tensor, word: Word, lengths: Sequence[int]
) -> dict[int, Tensor]:
    """Latents (N, d) after each of `lengths` letters, where after every letter the output is decoded
    and encoded again (Figure 5's recursion). Raises InvalidInputError for a length the word has not."""
    for n in lengths:
        require_whole("a length", n, 1, len(word))
    z, _ = encode(model, images)
    latents = {}
    for n, (position, sign) in enumerate(word, 1):
        mapped = model.maps(z, f"L{position + 1}^{sign}")
        latents[n] = mapped
        z, _ = model.encode(torch.sigmoid(model.decode(mapped)))
    return {n: latents[n] for n in lengths}
