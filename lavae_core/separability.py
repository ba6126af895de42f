"""How well the variants can be told apart in the latent space: what a transfer head can build on."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

NEIGHBOURS = 15


def nearest_neighbours(latents: np.ndarray, variants: list[str]) -> KNeighborsClassifier:
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
        "15 neighbours": float(nearest_neighbours(fit_x, fit_y).score(test_x, test_y)),
    }
