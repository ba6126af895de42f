"""The geometry of the latent space: projections, separability, symmetry, and the originals' box."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from made_up import generator, normal, uint8_images
from sklearn.neighbors import KNeighborsClassifier

from lavae_companion.results import geometry
from lavae_core.augmentations import Family
from lavae_core.errors import InvalidInputError
from lavae_core.models import LAVAE, encode

FLIPS = Family.parse("flip_lr,flip_ud")


def test_latents_are_of_the_first_images_of_each_variant():
    model, images = LAVAE(), uint8_images(4, 5)
    points, variants = geometry.variant_latents(model, FLIPS, images, 11)  # two of each
    assert variants == [variant for variant in FLIPS.variants for _ in range(2)]
    expected = torch.cat([encode(model, images[place, :2])[0] for place in range(4)])
    np.testing.assert_allclose(points, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_shuffled_images_are_all_of_them_in_an_order_of_the_seed():
    images = uint8_images(4, 50)
    mixed = geometry.shuffled(images, 0)
    order = [int((images[0] == each).flatten(1).all(1).nonzero()) for each in mixed[0]]
    assert sorted(order) == list(range(50)) != order
    assert torch.equal(mixed, images[:, order])  # of every variant the same
    assert torch.equal(mixed, geometry.shuffled(images, 0))
    assert not torch.equal(mixed, geometry.shuffled(images, 1))


@pytest.mark.parametrize("count", [3, 0, 8.0, "8"])
def test_numbers_of_latents_that_are_refused(count):
    with pytest.raises(InvalidInputError, match=repr(count)):
        geometry.variant_latents(LAVAE(), FLIPS, uint8_images(4, 5), count)


# --- projections and separability ----------------------------------------------------------------


def clusters(distance: float, n: int = 200) -> tuple[np.ndarray, list[str]]:
    """Four clouds in 16 dimensions, `distance` deviations apart."""
    centres = distance * np.eye(4, 16)
    noise = normal(4, n, 16).numpy()
    points = (centres[:, None] + noise).reshape(-1, 16)
    return points, [variant for variant in FLIPS.variants for _ in range(n)]


@pytest.mark.parametrize("method", geometry.METHODS)
def test_a_projection_is_a_plane_in_which_clusters_stay_apart(method):
    points, _ = clusters(40, n=25)
    plane = geometry.project(points, method, seed=0)
    assert plane.shape == (100, 2) and np.isfinite(plane).all()
    assert np.array_equal(plane, geometry.project(points, method, seed=0))
    centres = plane.reshape(4, 25, 2).mean(1, keepdims=True)
    within = np.linalg.norm(plane.reshape(4, 25, 2) - centres, axis=2).mean()
    between = np.linalg.norm(centres - centres.transpose(1, 0, 2), axis=2)
    assert within < 0.25 * between.max()


def test_the_first_component_is_the_widest_direction():
    points = normal(300, 16).numpy() * np.r_[10.0, 5.0, np.ones(14)]
    plane = geometry.project(points, "PCA", seed=0)
    assert abs(np.corrcoef(plane[:, 0], points[:, 0])[0, 1]) > 0.99
    assert abs(np.corrcoef(plane[:, 1], points[:, 1])[0, 1]) > 0.98


def test_an_unknown_projection():
    with pytest.raises(InvalidInputError, match="'UMAP'"):
        geometry.project(np.zeros((4, 16)), "UMAP", seed=0)


def test_accuracies_of_clusters_that_are_apart_and_of_one_cloud():
    apart = geometry.accuracies(*clusters(40), seed=0)
    assert set(apart) == {"linear probe", "15 neighbours"} and min(apart.values()) == 1
    chance = geometry.accuracies(*clusters(0), seed=0)
    assert all(0.15 < accuracy < 0.35 for accuracy in chance.values())
    assert chance == geometry.accuracies(*clusters(0), seed=0)
    assert chance != geometry.accuracies(*clusters(0), seed=1)


def test_the_variants_of_an_image_are_on_one_side_of_the_split():
    """Images far apart, whose variants coincide: a classifier that knew one would know all."""
    images = 100 * normal(40, 16).numpy()
    variants = [variant for variant in FLIPS.variants for _ in range(40)]
    fitted = []

    def fit(self, latents, labels):
        fitted.append((latents, labels))
        return KNeighborsClassifier.fit(self, latents, labels)

    class Recorded(KNeighborsClassifier):
        pass

    Recorded.fit = fit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sklearn.neighbors.KNeighborsClassifier", Recorded)
        geometry.accuracies(np.tile(images, (4, 1)), variants, seed=0)
    latents, labels = fitted[0]
    assert len(np.unique(latents, axis=0)) == 20 and len(latents) == 80
    assert sorted(np.unique(labels, return_counts=True)[1]) == [20] * 4


THREADS_OF_LATE_IMPORTS = """
from threadpoolctl import threadpool_info
from lavae_companion.results import geometry
from lavae_core import runtime
runtime.start()
geometry._late("sklearn.decomposition")
pools = [pool["num_threads"] for pool in threadpool_info() if "scikit_learn" in pool["filepath"]]
assert pools == [runtime.THREADS], pools
"""


def test_what_is_imported_late_gets_the_threads_of_every_result():
    shell = os.environ | {"OMP_NUM_THREADS": "3"}
    subprocess.run([sys.executable, "-c", THREADS_OF_LATE_IMPORTS], env=shell, check=True)


def test_neighbours_see_what_a_linear_probe_cannot():
    """Rings around each other are no half-spaces."""
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = np.concatenate([radius * ring for radius in (1, 2, 3, 4)])
    variants = [variant for variant in FLIPS.variants for _ in range(200)]
    accuracies = geometry.accuracies(points, variants, seed=0)
    assert accuracies["15 neighbours"] > 0.95 and accuracies["linear probe"] < 0.5


def test_a_latent_is_an_original_where_its_neighbours_in_the_second_half_are():
    shades = torch.tensor([0, 80, 160, 240], dtype=torch.uint8)  # one for each variant
    images = shades[:, None, None, None].repeat(1, 40, 28, 28)
    images += uint8_images(4, 40) // 16
    model = LAVAE()
    groups = [encode(model, variant[:20])[0] for variant in images]
    images[:, :20] = images[[1, 2, 3, 0], :20]  # the first half is left for a comparison
    originals, *others = geometry.classified_as_originals(model, FLIPS, images, *groups)
    assert originals.shape == (20,) and originals.all()
    assert not any(each.any() for each in others)


# --- symmetry ------------------------------------------------------------------------------------


def orthogonal(seed: int) -> np.ndarray:
    return torch.linalg.qr(normal(16, 16, seed=seed))[0].double().numpy()


def test_isometries_are_symmetric_also_where_they_do_not_commute():
    points = normal(200, 16).double().numpy() * np.linspace(1, 3, 16) + 2
    first, second = orthogonal(1), orthogonal(2)
    assert np.abs(first @ second - second @ first).max() > 0.1
    for isometry in (first, second, first @ second):
        assert geometry.asymmetry(points, 3 * points @ isometry + 7) == pytest.approx(0, abs=1e-12)


def test_asymmetry_is_the_variance_that_no_orthogonal_map_explains():
    points, noise = normal(20_000, 16).numpy(), normal(20_000, 16, seed=1).numpy()
    for share in (0.1, 0.5):
        mixed = (1 - share) ** 0.5 * points @ orthogonal(2) + share**0.5 * noise
        assert geometry.asymmetry(points, mixed) == pytest.approx(share, abs=0.02)
    assert geometry.asymmetry(points, noise) > 0.98
    stretched = points * np.r_[np.full(8, 3.0), np.ones(8)]  # linear, but no isometry
    assert geometry.asymmetry(points, stretched) == pytest.approx(0.2, abs=0.02)


def test_the_ratio_of_sizes_is_that_of_the_deviations():
    points, turn = normal(4, 5000, 16).numpy(), orthogonal(1)
    assert geometry.size_ratio(points) == pytest.approx(1, abs=0.03)
    points[2] *= 3
    assert geometry.size_ratio(points) == pytest.approx(3, abs=0.1)
    assert geometry.size_ratio(points @ turn + 5) == pytest.approx(geometry.size_ratio(points))


# --- samples -------------------------------------------------------------------------------------


def test_a_box_holds_the_middle_of_each_dimension():
    latents = normal(2000, 16) * torch.linspace(1, 4, 16)
    low, high = geometry.bounding_box(latents, 0.9)
    inside = ((latents > low) & (latents < high)).float().mean(0)
    assert (inside - 0.9).abs().max() < 0.002
    assert ((latents < low).float().mean(0) - 0.05).abs().max() < 0.002
    whole = geometry.bounding_box(latents, 1)
    torch.testing.assert_close(whole, (latents.amin(0), latents.amax(0)))


def test_samples_fill_a_box_evenly():
    low, high = torch.full((16,), -1.0), torch.linspace(0, 3, 16)
    samples = geometry.sample_box(low, high, 4000, generator(3))
    assert samples.shape == (4000, 16) and (samples >= low).all() and (samples <= high).all()
    unit = (samples - low) / (high - low)
    assert (unit.mean(0) - 0.5).abs().max() < 0.03 and (unit.std(0) - 12**-0.5).abs().max() < 0.02
    assert torch.equal(samples, geometry.sample_box(low, high, 4000, generator(3)))


def test_an_interpolation_goes_straight_from_end_to_end():
    ends = normal(2, 16)
    path = geometry.interpolate(ends, 5)
    assert torch.equal(path[[0, -1]], ends)
    torch.testing.assert_close(path.diff(dim=0), ((ends[1] - ends[0]) / 4).expand(4, 16))


REFUSED = {
    "no coverage": (lambda: geometry.bounding_box(normal(9, 16), 0), "0"),
    "coverage above 1": (lambda: geometry.bounding_box(normal(9, 16), 1.5), "1.5"),
    "coverage as text": (lambda: geometry.bounding_box(normal(9, 16), "0.9"), "'0.9'"),
    "no samples": (lambda: geometry.sample_box(*normal(2, 16), 0, generator(0)), "0"),
    "one step": (lambda: geometry.interpolate(normal(2, 16), 1), "1"),
    "three ends": (lambda: geometry.interpolate(normal(3, 16), 5), "3"),
}


@pytest.mark.parametrize(("ask", "value"), REFUSED.values(), ids=REFUSED)
def test_requests_that_are_refused(ask, value):
    with pytest.raises(InvalidInputError, match=value):
        ask()
