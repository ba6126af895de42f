"""Every metric on a model that is perfect by construction, a useless one and degenerate input."""

import math

import pytest
import torch
from made_up import FLIPS, SURE, Perfect, normal, spread, uint8_images

from lavae_companion.comparisons import CVAE, NonLinearMaps
from lavae_companion.figures.digits import digit_rows
from lavae_companion.results import scores
from lavae_core.augmentations import Family
from lavae_core.errors import InvalidInputError
from lavae_core.latent_maps import LatentMaps
from lavae_core.models import LAVAE

VARIANTS = FLIPS.variants
TURNS = Family.parse("rotate_cw: A1, A1^2, A1^3")
USELESS = 784 * math.log(2)


class Useless(LAVAE):
    """Answers 0.5 to everything."""

    def decode(self, z, head="native"):
        return torch.zeros(len(z), 1, 28, 28)


def black_and_white(*shape: int) -> torch.Tensor:
    return uint8_images(*shape).gt(127).to(torch.uint8) * 255


def differing(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """How many pixels of each image differ, (N,)."""
    return (a != b).sum((1, 2)).float()


def stacked(by_variant: scores.Scores) -> torch.Tensor:
    """(V, 2, N): the scores of each variant in order."""
    return torch.stack(list(by_variant.values()))


def identity(code):
    return code


@pytest.fixture
def perfect():
    return Perfect()


# --- metrics -------------------------------------------------------------------------------------


def test_scores_of_perfect_useless_and_wrong_logits():
    targets = black_and_white(3)
    sure = SURE * (2 * (targets[:, None] / 255) - 1)
    for logits, bce, squares in [(sure, 0, 0), (0 * sure, USELESS, 196), (-sure, 784 * SURE, 784)]:
        result = scores.image_scores(identity, logits, targets)
        expected = torch.tensor([[bce], [squares]]).expand(2, 3)
        torch.testing.assert_close(result, expected, check_dtype=False, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("value", [0, 255])
def test_scores_of_empty_and_full_images(value):
    targets = torch.full((2, 28, 28), value, dtype=torch.uint8)
    result = scores.image_scores(identity, torch.zeros(2, 1, 28, 28), targets)
    torch.testing.assert_close(result, torch.tensor([[USELESS] * 2, [196.0] * 2]))


def test_every_image_has_its_own_score_whatever_the_chunks(monkeypatch):
    targets, logits = uint8_images(7), normal(7, 1, 28, 28)
    alone = [scores.image_scores(identity, logits[i : i + 1], targets[i : i + 1]) for i in range(7)]
    monkeypatch.setattr(scores, "CHUNK", 3)
    result = scores.image_scores(identity, logits, targets)
    assert result.shape == (2, 7)
    torch.testing.assert_close(result, torch.cat(alone, dim=1))


def test_scores_of_a_perfect_model(perfect):
    for by_variant in (
        scores.through_maps(perfect, FLIPS, perfect.images),
        scores.directly_encoded(perfect, FLIPS, perfect.images),
    ):
        assert tuple(by_variant) == VARIANTS
        assert stacked(by_variant).shape == (4, 2, 4) and stacked(by_variant).max() < 1e-6
    assert scores.reverse(perfect, perfect.images[0], perfect.images[3]).max() < 1e-6
    routes = scores.any_to_any(perfect, FLIPS, perfect.images)
    assert len(routes) == 12 and torch.stack(list(routes.values())).max() < 1e-6


def test_scores_of_a_useless_model():
    result = stacked(scores.through_maps(Useless(), FLIPS, black_and_white(4, 2)))
    expected = torch.tensor([USELESS, 196.0]).view(1, 2, 1).expand(4, 2, 2)
    torch.testing.assert_close(result, expected)


def test_each_variant_is_reached_by_its_own_word(perfect):
    """With identities for maps, a variant costs what it differs from the original."""
    images = perfect.images
    result = scores.through_maps(perfect, FLIPS, images, maps=LatentMaps())
    for variant, image in zip(VARIANTS, images, strict=True):
        expected = SURE * differing(images[0], image)
        torch.testing.assert_close(result[variant][0], expected, atol=1e-3, rtol=1e-5)
    only_first = LatentMaps()
    only_first.matrices.data[0] = perfect.maps.matrices[0]
    result = scores.through_maps(perfect, FLIPS, images, maps=only_first)
    assert result["first"][0].max() < 1e-6
    torch.testing.assert_close(result["second"][0], SURE * differing(images[0], images[2]))
    torch.testing.assert_close(result["composed"][0], SURE * differing(images[1], images[3]))


def test_a_family_of_powers_is_reached_by_powers(perfect):
    """The perfect model's L1 is an involution: its second power is the original again."""
    images = perfect.images[[0, 1, 0, 1]]
    result = scores.through_maps(perfect, TURNS, images)
    assert tuple(result) == ("original", "A1", "A1^2", "A1^3")
    assert stacked(result).max() < 1e-6
    assert stacked(scores.through_maps(perfect, TURNS, perfect.images))[2, 0].min() > 1000


def test_non_linear_maps_have_scores_of_their_own(perfect):
    maps = spread(NonLinearMaps(), scale=1.0)
    result = scores.through_maps(perfect, FLIPS, perfect.images, maps=maps)
    assert result["original"].max() < 1e-6 and result["first"][0].min() > 100


def test_scores_ask_the_named_head():
    model = LAVAE()
    decoder = spread(LAVAE().decoders["native"])
    both, images = model.with_head("other", decoder), uint8_images(4, 2)
    native, other = (
        stacked(scores.through_maps(both, FLIPS, images, head)) for head in ("native", "other")
    )
    assert not torch.equal(native, other)
    assert torch.equal(native, stacked(scores.through_maps(model, FLIPS, images)))
    with pytest.raises(InvalidInputError, match="'none'"):
        scores.through_maps(both, FLIPS, images, "none")


def test_reverse_composition_is_the_other_order(perfect):
    swap = torch.eye(16)
    swap[:2] = swap[[1, 0]]  # now the maps do not commute
    perfect.maps.matrices.data[1] = swap @ perfect.maps.matrices[1]
    composed = scores.through_maps(perfect, FLIPS, perfect.images)["composed"]
    assert composed.max() < 1e-6
    reverse = scores.reverse(perfect, perfect.images[0], perfect.images[3])
    others = perfect.images[3, [1, 0, 2, 3]]  # of the first two images
    torch.testing.assert_close(reverse[0], SURE * differing(others, perfect.images[3]))
    assert reverse[0, 0] > 1000


def test_the_mean_image_costs_what_images_differ_from_it():
    images = torch.zeros(4, 2, 28, 28, dtype=torch.uint8)
    images[1, 0] = 255
    means = torch.zeros(4, 28, 28, dtype=torch.float64)
    means[1] = 0.5
    result = stacked(scores.mean_image(FLIPS, images, means))
    expected = torch.zeros(4, 2, 2)
    expected[1] = torch.tensor([[USELESS], [196.0]])
    torch.testing.assert_close(result, expected, atol=784 * scores.EPSILON, rtol=1e-5)
    missed = scores.mean_image(FLIPS, torch.full_like(images, 255), means)["original"][0]
    assert missed.min() > 0 and missed.isfinite().all()  # white where no other image is


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
    assert scores.word_between(FLIPS, source, target) == WORDS[source, target]


def test_word_between_powers():
    assert scores.word_between(TURNS, "A1^3", "A1") == "L1^-3 L1"


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_word_from_a_variant_to_itself_is_the_identity(variant):
    maps = spread(LatentMaps())
    z = normal(3, 16)
    again = maps(z, scores.word_between(FLIPS, variant, variant))
    torch.testing.assert_close(again, z, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("route", [("first", "third"), ("third", "first")])
def test_an_unknown_variant(route):
    with pytest.raises(InvalidInputError, match="'third'"):
        scores.word_between(FLIPS, *route)


def test_any_to_any_is_by_source_and_target():
    """Maps that do nothing: a route costs the difference of its two variants."""
    model = Perfect()
    model.maps = LatentMaps().requires_grad_(False)
    model.bank[12:] = 0.5  # the composed images of all four originals decode to grey
    routes = scores.any_to_any(model, FLIPS, model.images)
    assert len(routes) == 12 and ("first", "first") not in routes
    torch.testing.assert_close(
        routes["original", "first"], SURE * differing(model.images[0], model.images[1])
    )
    torch.testing.assert_close(routes["composed", "first"], torch.full((4,), USELESS))
    assert routes["first", "composed"].min() > 1000


def test_map_residuals_are_those_along_each_direction_in_posterior_variances(monkeypatch):
    """L1 misses by 3 along one oblique direction in every image, L2 by nothing."""
    model, n = LAVAE(), 40
    model.maps.matrices.data[0] = torch.linalg.qr(normal(16, 16))[0]
    originals, missed = normal(n, 16), torch.zeros(16)
    missed[2], missed[5] = 3 * 0.6, 3 * 0.8
    mus = iter([originals, model.maps(originals, "L1").detach() + missed, originals])
    logvar = torch.full((n, 16), math.log(4.0))
    monkeypatch.setattr(scores, "encode", lambda *_: (next(mus), logvar))
    table = scores.map_residuals(model, FLIPS, uint8_images(3, n)).set_index(["map", "direction"])
    assert list(table.index) == [(name, i) for name in ("L1", "L2") for i in range(1, 17)]
    values = table["residual"]
    assert values["L1", 1] == pytest.approx(9 / 4, rel=1e-4)
    assert values.drop(("L1", 1)).abs().max() < 1e-4


def test_round_trip_error(perfect):
    perfect.maps.matrices.data = spread(perfect.maps).matrices.data
    images = perfect.images[0]
    assert scores.round_trip_error(perfect, images, "") == 0
    assert 0 < scores.round_trip_error(perfect, images, "L1 L2") < 1e-4
    perfect.maps.matrices.data[1] = torch.diag(torch.logspace(0, -6, 16))
    assert scores.round_trip_error(perfect, images, "L1 L2") < 1e-4  # inverted in float64
    perfect.maps.matrices.data[1, 0, 0] = 0
    with pytest.raises(InvalidInputError, match="L2"):
        scores.round_trip_error(perfect, images, "L1 L2")


# --- CVAE ----------------------------------------------------------------------------------------


def test_a_model_whose_output_is_flipped_needs_no_map(perfect):
    perfect.maps.matrices.data.zero_()
    family = Family.parse("flip_lr,flip_ud: A2, A1, A1 A2")  # the words decide
    for each, order in ((FLIPS, [0, 1, 2, 3]), (family, [0, 2, 1, 3])):
        by_variant = scores.flipped_outputs(perfect, each, perfect.images[order])
        assert tuple(by_variant) == each.variants
        assert stacked(by_variant).max() < 1e-5


def test_conditions_are_one_hots_and_sums_of_them_for_what_was_not_trained():
    assert torch.equal(scores.conditions_of(FLIPS, FLIPS), torch.eye(4))
    expected = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]]).float()
    assert torch.equal(scores.conditions_of(FLIPS, FLIPS.singles), expected)
    family = Family.parse("flip_lr,flip_ud,canny")
    three = scores.conditions_of(family, family.singles)
    assert three[5].tolist() == [0, 1, 0, 1] and three[7].tolist() == [0, 1, 1, 1]
    turns = scores.conditions_of(TURNS, TURNS.singles)  # a power is a letter as often
    assert turns.tolist() == [[1, 0], [0, 1], [0, 2], [0, 3]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [("A2, A1", [[1, 0, 0], [0, 0, 1], [0, 1, 0]]), ("A1, A1 A2", [[1, 0, 0], [0, 1, 0], [0, 1, 1]])],
)  # fmt: skip
def test_conditions_follow_the_words_and_not_their_number(words, expected):
    family = Family.parse(f"flip_lr,flip_ud: {words}")
    assert scores.conditions_of(family, family.singles).tolist() == expected
    assert torch.equal(scores.conditions_of(family, family), torch.eye(3))


