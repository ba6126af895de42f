"""Every metric on a model that is perfect by construction, a useless one and degenerate input."""

import math

import pytest
import torch
from made_up import normal, spread, uint8_images
from torch import nn

from lavae_core import evaluation
from lavae_core.augmentations import VARIANTS
from lavae_core.errors import InvalidInputError
from lavae_core.latent_maps import LatentMaps
from lavae_core.models import CVAE, LAVAE

SURE = 50.0  # a logit; a wrong pixel then costs 50 nats and a right one none
USELESS = 784 * math.log(2)


class Perfect(LAVAE):
    """Knows 4 originals and their variants: its latents are one-hots of these 16 images, its maps
    permute them (two involutions that commute), its decoder looks the image up."""

    def __init__(self):
        nn.Module.__init__(self)
        variants = uint8_images(4, 4).gt(127)
        self.images = variants.to(torch.uint8) * 255
        self.bank = variants.flatten(0, 1).flatten(1).float()  # (16, 784), row 4 variant + image
        self.maps = LatentMaps()
        first, second = [4, 5, 6, 7, 0, 1, 2, 3], [8, 9, 10, 11, 12, 13, 14, 15]
        there = [*first, *[place + 8 for place in first]]
        across = [*second, *range(8)]
        eye = torch.eye(16)
        self.maps.matrices.data = torch.stack([eye[there], eye[across]])
        self.requires_grad_(False)

    def encode(self, x):
        mu = nn.functional.one_hot(torch.cdist(x.flatten(1), self.bank).argmin(1), 16).float()
        return mu, torch.zeros_like(mu)

    def decode(self, z, head="native"):
        return (SURE * (2 * (z @ self.bank) - 1)).view(-1, 1, 28, 28)


class Useless(LAVAE):
    """Answers 0.5 to everything."""

    def decode(self, z, head="native"):
        return torch.zeros(len(z), 1, 28, 28)


def differing(a: torch.Tensor, b: torch.Tensor) -> float:
    """Pixels that differ, a mean over images."""
    return (a != b).sum((1, 2)).float().mean().item()


@pytest.fixture
def perfect():
    return Perfect()


# --- metrics -------------------------------------------------------------------------------------


def test_score_of_perfect_useless_and_wrong():
    targets = uint8_images(3).gt(127).to(torch.uint8) * 255
    sure = SURE * (2 * (targets[:, None] / 255) - 1)
    assert evaluation.score(lambda c: c, sure, targets) == pytest.approx((0, 0), abs=1e-6)
    useless = evaluation.score(lambda c: c, 0 * sure, targets)
    assert useless == pytest.approx((USELESS, 784 / 4), rel=1e-5)
    wrong = evaluation.score(lambda c: c, -sure, targets)
    assert wrong == pytest.approx((784 * SURE, 784), rel=1e-5)


@pytest.mark.parametrize("value", [0, 255])
def test_score_of_empty_and_full_images(value):
    targets = torch.full((2, 28, 28), value, dtype=torch.uint8)
    assert evaluation.score(lambda c: c, torch.zeros(2, 1, 28, 28), targets) == pytest.approx(
        (USELESS, 784 / 4), rel=1e-5
    )


def test_score_is_a_mean_over_images_whatever_the_chunks(monkeypatch):
    targets, logits = uint8_images(7), normal(7, 1, 28, 28)
    one_by_one = [evaluation.score(lambda c: c, logits[i : i + 1], targets[i : i + 1])
                  for i in range(7)]  # fmt: skip
    monkeypatch.setattr(evaluation, "CHUNK", 3)
    found = evaluation.score(lambda c: c, logits, targets)
    assert found == pytest.approx(torch.tensor(one_by_one).mean(0).tolist(), rel=1e-5)


