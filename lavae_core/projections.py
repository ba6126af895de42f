"""Projections of the latent space into the plane (Figures 5 and 10, Appendix G)."""

import numpy as np
import torch
from sklearn.decomposition import PCA, FastICA
from sklearn.manifold import TSNE
from torch import Tensor

from lavae_core.augmentations import VARIANTS
from lavae_core.errors import InvalidInputError, require_known, require_whole
from lavae_core.experiments import encode
from lavae_core.models import LAVAE

METHODS = ("PCA", "ICA", "t-SNE")


def variant_latents(model: LAVAE, images: Tensor, count: int) -> tuple[np.ndarray, list[str]]:
    """Posterior means (4 n, 16) of the variants (4, N, 28, 28) of the first n = count // 4 images,
    and the variant of each row. Raises InvalidInputError for a count below 4."""
    require_whole("the number of latents", count, len(VARIANTS))
    few = images[:, : count // len(VARIANTS)]
    mu, _ = encode(model, few.flatten(0, 1))
    return mu.cpu().numpy(), [variant for variant in VARIANTS for _ in range(few.shape[1])]


def fit_ica(latents: np.ndarray, seed: int) -> FastICA:
    """Independent Component Analysis with two components, fitted to latents (M, 16)."""
    model = FastICA(2, whiten="unit-variance", random_state=seed, max_iter=2000, tol=1e-3)
    return model.fit(latents)


def project(latents: np.ndarray, method: str, seed: int) -> np.ndarray:
    """Latents (M, 16) in the plane (M, 2) by "PCA", "ICA" or "t-SNE" (seeded); InvalidInputError for
    another method."""
    require_known("projection", method, METHODS)
    if method == "PCA":
        return PCA(2, random_state=seed).fit_transform(latents)
    if method == "ICA":
        return fit_ica(latents, seed).transform(latents)
    return TSNE(2, init="pca", random_state=seed, n_jobs=2).fit_transform(latents)


def bounding_box(latents: Tensor, coverage: float) -> tuple[Tensor, Tensor]:
    """Lower and upper corner (16,) of the box that holds the middle `coverage` (above 0, to 1) of
    the latents (N, 16) in each dimension (Section V-A, Appendix D). Raises InvalidInputError for
    another coverage."""
    if not isinstance(coverage, int | float) or not 0 < coverage <= 1:
        raise InvalidInputError(f"coverage must be a number above 0, to 1, got {coverage!r}")
    tail = (1 - coverage) / 2
    return torch.quantile(latents, tail, dim=0), torch.quantile(latents, 1 - tail, dim=0)


def sample_box(low: Tensor, high: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Uniform samples (count, 16) in a box; InvalidInputError for none."""
    require_whole("the number of samples", count, 1)
    uniform = torch.rand(count, len(low), generator=generator).to(low)
    return low + uniform * (high - low)


def interpolate(ends: Tensor, steps: int) -> Tensor:
    """Latents (steps, 16) at regular intervals between the two `ends` (2, 16), both included.

    Raises InvalidInputError for other ends, or for less than two steps.
    """
    require_whole("steps", steps, 2)
    if len(ends) != 2:
        raise InvalidInputError(f"an interpolation has two ends, got {len(ends)}")
    weights = torch.linspace(0, 1, steps).to(ends)[:, None]
    return torch.lerp(ends[0], ends[1], weights)