def test_conditions_that_were_not_trained():
    with pytest.raises(InvalidInputError, match="A2"):
        scores.conditions_of(FLIPS, Family.parse("flip_lr,flip_ud: A1"))
    with pytest.raises(InvalidInputError, match="3 conditions.*flip_lr,flip_ud"):
        scores.cvae_outputs(CVAE(n_conditions=3), FLIPS, uint8_images(1))


@pytest.mark.parametrize("trained", [FLIPS, FLIPS.singles], ids=str)
def test_a_cvae_encodes_the_original_and_decodes_each_variant(trained, monkeypatch):
    model, images = spread(CVAE(n_conditions=len(trained.words))), uint8_images(4, 3)
    x, hots = images[0][:, None] / 255, scores.conditions_of(FLIPS, trained)
    with torch.no_grad():
        mu, _ = model.encode(x, hots[0].repeat(3, 1))
        expected = [model.decode(mu, hots[variant].repeat(3, 1)) for variant in range(4)]
    outputs = scores.cvae_outputs(model, FLIPS, images[0], trained)
    torch.testing.assert_close(outputs, torch.stack(expected))
    assert not torch.allclose(outputs[0], outputs[3], atol=1e-3)

    monkeypatch.setattr(scores, "CHUNK", 2)
    by_variant = scores.by_condition(model, FLIPS, images, trained)
    assert tuple(by_variant) == VARIANTS
    for logits, image, result in zip(expected, images, by_variant.values(), strict=True):
        torch.testing.assert_close(result, scores.image_scores(identity, logits, image))


