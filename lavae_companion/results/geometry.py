"""The geometry of the latent space: projections into the plane (Figures 5 and 10, Appendix G), how
well its regions are separated, and samples of the region of the originals (Appendix D)."""

from importlib import import_module
from types import ModuleType

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from lavae_core.augmentations import Family
from lavae_core.errors import InvalidInputError, require_known, require_whole
from lavae_core.models import LAVAE, encode
from lavae_core.runtime import THREADS, generator

NEIGHBOURS = 15
N_LATENTS = 8000  # to which classifiers of the variant are fitted
METHODS = ("PCA", "ICA", "t-SNE")


def _late(name: str) -> ModuleType:
    """A module whose import takes long, at its first use. Its linear algebra then gets the threads of
    every result, which runtime.start gave to what was there."""
    module = import_module(name)
    threadpool_limits(THREADS)
    return module


def variant_latents(
    model: LAVAE, family: Family, images: Tensor, count: int
) -> tuple[np.ndarray, list[str]]:
    """Posterior means (V n, 16) of the variants (V, N, 28, 28) of the first n = count // V images,
    and the variant of each row. Raises InvalidInputError for a count below V."""
    require_whole("the number of latents", count, len(images))
    few = images[:, : count // len(images)]
    mu, _ = encode(model, few.flatten(0, 1))
    return mu.cpu().numpy(), [variant for variant in family.variants for _ in range(few.shape[1])]


def shuffled(images: Tensor, seed: int) -> Tensor:
    """Images (V, N, 28, 28) in an order of N drawn with the seed: their first ones are a sample of
    all. (The first half of MNIST's test images is the easier one.)"""
    source = generator("cpu", seed, "test images")
    return images[:, torch.randperm(images.shape[1], generator=source).to(images.device)]


def fit_ica(latents: np.ndarray, seed: int):
    """scikit-learn's FastICA with two components, fitted to latents (M, 16)."""
    model = _late("sklearn.decomposition").FastICA(
        2, whiten="unit-variance", random_state=seed, max_iter=2000, tol=1e-3
    )
    return model.fit(latents)


def project(latents: np.ndarray, method: str, seed: int) -> np.ndarray:
    """Latents (M, 16) in the plane (M, 2) by "PCA", "ICA" or "t-SNE" (seeded); InvalidInputError for
    another method."""
    require_known("projection", method, METHODS)
    if method == "PCA":
        return _late("sklearn.decomposition").PCA(2, random_state=seed).fit_transform(latents)
    if method == "ICA":
        return fit_ica(latents, seed).transform(latents)
    tsne = _late("sklearn.manifold").TSNE(2, init="pca", random_state=seed, n_jobs=2)
    return tsne.fit_transform(latents)


def accuracies(latents: np.ndarray, variants: list[str], seed: int) -> dict[str, float]:
    """Held-out accuracy (0 to 1) of a linear probe and of 15 neighbours; half is for fitting.

    latents (V n, 16), variants: of `variant_latents`. The variants of an image are all fitted, or
    all held out. Chance is 1 / V.
    """
    count = variants.count(variants[0])
    fitted = np.random.default_rng(seed).permutation(count) < count // 2
    fit, labels = np.tile(fitted, len(variants) // count), np.array(variants)
    probe = _late("sklearn.pipeline").make_pipeline(
        _late("sklearn.preprocessing").StandardScaler(),
        _late("sklearn.linear_model").LogisticRegression(max_iter=2000),
    )
    neighbours = _late("sklearn.neighbors").KNeighborsClassifier(NEIGHBOURS)
    return {
        name: float(model.fit(latents[fit], labels[fit]).score(latents[~fit], labels[~fit]))
        for name, model in (("linear probe", probe), ("15 neighbours", neighbours))
    }


def classified_as_originals(
    model: LAVAE, family: Family, images: Tensor, *groups: Tensor
) -> list[np.ndarray]:
    """For each group of latents (M, 16), which of them 15 neighbours classify as originals, (M,) bool.

    The neighbours are posterior means of the second half of `images` (V, N, 28, 28); the first half
    is left for a comparison (Section V-A, Appendix D).
    """
    half = images[:, images.shape[1] // 2 :]
    neighbours = _late("sklearn.neighbors").KNeighborsClassifier(NEIGHBOURS)
    neighbours.fit(*variant_latents(model, family, half, N_LATENTS))
    return [neighbours.predict(latents.cpu().numpy()) == "original" for latents in groups]


def asymmetry(originals: np.ndarray, variants: np.ndarray) -> float:
    """Share of a region's variance (0 to 1) that the region of the originals does not explain when
    it is moved, scaled, and rotated or reflected: the residual of the best orthogonal map.

    originals, variants: latents (n, d) of the same images. 0 where the augmentation is an isometry
    of the latent space, 1 for unrelated regions.
    """
    return float(_late("scipy.spatial").procrustes(originals, variants)[2])


def size_ratio(regions: np.ndarray) -> float:
    """Size of the largest region over that of the smallest, of latents (V, n, d): the geometric mean
    of the standard deviations along the principal axes, the d-th root of a volume."""
    sizes = [
        np.exp(np.linalg.slogdet(np.cov(each.T)).logabsdet / 2 / each.shape[1]) for each in regions
    ]
    return float(max(sizes) / min(sizes))


def require_coverage(coverage: float) -> None:
    """Raise InvalidInputError for a coverage that is no number above 0, to 1."""
    if not isinstance(coverage, int | float) or not 0 < coverage <= 1:
        raise InvalidInputError(f"coverage must be a number above 0, to 1, got {coverage!r}")


def bounding_box(latents: Tensor, coverage: float) -> tuple[Tensor, Tensor]:
    """Lower and upper corner (16,) of the box that holds the middle `coverage` (above 0, to 1) of
    the latents (N, 16) in each dimension (Section V-A, Appendix D). Raises InvalidInputError for
    another coverage."""
    require_coverage(coverage)
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
