"""How well the variants can be told apart in the latent space: what a transfer head can build on."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from lavae_core.models import LAVAE
from lavae_core.projections import variant_latents

NEIGHBOURS = 15
N_LATENTS = 8000  # on which variants are told apart


def _nearest_neighbours(latents: np.ndarray, variants: list[str]) -> KNeighborsClassifier:
    """A classifier of the variant of a latent: the vote of 15 neighbours among latents (M, 16)."""
    return KNeighborsClassifier(NEIGHBOURS).fit(latents, variants)


def accuracies(latents: np.ndarray, variants: list[str], seed: int) -> dict[str, float]:
    """Held-out accuracy (0 to 1) of a linear probe and of 15 neighbours; half is for fitting.

    Chance is 0.25. The variants of one image may fall on both sides of the split.
    """
    fit_x, test_x, fit_y, test_y = train_test_split(
        latents, variants, test_size=0.5, random_state=seed, stratify=variants
    )
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return {
        "linear probe": float(probe.fit(fit_x, fit_y).score(test_x, test_y)),
        "15 neighbours": float(_nearest_neighbours(fit_x, fit_y).score(test_x, test_y)),
    }


def taken_for_originals(model: LAVAE, images: Tensor, *groups: Tensor) -> list[np.ndarray]:
    """For each group of latents (M, 16), which of them 15 neighbours take for originals, (M,) bool.

    The neighbours are posterior means of the second half of `images` (4, N, 28, 28); the first half
    is left for a comparison (Section V-A, Appendix D).
    """
    points, variants = variant_latents(model, images[:, images.shape[1] // 2 :], N_LATENTS)
    neighbours = _nearest_neighbours(points, variants)
    return [neighbours.predict(latents.cpu().numpy()) == "original" for latents in groups]