# --- recursion -----------------------------------------------------------------------------------


def test_recursion(perfect):
    original, first = perfect.images[:2] / 255
    images, latents = scores.recursion(perfect, perfect.images[0], "L1", steps=3)
    assert images.shape == (4, 4, 28, 28) and latents.shape == (4, 4, 16)
    for step, expected in enumerate([original, first, original, first]):
        torch.testing.assert_close(images[step], expected)
        torch.testing.assert_close(latents[step], perfect.encode(expected[:, None])[0])
    assert scores.two_step_changes(images).shape == (2, 4)
    assert scores.two_step_changes(images) == pytest.approx(0, abs=1e-6)


def test_no_steps_show_the_input(perfect):
    images, latents = scores.recursion(perfect, perfect.images[0], "L1", steps=0)
    assert images.shape == (1, 4, 28, 28) and latents.shape == (1, 4, 16)


@pytest.mark.parametrize(
    ("images", "steps", "value"), [(1, -1, "-1"), (1, 1.5, "1.5"), (0, 3, "images")]
)
def test_recursions_that_are_refused(images, steps, value, perfect):
    with pytest.raises(InvalidInputError, match=value):
        scores.recursion(perfect, perfect.images[0, :images], "L1", steps)


def test_stable_is_who_strays_less_than_the_model_errs():
    images = torch.zeros(8, 3, 28, 28)  # the input and seven steps of three samples
    images[2, :, 0, 0] = 0.5  # the error of the first return
    images[7, :, 0, 0] = torch.tensor([0.4, 0.6, 0.0])
    images[6] = 1  # an even step shows another image
    assert scores.stable(images).tolist() == [True, False, True]
    images[5, :, 0, 0] = torch.tensor([0.6, 0.4, 0.0])
    assert scores.stable(images[:7]).tolist() == [False, True, True]