def test_scores_of_a_perfect_model(perfect):
    for table in (
        evaluation.lavae_scores(perfect, perfect.images),
        evaluation.autoencoding_scores(perfect, perfect.images),
    ):
        assert list(table.index) == [*VARIANTS, "total"]
        assert list(table.columns) == ["bce", "sse"]
        assert table.to_numpy() == pytest.approx(0, abs=1e-6)
    assert evaluation.reverse_score(perfect, perfect.images[0], perfect.images[3]) == pytest.approx(
        (0, 0), abs=1e-6
    )
    assert evaluation.any_to_any_scores(perfect, perfect.images).to_numpy() == pytest.approx(
        0, abs=1e-6
    )


def test_scores_of_a_useless_model():
    table = evaluation.lavae_scores(Useless(), uint8_images(4, 2).gt(127).to(torch.uint8) * 255)
    assert table.loc[list(VARIANTS), "bce"].tolist() == pytest.approx([USELESS] * 4)
    assert table.loc["total"].tolist() == pytest.approx([4 * USELESS, 784])


def test_each_variant_is_reached_by_its_own_word(perfect):
    """With identities for maps, a variant costs what it differs from the original."""
    images = perfect.images
    wanted = [SURE * differing(images[0], variant) for variant in images]
    table = evaluation.lavae_scores(perfect, images, maps=LatentMaps())
    assert table["bce"].tolist() == pytest.approx([*wanted, sum(wanted)], abs=1e-3)
    only_first = LatentMaps()
    only_first.matrices.data[0] = perfect.maps.matrices[0]
    found = evaluation.lavae_scores(perfect, images, maps=only_first)["bce"]
    assert found["first"] == pytest.approx(0, abs=1e-6)
    assert found["second"] == pytest.approx(wanted[2])
    assert found["composed"] == pytest.approx(SURE * differing(images[1], images[3]))


def test_scores_ask_the_named_head():
    model = LAVAE()
    decoder = spread(LAVAE().decoders["native"])
    both, images = model.with_head("other", decoder), uint8_images(4, 2)
    native, other = (evaluation.lavae_scores(both, images, head) for head in ("native", "other"))
    assert not native.equals(other)
    assert native.equals(evaluation.lavae_scores(model, images))
    with pytest.raises(InvalidInputError, match="unknown decoder head"):
        evaluation.lavae_scores(both, images, "none")


def test_reverse_composition_is_the_other_order(perfect):
    swap = torch.eye(16)
    swap[:2] = swap[[1, 0]]  # now the maps do not commute
    perfect.maps.matrices.data[1] = swap @ perfect.maps.matrices[1]
    composed = evaluation.lavae_scores(perfect, perfect.images).loc["composed", "bce"]
    reverse = evaluation.reverse_score(perfect, perfect.images[0], perfect.images[3])[0]
    assert composed == pytest.approx(0, abs=1e-6)
    assert reverse > 1
    perfect.images = perfect.images[:, :2]
    half = evaluation.reverse_score(perfect, perfect.images[0], perfect.images[3])[0]
    assert half == pytest.approx(2 * reverse)


# --- any to any ----------------------------------------------------------------------------------

WORDS = {
    ("original", "original"): "",
    ("original", "first"): "L1",
    ("original", "second"): "L2",
    ("original", "composed"): "L1 L2",
    ("first", "original"): "L1^-1",
    ("first", "first"): "L1^-1 L1",
    ("first", "second"): "L1^-1 L2",
    ("first", "composed"): "L1^-1 L1 L2",
    ("second", "original"): "L2^-1",
    ("second", "first"): "L2^-1 L1",
    ("second", "second"): "L2^-1 L2",
    ("second", "composed"): "L2^-1 L1 L2",
    ("composed", "original"): "L2^-1 L1^-1",
    ("composed", "first"): "L2^-1 L1^-1 L1",
    ("composed", "second"): "L2^-1 L1^-1 L2",
    ("composed", "composed"): "L2^-1 L1^-1 L1 L2",
}


