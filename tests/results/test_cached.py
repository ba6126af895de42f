"""Augmented caches: perfect, useless and degenerate maps, what each arm is made of, and verdicts."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from made_up import FLIPS, normal, spread, uint8_images

from lavae_companion import data
from lavae_companion.results import cached
from lavae_core.augmentations import variants
from lavae_core.errors import InvalidInputError
from lavae_core.models import LAVAE, encode_variants

SWAP = np.roll(np.eye(6), 3, axis=0)  # an involution: the first three dimensions with the others
LABELS = np.tile(np.arange(3), 40)


class Toy(cached.Cache):
    """Three classes in two poses: a class is the largest of three dimensions, and the other pose has
    the same in the other three. maps: of both poses."""

    def __init__(self, *maps: np.ndarray):
        self.setting, self.labels, self.test_labels = SimpleNamespace(seed=0), LABELS, LABELS[:30]
        noise = 0.1 * normal(2, 120, 6).double().numpy()
        self.latents, tests = 4 * np.eye(6)[LABELS] + noise
        self.tests = np.stack([tests[:30], tests[:30] @ SWAP])
        self.maps, self.back = np.stack(maps), np.linalg.inv(np.stack(maps))

    def encoded(self, chosen: np.ndarray) -> np.ndarray:
        return self.latents[chosen][None] @ SWAP


def measured(*maps: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    accuracy = cached.accuracies(Toy(*maps), [2, 10], draws=3)
    return accuracy, cached.recovered(accuracy).loc[cached.ALL]


# --- perfect, useless, degenerate ----------------------------------------------------------------


def test_exact_maps_recover_all_and_undo_every_pose():
    accuracy, share = measured(np.eye(6), SWAP)
    assert accuracy.shape == (2 * 2 * 2 * 3, len(cached.ARMS))
    arms = [cached.MAPPED, cached.TRUE, cached.KNOWN, cached.INFERRED]
    assert (accuracy[arms] == 1).all(axis=None)
    assert (accuracy.loc[cached.UPRIGHT] == 1).all(axis=None)
    assert (accuracy.loc[cached.ALL, cached.ORIGINALS] < 0.9).all()
    np.testing.assert_allclose(share[arms], 1)


def test_identities_recover_nothing_and_undo_nothing():
    accuracy, share = measured(np.eye(6), np.eye(6))
    assert (accuracy[cached.TRUE] == 1).all()
    np.testing.assert_allclose(share[cached.MAPPED], 0, atol=1e-9)
    for arm in (cached.KNOWN, cached.INFERRED):
        np.testing.assert_array_equal(accuracy[arm], accuracy[cached.ORIGINALS])


def test_an_oracle_without_a_gain_leaves_no_share():
    table = pd.DataFrame(
        {cached.ORIGINALS: [0.5, 0.7], cached.MAPPED: [0.6, 0.8], cached.TRUE: [0.6, 0.6]},
        pd.MultiIndex.from_product([["t"], ["c"], [1], [0, 1]], names=[*cached.GROUP, "draw"]),
    )
    assert cached.recovered(table).isna().all(axis=None)


def test_a_share_is_the_ratio_of_mean_gains():
    table = pd.DataFrame(
        {cached.ORIGINALS: [0.2, 0.4], cached.MAPPED: [0.4, 0.5], cached.TRUE: [0.5, 0.7]},
        pd.MultiIndex.from_product([["t"], ["c"], [1], [0, 1]], names=[*cached.GROUP, "draw"]),
    )
    share = cached.intervals(cached.recovered(table).rename_axis(columns="arm"))
    assert share["value"].tolist() == pytest.approx([0, 0.15 / 0.3, 1])
    low, high = share.loc[("t", "c", 1, cached.MAPPED), ["low", "high"]]
    half = 12.706204736 * (0.05 / 0.3)  # Student's t of one degree; errors of +-0.05 in the gain
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half))


# --- the arms ------------------------------------------------------------------------------------


def sets(n: int) -> tuple[np.ndarray, dict[str, cached.Labelled]]:
    z, maps = normal(3, n, 6).double().numpy(), normal(4, 6, 6, seed=1).double().numpy()
    labels = np.repeat(np.arange(3), n).reshape(3, n)
    true, source = normal(3, 3, n, 6, seed=2).double().numpy(), np.random.default_rng(0)
    made = cached.training_sets(z, labels, maps, true, source)
    flat = z.reshape(-1, 6)
    np.testing.assert_allclose(
        made[cached.MAPPED][0],
        np.concatenate([flat, *(flat @ each for each in maps[1:])]),
        rtol=1e-12,
    )
    np.testing.assert_array_equal(
        made[cached.TRUE][0], np.concatenate([flat, *true.reshape(3, -1, 6)])
    )
    return flat, made


def test_every_arm_has_the_originals_and_their_weight():
    flat, made = sets(5)
    assert set(made) == {*cached.ARMS} - {cached.KNOWN, cached.INFERRED}
    for arm, (latents, labels, weights) in made.items():
        assert len(latents) == len(labels) == len(weights)
        assert len(latents) == {cached.ORIGINALS: 15, "+ mixup": 7 * 15}.get(arm, 4 * 15)
        np.testing.assert_array_equal(latents[:15], flat)
        assert labels[:15].tolist() == [0] * 5 + [1] * 5 + [2] * 5
        assert weights.sum() == pytest.approx(15) and (weights >= 0).all()


def test_generic_arms_are_what_they_say():
    flat, made = sets(500)
    noise = made["+ noise"][0].reshape(4, -1, 6)[1:] - flat
    np.testing.assert_allclose(noise.std((0, 1)), 0.5 * flat.std(0), rtol=0.05)
    away = (made["+ extrapolation"][0].reshape(4, 3, 500, 6)[1:] - flat.reshape(3, 500, 6)) * 2
    others = flat.reshape(3, 500, 6) - away  # within the class: the same ones, permuted
    for place in range(3):
        ordered = [
            np.sort(each[:, place, :], axis=-2) for each in (others, flat.reshape(3, 500, 6)[None])
        ]
        np.testing.assert_allclose(ordered[0], np.broadcast_to(ordered[1], (3, 500, 6)), atol=1e-9)


def test_a_mixture_has_both_labels_by_their_shares():
    z = 4 * np.eye(6)[:3, None]  # each class is a corner, so that a mixture shows its shares
    labels, source = np.arange(3)[:, None], np.random.default_rng(0)
    made = cached.training_sets(
        z, labels, np.stack([np.eye(6)] * 40), np.zeros((39, 3, 1, 6)), source
    )
    latents, targets, weights = (part[3:].reshape(2, 117, -1) for part in made["+ mixup"])
    np.testing.assert_array_equal(latents[0], latents[1])
    expected = (np.eye(6)[targets[..., 0]] * weights).sum(0)
    np.testing.assert_allclose(latents[0] / 4, expected / weights.sum(0), atol=1e-12)
    assert (targets[0] != targets[1]).any()


def test_of_a_single_latent_nothing_can_be_extrapolated():
    flat, made = sets(1)
    np.testing.assert_array_equal(made["+ extrapolation"][0], np.tile(flat, (4, 1)))


# --- draws, verdicts, refusals -------------------------------------------------------------------


def test_a_draw_has_every_class_and_fewer_are_the_first_of_more():
    many = cached.draw(LABELS, 40, np.random.default_rng(1))
    np.testing.assert_array_equal(LABELS[many], np.arange(3)[:, None].repeat(40, axis=1))
    assert sorted(many.ravel()) == list(range(120))
    np.testing.assert_array_equal(cached.draw(LABELS, 4, np.random.default_rng(1)), many[:, :4])
    assert (cached.draw(LABELS, 40, np.random.default_rng(2)) != many).any()


@pytest.mark.parametrize(
    ("ends", "side", "expected"),
    [([(2, 3), (1, 4)], "above", "holds"), ([(2, 3), (0, 4)], "above", "inconclusive"),
     ([(2, 3), (-1, 0)], "above", "does not hold"), ([(-1, 0), (0, 1)], "below", "holds"),
     ([(-1, 0), (0, 2)], "below", "inconclusive"), ([(-1, 0), (2, 3)], "below", "does not hold"),
     ([(np.nan, np.nan)], "above", "inconclusive"), ([(np.nan, np.nan)], "below", "inconclusive")],
)  # fmt: skip
def test_a_verdict_is_of_all_intervals(ends, side, expected):
    rows = pd.DataFrame(ends, columns=["low", "high"])
    assert cached.verdict(rows, 1, side) == expected


@pytest.mark.parametrize(
    ("ask", "value"),
    [(lambda: cached.draw(LABELS, 41, np.random.default_rng(0)), "41.*40"),
     (lambda: cached.draw(LABELS[:0], 1, np.random.default_rng(0)), "0"),
     (lambda: cached.draw(LABELS[:1], 1, np.random.default_rng(0)), "1"),
     (lambda: cached.accuracies(Toy(np.eye(6), SWAP), [1], draws=1), "1"),
     (lambda: cached.accuracies(Toy(np.eye(6), SWAP), [0, 2], draws=2), "0"),
     (lambda: cached.accuracies(Toy(np.eye(6), SWAP), [], draws=2), "0")],
)  # fmt: skip
def test_requests_that_are_refused(ask, value):
    with pytest.raises(InvalidInputError, match=value):
        ask()


# --- from images to a cache ----------------------------------------------------------------------


def test_a_cache_of_a_study_without_some_labels(cpu, monkeypatch):
    train = data.ImageSet(uint8_images(30), torch.arange(30) % 5)
    test = data.ImageSet(uint8_images(20, seed=1), torch.arange(20) % 5)
    monkeypatch.setattr(data, "load", lambda split, **_: train)
    model = spread(LAVAE()).eval().requires_grad_(False)
    tests = variants(test.images, FLIPS, split="test", seed=0)
    study = SimpleNamespace(
        setting=SimpleNamespace(seed=0, dataset="mnist", n_train=30, runtime=cpu),
        lavae=lambda family: model, test_set=test, variants=lambda family: tests,
        latents=lambda family: encode_variants(model, train.images[None])[0][0],
    )  # fmt: skip
    with pytest.raises(InvalidInputError, match="0"):
        cached.Cache(study, FLIPS, [1, 4], n_images=0)
    cache = cached.Cache(study, FLIPS, [1, 4], n_images=10)
    assert set(cache.labels) == set(cache.test_labels) == {0, 2, 3} and len(cache.labels) == 18
    assert cache.tests.shape == (4, 10, 16)
    known = encode_variants(model, tests)[0].double().numpy()  # every test image with its label
    places = [int(np.abs(known[0] - z).sum(1).argmin()) for z in cache.tests[0]]
    np.testing.assert_allclose(cache.tests, known[:, places], atol=1e-5)
    np.testing.assert_array_equal(cache.test_labels, test.labels.numpy()[places])

    chosen = np.array([[0, 5], [17, 1]])
    images = variants(train.images, FLIPS, split="train", seed=0)[1:, cache.places[chosen].ravel()]
    expected = encode_variants(model, images)[0].double().numpy().reshape(3, 2, 2, 16)
    np.testing.assert_allclose(cache.encoded(chosen), expected, atol=1e-5)
    np.testing.assert_allclose(
        cache.undone()[cached.KNOWN][3] @ cache.maps[3], cache.tests[3], atol=1e-4
    )