def test_change_is_between_images_two_steps_apart():
    images = torch.zeros(4, 2, 28, 28)
    images[1, 0] = 1  # blinks: the change shows two steps later
    images[2, 1, :2, :14] = 0.5
    assert scores.two_step_changes(images).tolist() == [[0, 7], [784, 0]]


def test_drift_is_between_the_first_and_the_last_odd_step():
    images = torch.zeros(7, 2, 28, 28)  # the input and six steps of two samples
    images[5, 0, 0, :2] = 0.5
    images[6] = 1  # an even step shows another image
    assert scores.drift(images).tolist() == [0.5, 0.0]
    assert scores.drift(images[:5]).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("measure", [scores.drift, scores.two_step_changes, scores.stable])
@pytest.mark.parametrize("steps", [1, 2])
def test_two_steps_tell_nothing_of_stability(measure, steps):
    with pytest.raises(InvalidInputError, match=str(steps)):
        measure(torch.zeros(steps + 1, 1, 28, 28))


# --- tables and rows of pictures -----------------------------------------------------------------


def test_models_lie_side_by_side():
    table = scores.side_by_side({"LAVAE": {"first": 1.0, "total": 3.0}, "VAE": {"first": 2.0}})
    assert list(table.index) == ["LAVAE", "VAE"] and list(table.columns) == ["first", "total"]
    assert table.loc["VAE", "first"] == 2 and math.isnan(table.loc["VAE", "total"])
    with pytest.raises(InvalidInputError):
        scores.side_by_side({})


def test_the_rows_of_lavae_are_each_variant_above_its_latent_version(perfect):
    rows = scores.variant_rows(perfect, FLIPS, perfect.images)
    assert list(rows)[:4] == ["original, image", "original, z", "first, image", "first, z L1"]
    pairs = zip(list(rows.values())[::2], list(rows.values())[1::2], strict=True)
    for (image, decoded), expected in zip(pairs, perfect.images, strict=True):
        assert torch.equal(image, expected)
        torch.testing.assert_close(decoded * 255, expected.float())


def test_the_rows_of_a_cvae_lie_between_the_images_and_lavae(perfect):
    rows = scores.cvae_rows(CVAE(), perfect, FLIPS, perfect.images)
    images = ["x", "first, image", "second, image", "composed, image"]
    assert list(rows)[::3] == images
    assert list(rows)[1::3] == [f"{variant}, CVAE" for variant in VARIANTS]
    for name, variant, image in zip(images, VARIANTS, perfect.images, strict=True):
        assert torch.equal(rows[name], image)
        torch.testing.assert_close(rows[f"{variant}, LAVAE"] * 255, image.float())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_scores_and_pictures_of_what_is_on_a_cuda_device():
    model, images = spread(LAVAE(), scale=0.01), uint8_images(4, 6)
    expected = stacked(scores.through_maps(model, FLIPS, images))
    result = stacked(scores.through_maps(model.cuda(), FLIPS, images.cuda()))
    torch.testing.assert_close(result.cpu(), expected, rtol=1e-3, atol=1e-3)
    digit_rows(scores.variant_rows(model, FLIPS, images.cuda()), "on the device")