@pytest.mark.parametrize(("source", "target"), WORDS)
def test_word_between(source, target):
    assert evaluation.word_between(source, target) == WORDS[source, target]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_word_from_a_variant_to_itself_is_the_identity(variant):
    maps = spread(LatentMaps())
    z = normal(3, 16)
    there = maps(z, evaluation.word_between(variant, variant))
    torch.testing.assert_close(there, z, rtol=1e-3, atol=1e-3)


def test_the_rows_of_a_cvae_lie_between_the_images_and_lavae():
    model = Perfect()
    rows = evaluation.cvae_rows(CVAE(), model, model.images)
    images = ["x", "first, image", "second, image", "composed, image"]
    assert list(rows)[::3] == images
    assert list(rows)[1::3] == [f"{variant}, CVAE" for variant in VARIANTS]
    for name, variant, image in zip(images, VARIANTS, model.images, strict=True):
        assert torch.equal(rows[name], image)
        torch.testing.assert_close(rows[f"{variant}, LAVAE"] * 255, image.float())


def test_the_mean_image_costs_what_images_differ_from_it():
    images = torch.zeros(4, 2, 28, 28, dtype=torch.uint8)
    images[1, 0] = 255  # one of two white: their mean is grey
    assert evaluation.mean_image_scores(images) == pytest.approx([0, USELESS, 0, 0])
    assert evaluation.mean_image_score(images) == pytest.approx(USELESS)


def test_any_to_any_has_sources_as_rows():
    """Maps that do nothing: a cell is the difference of its two variants, and a row its source."""
    model = Perfect()
    model.maps = LatentMaps().requires_grad_(False)
    model.bank[12:] = 0.5  # the composed images of all four originals decode to grey
    table = evaluation.any_to_any_scores(model, model.images)
    assert list(table.index) == list(table.columns) == list(VARIANTS)
    assert table.loc["original", "first"] == pytest.approx(
        SURE * differing(model.images[0], model.images[1])
    )
    assert table.loc["first", "first"] == pytest.approx(0, abs=1e-6)
    assert table.loc["first", "composed"] > table.loc["composed", "composed"] > 100


def test_map_residuals_are_those_along_each_direction_in_posterior_variances(monkeypatch):
    """L1 misses by 3 along one oblique direction in every image, L2 by nothing."""
    model, n = LAVAE(), 40
    model.maps.matrices.data[0] = torch.linalg.qr(normal(16, 16))[0]
    originals, missed = normal(n, 16), torch.zeros(16)
    missed[2], missed[5] = 3 * 0.6, 3 * 0.8
    mus = iter([originals, model.maps(originals, "L1").detach() + missed, originals])
    logvar = torch.full((n, 16), math.log(4.0))
    monkeypatch.setattr(evaluation, "encode", lambda *_: (next(mus), logvar))
    found = evaluation.map_residuals(model, uint8_images(4, n)).set_index(["map", "direction"])
    assert list(found.index) == [(name, i) for name in ("L1", "L2") for i in range(1, 17)]
    values = found["residual"]
    assert values["L1", 1] == pytest.approx(9 / 4, rel=1e-4)
    assert values.drop(("L1", 1)).abs().max() < 1e-4


def test_round_trip_error(perfect):
    perfect.maps.matrices.data = spread(perfect.maps).matrices.data
    images = perfect.images[0]
    assert evaluation.round_trip_error(perfect, images, "") == 0
    assert 0 < evaluation.round_trip_error(perfect, images, "L1 L2") < 1e-4
    perfect.maps.matrices.data[1] = torch.diag(torch.logspace(0, -6, 16))
    assert evaluation.round_trip_error(perfect, images, "L1 L2") < 1e-4  # inverted in float64
    perfect.maps.matrices.data[1, 0, 0] = 0
    with pytest.raises(InvalidInputError, match="L2 is singular"):
        evaluation.round_trip_error(perfect, images, "L1 L2")


# --- CVAE ----------------------------------------------------------------------------------------


