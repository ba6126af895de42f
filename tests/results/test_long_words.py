"""Long words: what they should show, how maps carry them, and what the spectrum predicts."""

import math

import pytest
import torch
from made_up import FLIPS, Perfect, normal, spread, uint8_images
from torch.testing import assert_close

from lavae_companion.results import words
from lavae_core.augmentations import Family
from lavae_core.errors import InvalidInputError
from lavae_core.latent_maps import LatentMaps
from lavae_core.models import LAVAE, encode

TURN = Family.parse("rotate_cw,flip_lr")
WORD = [(0, 1), (1, -1), (0, 1), (0, -1), (1, 1), (0, 1)]  # A1^2 for flips


def maps_of(*matrices: torch.Tensor) -> LatentMaps:
    maps = LatentMaps(len(matrices), len(matrices[0])).requires_grad_(False)
    maps.matrices.data = torch.stack(matrices)
    return maps


def test_random_words_are_drawn_from_all_letters():
    plain = words.random_words(2, 3, 40, False, 0)
    both = words.random_words(2, 3, 40, True, 0)
    assert [len(word) for word in plain + both] == [40] * 6
    assert {letter for word in plain for letter in word} == {(0, 1), (1, 1)}
    assert {letter for word in both for letter in word} == {(0, 1), (1, 1), (0, -1), (1, -1)}
    assert both == words.random_words(2, 3, 40, True, 0) != words.random_words(2, 3, 40, True, 1)


def test_the_truth_is_the_word_in_image_space():
    images = uint8_images(3)
    assert torch.equal(words.truth(images, FLIPS, WORD), images)
    assert torch.equal(words.truth(images, FLIPS, WORD[:2]), images.flip(-1, -2))
    turned = words.truth(images, TURN, [(0, -1), (1, 1)])
    assert torch.equal(turned, torch.rot90(images, 1, (1, 2)).flip(-1))


def test_perfect_maps_carry_any_word():
    model = Perfect()
    z = encode(model, model.images[0])[0]
    for n in range(1, len(WORD) + 1):
        truth = encode(model, words.truth(model.images[0], FLIPS, WORD[:n]))[0]
        assert torch.equal(words.carry(model.maps, z, WORD[:n]), truth)
        assert_close(words.predicted(model.maps, truth, WORD[:n]), truth)
    latents = words.through_images(model, model.images[0], WORD, [1, 6])
    assert list(latents) == [1, 6] and torch.equal(latents[6], z)


def test_recursion_through_images_follows_encoder_map_and_decoder():
    model, images = spread(LAVAE()).requires_grad_(False), uint8_images(2)
    latents = words.through_images(model, images, [(0, 1), (1, -1)], [2])
    again = torch.sigmoid(model.decode(model.maps(encode(model, images)[0], "L1")))
    assert_close(latents[2], model.maps(model.encode(again)[0], "L2^-1"))


def test_the_spectrum_predicts_maps_that_commute():
    flip, swap = torch.diag(torch.tensor([1.0, -1])), torch.eye(2).flip(0)
    maps = maps_of(0.5 * flip, 2 * swap)
    assert words.scales(maps) == pytest.approx([0.5, 2])
    assert words.half_length(0.5) == words.half_length(2) == 1
    assert words.half_length(0.5**0.25) == pytest.approx(4) and words.half_length(1) == math.inf
    assert words.half_length(1 + 1e-8) == math.inf
    z = normal(5, 2)
    truth = words.carry(maps_of(flip, swap), z, WORD)
    assert_close(words.predicted(maps, truth, WORD), words.carry(maps, z, WORD))
    uneven = maps_of(torch.diag(torch.tensor([0.9, -0.3])), torch.diag(torch.tensor([-0.5, 0.8])))
    truth = words.carry(maps_of(flip, -flip), z, WORD)
    assert_close(words.predicted(uneven, truth, WORD), words.carry(uneven, z, WORD))


def test_exact_involutions_are_exact_and_near_those_they_come_from():
    turn = torch.linalg.qr(normal(6, 6))[0] + 0.2 * normal(6, 6, seed=1)
    back = torch.linalg.inv(turn)
    true = [turn @ torch.diag(torch.tensor(signs)) @ back for signs in
            ([1.0, 1, 1, -1, -1, -1], [1.0, -1, 1, -1, 1, -1])]  # fmt: skip
    noisy = [each + 0.02 * normal(6, 6, seed=seed) for seed, each in enumerate(true, 2)]
    one, two = words.exact_involutions(maps_of(*noisy)).matrices
    identity = torch.eye(6)
    for product in (one @ one, two @ two, one @ two @ one @ two):
        assert_close(product, identity, atol=1e-4, rtol=0)
    assert (one - true[0]).abs().max() < 0.2 and (two - true[1]).abs().max() < 0.2
    assert (noisy[0] @ noisy[0] - identity).abs().max() > 0.01


ROTATION = torch.tensor([[0.0, 1], [-1, 0]])
SHEAR = Family.parse("flip_lr,shear_x")
REFUSED = {
    "an augmentation without an order": (
        lambda: words.truth(uint8_images(1), SHEAR, [(0, 1)]), "shear_x"),
    "no word": (lambda: words.random_words(2, 0, 4, False, 0), "0"),
    "no letter": (lambda: words.random_words(2, 1, 0, False, 0), "0"),
    "a length of 0": (lambda: words.through_images(Perfect(), uint8_images(1), WORD, [0]), "0"),
    "a length beyond the word": (
        lambda: words.through_images(Perfect(), uint8_images(1), WORD, [7]), "7"),
    "three maps": (lambda: words.exact_involutions(maps_of(*[ROTATION] * 3)), "3"),
    "no sign": (lambda: words.exact_involutions(maps_of(ROTATION, ROTATION)), None),
    "no inverse": (lambda: words.carry(maps_of(0 * ROTATION), normal(1, 2), [(0, -1)]), "L1"),
}  # fmt: skip


@pytest.mark.parametrize(("ask", "value"), REFUSED.values(), ids=REFUSED)
def test_requests_that_are_refused(ask, value):
    with pytest.raises(InvalidInputError, match=value):
        ask()
