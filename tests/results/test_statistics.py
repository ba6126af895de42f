"""Intervals: their coverage by simulation; the sign test; what counts as near, and as settled."""

import numpy as np
import pytest
from scipy import stats

from lavae_companion.results import statistics
from lavae_companion.results.statistics import DEPENDS, SETTLED, UNKNOWN


@pytest.mark.parametrize("n_seeds", [3, 5, 10])
@pytest.mark.parametrize("seed_spread", [0.02, 0.1, 0.5])
def test_the_interval_covers_with_few_seeds_and_test_images_that_all_share(n_seeds, seed_spread):
    """The true value is that of all seeds and all images; a test image is hard for every seed, so
    that more seeds do not make up for few images (their error is 0.1 here)."""
    rng, n_images, covered = np.random.default_rng(n_seeds), 100, 0
    repeats = 2000
    for _ in range(repeats):
        hardness = rng.normal(0, 0.9, n_images)  # shared
        noise = rng.normal(0, 0.44, (n_seeds, n_images))
        images = 10 + rng.normal(0, seed_spread, (n_seeds, 1)) + hardness + noise
        errors = np.array([statistics.standard_error(each) for each in images])
        _, low, high = statistics.interval(images.mean(1), errors)
        covered += low < 10 < high
    assert 0.935 < covered / repeats < 0.995


def test_the_interval_over_seeds_is_students():
    values = np.array([1.0, 2.0, 4.0, 4.5])
    value, low, high = statistics.interval(values, np.zeros(4))
    expected = stats.t.interval(0.95, df=3, loc=values.mean(), scale=stats.sem(values))
    assert (value, low, high) == pytest.approx((values.mean(), *expected))


def test_the_interval_of_one_seed_is_of_its_images_alone():
    value, low, high = statistics.interval(np.array([3.0]), np.array([0.1]))
    assert (value, low, high) == pytest.approx((3, *stats.norm.interval(0.95, 3, 0.1)), abs=1e-5)


def test_seeds_and_images_add_up_as_independent():
    values, errors = np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3])
    of_seeds = statistics.interval(values, np.zeros(3))
    of_images = statistics.interval(np.array([2.0]), np.array([0.2]))  # the mean of the errors
    both = statistics.interval(values, errors)
    halves = [high - value for value, _, high in (of_seeds, of_images, both)]
    assert np.hypot(*halves[:2]) == pytest.approx(halves[2])
    assert both[0] - both[1] == pytest.approx(halves[2])


@pytest.mark.parametrize(
    ("values", "side", "p"),
    [([0.9] * 5, "below", 1 / 32), ([0.9] * 3, "below", 1 / 8), ([0.9] * 5, "above", 1.0),
     ([1.1, 1.2, 0.9], "above", 0.5), ([1.0, 1.1], "above", 0.5), ([1.0, 1.0], "below", 1.0)],
    ids=str,
)  # fmt: skip
def test_a_sign_test_counts_seeds_on_the_claimed_side(values, side, p):
    assert statistics.sign_test(np.array(values), 1.0, side) == pytest.approx(p)


@pytest.mark.parametrize(
    ("value", "threshold", "n_seeds", "expected"),
    [(1.015, 1.0, 3, True), (0.985, 1.0, 9, True), (1.015, 1.0, 10, False), (1.03, 1.0, 3, False),
     (2.03, 2.0, 5, True), (2.05, 2.0, 5, False), (0.01, 0.0, 5, True), (-0.3, 0.0, 5, False),
     (0.1015, 0.1, 5, True), (0.105, 0.1, 5, False)],
)  # fmt: skip
def test_a_value_near_its_threshold_is_descriptive_with_few_seeds(
    value, threshold, n_seeds, expected
):
    assert statistics.is_descriptive(value, threshold, n_seeds) == expected


@pytest.mark.parametrize(
    ("curve", "verdict"),
    [({1: 1.01, 2: 1.02}, UNKNOWN),
     ({1: 1.01, 2: 1.02, 4: 1.03}, SETTLED),  # 1.077 at 100
     ({2: 1.02, 4: 1.05, 8: 1.08}, SETTLED),  # 1.189 at 100
     ({2: 1.03, 4: 1.07, 8: 1.11}, DEPENDS),  # 1.256
     ({4: 1.19, 8: 1.21, 16: 1.19}, DEPENDS),  # on both sides
     ({1: 1.5, 2: 1.15, 4: 1.12, 8: 1.10}, SETTLED),  # the last three
     ({100: 1.1, 200: 1.13, 400: 1.16}, SETTLED)],  # beyond: at its own end
    ids=str,
)  # fmt: skip
def test_a_statistic_is_settled_where_its_line_stays_on_one_side(curve, verdict):
    assert statistics.settled(curve, 1.2) == verdict
    shuffled = dict(sorted(curve.items(), reverse=True))
    assert statistics.settled(shuffled, 1.2) == verdict
