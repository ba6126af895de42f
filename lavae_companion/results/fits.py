"""Maps of several kinds between the same latents: what one matrix loses (notebook 25).

mu, var: (1 + M, n, d) posterior means and variances of the originals and M single variants. A fit is
called as LatentMaps are, with latents (N, d) and a word, and is fitted to posterior means unless it
says otherwise. Neighbours and MLPs have no inverse.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pandas as pd
import torch
import torch.nn.functional as F
from scipy.linalg import eigh
from torch import Tensor

from lavae_companion.comparisons import NonLinearMaps
from lavae_companion.results.scores import image_scores
from lavae_core import runtime
from lavae_core.augmentations import Family
from lavae_core.errors import require_known, require_whole
from lavae_core.latent_maps import (
    LatentMaps,
    Moments,
    Orders,
    fit_exact,
)

Fit = Callable[[Tensor, str], Tensor]
NEIGHBOURS = 200
RIDGE = 1.0  # beside the 200 neighbours, each direction gets the weight of one at distance 1
STEPS, BATCH = 1000, 512  # of the MLP


def linear(mu: Tensor, var: Tensor | None = None, orders: Orders = ()) -> LatentMaps:
    """Linear maps as of stage 2: of samples with these variances, of means for None; an order term
    for each of `orders` that is not None. Raises InvalidInputError as `fit_exact`."""
    moments = Moments(mu, torch.zeros_like(mu) if var is None else var)
    maps = LatentMaps(len(mu) - 1, mu.shape[-1]).to(mu.device)
    maps.matrices.data = fit_exact(moments, orders or (None,) * (len(mu) - 1)).to(mu)
    return maps.requires_grad_(False)


class AffineMaps:
    """z L_i + b_i, as matrices (d + 1, d + 1) on (z, 1): words and inverses multiply as linear ones.

    Raises InvalidInputError as `fit_exact`.
    """

    def __init__(self, mu: Tensor):
        self._maps = linear(F.pad(mu, (0, 1), value=1.0))

    def __call__(self, z: Tensor, word: str) -> Tensor:
        return self._maps(F.pad(z, (0, 1), value=1.0), word)[:, :-1]


class ClassMaps:
    """AffineMaps of each class. labels (n,) of the latents they are fitted to; `of` (N,): those of
    the latents that will be mapped, the same under every letter of a word.

    Raises InvalidInputError as `fit_exact`, where a class is too small.
    """

    def __init__(self, mu: Tensor, labels: Tensor, of: Tensor):
        self._maps = {label: AffineMaps(mu[:, labels == label]) for label in of.unique().tolist()}
        self._of = of

    def __call__(self, z: Tensor, word: str) -> Tensor:
        mapped = torch.empty_like(z)
        for label, maps in self._maps.items():
            mapped[self._of == label] = maps(z[self._of == label], word)
        return mapped


class LocalMaps:
    """AffineMaps, corrected by a ridge regression of their residuals on the nearest originals:
    about the best that a smooth function can do where originals lie.

    Raises InvalidInputError for fewer originals than `neighbours`, and for other letters than L1, L2, ...
    """

    def __init__(self, mu: Tensor, neighbours: int = NEIGHBOURS):
        require_whole("neighbours", neighbours, 1, mu.shape[1])
        self._affine, self._originals, self._neighbours = AffineMaps(mu), mu[0], neighbours
        names = [f"L{i}" for i in range(1, len(mu))]
        self._residuals = {
            n: y - self._affine(mu[0], n) for n, y in zip(names, mu[1:], strict=True)
        }

    def __call__(self, z: Tensor, word: str) -> Tensor:
        for name in word.split():
            require_known(f"letter of the word {word!r}:", name, self._residuals)
            z = self._step(z, name)
        return z

    def _step(self, z: Tensor, name: str) -> Tensor:
        near = torch.cdist(z, self._originals).topk(self._neighbours, largest=False).indices
        x, y = self._originals[near] - z[:, None], self._residuals[name][near]  # (N, k, d)
        x_mean, y_mean = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
        centred = (x - x_mean).mT
        ridge = RIDGE * torch.eye(z.shape[-1]).to(z)
        slope = torch.linalg.solve(centred @ centred.mT + ridge, centred @ (y - y_mean))
        return self._affine(z, name) + (y_mean - x_mean @ slope)[:, 0]


def mlp(maps: NonLinearMaps, mu: Tensor, seed: int, steps: int = STEPS) -> NonLinearMaps:
    """`maps` after training on the means: Adam, batches of 512, a rate that falls to 0 along a line."""
    with _one_thread():
        return _train(maps, mu, seed, steps)


@contextmanager
def _one_thread() -> Iterator[None]:
    # On a busy machine, waking a second thread takes longer than these steps.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _train(maps: NonLinearMaps, mu: Tensor, seed: int, steps: int) -> NonLinearMaps:
    source = runtime.generator("cpu", seed, "mlp")
    optimizer = torch.optim.Adam(maps.requires_grad_(True).parameters(), lr=3e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        z = mu[:, torch.randint(mu.shape[1], (BATCH,), generator=source).to(mu.device)]
        mapped = torch.stack([maps(z[0], name) for name in maps.names])
        optimizer.zero_grad()
        F.mse_loss(mapped, z[1:]).backward()
        optimizer.step()
    return maps.requires_grad_(False)


def costs(decode: Callable, z: Tensor, fit: Fit, family: Family, images: Tensor) -> pd.Series:
    """Mean BCE of each variant (V, N, 28, 28), decoded from the latents z (N, d) of the originals
    under its word; and their total."""
    words = family.latent_words.items()
    bce = {
        variant: image_scores(decode, fit(z, word), target)[0].mean().item()
        for (variant, word), target in zip(words, images, strict=True)
    }
    return pd.Series(bce | {"total": sum(bce.values())})


def spectrum(maps: LatentMaps, var: Tensor) -> pd.DataFrame:
    """A row for each eigenvector v of each map (v L = lambda v): its map, |lambda|, and 1 - sigma^2,
    sigma^2 being the mean posterior variance (n, d) of the originals in the direction of v."""
    rows = []
    for name, matrix in zip(maps.names, maps.matrices, strict=True):
        values, vectors = torch.linalg.eig(matrix.double().t())
        weights = vectors.abs().square()  # (d, d): columns of unit length
        kept = 1 - var.double().mean(0) @ weights
        rows += [
            {"map": name, "1 - sigma^2": float(x), "|eigenvalue|": float(y)}
            for x, y in zip(kept, values.abs(), strict=True)
        ]
    return pd.DataFrame(rows)


def noisy_directions(mu: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
    """(d,), (d, d): ratio of noise to signal, the largest first, and as rows the directions u in which
    regression on samples multiplies a map by exactly 1 / (1 + ratio): u L_samples = u L_means / (1 + ratio).

    mu, var: (n, d) of the originals. The rows are scaled so that the means' second moment is 1 along each.
    """
    signal = Moments(mu[None], torch.zeros_like(mu[None])).second_moment
    noise = torch.diag(var.double().sum(0))
    ratios, dual = eigh(noise.cpu().numpy(), signal.cpu().numpy())  # noise w = ratio signal w
    directions = signal.cpu() @ torch.from_numpy(dual) / len(mu) ** 0.5
    return torch.from_numpy(ratios).flip(0), directions.flip(1).t()