def test_one_hots():
    assert torch.equal(evaluation.one_hots(4), torch.eye(4))
    expected = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]]).float()
    assert torch.equal(evaluation.one_hots(3), expected)


@pytest.mark.parametrize("n_conditions", [3, 4])
def test_a_cvae_encodes_the_original_and_decodes_each_variant(n_conditions, monkeypatch):
    model, images = spread(CVAE(n_conditions=n_conditions)), uint8_images(4, 3)
    x, hots = images[0][:, None] / 255, evaluation.one_hots(n_conditions)
    with torch.no_grad():
        mu, _ = model.encode(x, hots[0].repeat(3, 1))
        expected = [model.decode(mu, hots[variant].repeat(3, 1)) for variant in range(4)]
    found = evaluation.cvae_outputs(model, images[0])
    torch.testing.assert_close(found, torch.stack(expected))
    assert not torch.allclose(found[0], found[3], atol=1e-3)

    monkeypatch.setattr(evaluation, "CHUNK", 2)
    table = evaluation.cvae_scores(model, images)
    assert list(table.index) == [*VARIANTS, "total"]
    wanted = [evaluation.score(lambda c: c, expected[i], images[i])[0] for i in range(4)]
    assert table["bce"].tolist() == pytest.approx([*wanted, sum(wanted)], rel=1e-5)


# --- recursion -----------------------------------------------------------------------------------


def test_recursion(perfect):
    original, first = perfect.images[:2] / 255
    shown, latents = evaluation.recursion(perfect, perfect.images[0], "L1", steps=3)
    assert shown.shape == (4, 4, 28, 28) and latents.shape == (4, 4, 16)
    for step, expected in enumerate([original, first, original, first]):
        torch.testing.assert_close(shown[step], expected)
        torch.testing.assert_close(latents[step], perfect.encode(expected[:, None])[0])
    assert evaluation.two_step_changes(shown).shape == (2, 4)
    assert evaluation.two_step_changes(shown) == pytest.approx(0, abs=1e-6)


def test_stable_is_who_strays_less_than_the_model_errs():
    shown = torch.zeros(8, 3, 28, 28)  # the input and seven steps of three samples
    shown[2, :, 0, 0] = 0.5  # the error of the first return
    shown[7, :, 0, 0] = torch.tensor([0.4, 0.6, 0.0])
    shown[6] = 1  # an even step shows another image
    assert evaluation.stable(shown).tolist() == [True, False, True]
    shown[5, :, 0, 0] = torch.tensor([0.6, 0.4, 0.0])
    assert evaluation.stable(shown[:7]).tolist() == [False, True, True]
    for steps in (1, 2):
        with pytest.raises(InvalidInputError, match="steps"):
            evaluation.stable(shown[: steps + 1])


def test_change_is_between_images_two_steps_apart():
    shown = torch.zeros(4, 2, 28, 28)
    shown[1, 0] = 1  # blinks: the change shows two steps later
    shown[2, 1, :2, :14] = 0.5
    found = evaluation.two_step_changes(shown)
    assert found.tolist() == [[0, 7], [784, 0]]


def test_drift_is_between_the_first_and_the_last_odd_step():
    shown = torch.zeros(7, 2, 28, 28)  # the input and six steps of two samples
    shown[5, 0, 0, :2] = 0.5
    shown[6] = 1  # an even step shows another image
    assert evaluation.drift(shown).tolist() == [0.5, 0.0]
    assert evaluation.drift(shown[:5]).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("measure", [evaluation.drift, evaluation.two_step_changes])
def test_two_steps_tell_nothing_of_stability(measure):
    with pytest.raises(InvalidInputError, match="steps must be .* 3"):
        measure(torch.zeros(3, 1, 28, 28))


def test_no_steps_show_the_input(perfect):
    shown, latents = evaluation.recursion(perfect, perfect.images[0], "L1", steps=0)
    assert shown.shape == (1, 4, 28, 28) and latents.shape == (1, 4, 16)
