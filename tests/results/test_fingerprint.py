"""Digests of augmentations: of what they do; functions that no model can be trained on."""

import pytest
import torch

from lavae_companion.fingerprint import fingerprint
from lavae_core import augmentations
from lavae_core.augmentations import AUGMENTATIONS, augmentation
from lavae_core.errors import InvalidInputError

NAMES = sorted(AUGMENTATIONS)


@pytest.fixture
def registry(monkeypatch):
    """The registry, as it was again after the test."""
    monkeypatch.setattr(augmentations, "AUGMENTATIONS", dict(AUGMENTATIONS))
    return augmentations.AUGMENTATIONS


def rarely(images):
    hit = torch.rand(len(images)) < 0.2
    return torch.where(hit[:, None, None], 255 - images, images)


@pytest.mark.parametrize(
    ("function", "order", "value"),
    [
        (lambda images: torch.rot90(images, 1, (1, 2)), 2, "order 2"),
        (lambda images: images.flip(1), 4, "order 4"),
        (lambda images: images.roll(1, 1), 2, "order 2"),
        (lambda images: torch.randint_like(images, 256), None, "mine"),
        (rarely, None, "mine"),
        (lambda images: images.flip(0), None, "mine"),
        (lambda images: images - images.float().mean().byte(), None, "mine"),
    ],
    ids=[
        "a power that is too small",
        "one that is too large",
        "no power",
        "random numbers of its own",
        "seldom",
        "another image",
        "the batch's mean",
    ],
)
def test_no_model_is_trained_on_a_function_that_is_not_what_it_declares(
    function, order, value, registry
):
    function.__name__ = "mine"
    augmentation(order=order)(function)
    with pytest.raises(InvalidInputError, match=value):
        fingerprint("mine")


def test_a_fingerprint_is_of_what_the_function_does(registry):
    fingerprints = {name: fingerprint(name) for name in NAMES}
    assert len(set(fingerprints.values())) == len(NAMES)
    before = fingerprints["flip_lr"]
    assert before == fingerprint("flip_lr")
    del registry["flip_lr"]

    @augmentation(order=2)
    def flip_lr(images):
        return images.flip(2)

    assert fingerprint("flip_lr") == before
