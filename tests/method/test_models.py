"""The networks: sizes, the decoder's shortcut, heads, encoding, saving and refused input."""

import re

import numpy as np
import pytest
import torch
from made_up import float_images, normal, same_weights, spread, uint8_images
from torch import nn

from lavae_core import models
from lavae_core.augmentations import require_images
from lavae_core.errors import InvalidInputError, StoreError
from lavae_core.models import LAVAE, Decoder, Encoder, encode, encode_variants
from lavae_core.transforms import LatentAugmentation


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts_are_the_papers():
    assert size(Encoder()) == 333_024
    assert size(Decoder()) == 238_785
    assert size(LAVAE(n_maps=0)) == 571_809
    assert size(LAVAE(n_maps=3)) == 571_809 + 3 * 256


def test_shapes():
    x, model = float_images(3), spread(LAVAE())
    mu, logvar = model.encode(x)
    assert mu.shape == logvar.shape == (3, 16)
    assert not torch.equal(mu, logvar)
    assert model.decode(mu).shape == x.shape
    augmented = model.augment(x, "L1 L2^-1")
    assert augmented.shape == x.shape
    assert augmented.min() >= 0 and augmented.max() <= 1


def test_an_image_does_not_depend_on_its_batch():
    x, model = float_images(3), spread(LAVAE()).double()
    whole = model.augment(x.double(), "L1")
    torch.testing.assert_close(whole[1:2], model.augment(x[1:2].double(), "L1"))


def test_augment_is_the_mapped_posterior_mean_decoded():
    model = spread(LAVAE())
    x = float_images(2)
    mu, _ = model.encode(x)
    first, second = model.maps.matrices
    expected = torch.sigmoid(model.decode(mu @ first @ second))
    torch.testing.assert_close(model.augment(x, "L1 L2"), expected)
    assert not torch.allclose(model.augment(x, "L2 L1"), expected, atol=1e-6)


@pytest.mark.parametrize("n_conditions", [0, 3])
def test_decoder_equals_its_layers_one_after_the_other(n_conditions):
    decoder = Decoder(n_conditions=n_conditions).double()
    z = normal(5, 16).double().requires_grad_()
    condition = torch.eye(5, n_conditions).double() if n_conditions else None
    weights = normal(5, 1, 28, 28, seed=1).double()
    leaves = [z, *decoder.parameters()]

    codes = z if condition is None else torch.cat([z, condition], 1)
    hidden = decoder.deconv1(decoder.from_z(codes).view(-1, 128, 7, 7)).relu()
    expected = decoder.deconv2(hidden)
    gradients = torch.autograd.grad((expected * weights).sum(), leaves)

    for logits in (decoder(z, condition), decoder.layer_by_layer(codes)):
        torch.testing.assert_close(logits, expected)
        torch.testing.assert_close(torch.autograd.grad((logits * weights).sum(), leaves), gradients)


def in_place(decoder):
    decoder.deconv1.weight.mul_(2)


def through_data(decoder):  # as the training loop does: no version counter notices
    decoder.from_z.bias.data.add_(1)


def another_parameter(decoder):
    decoder.from_z.weight = nn.Parameter(decoder.from_z.weight * 2)


def loading(decoder):
    decoder.load_state_dict(spread(Decoder(), seed=2).state_dict())


def to_double(decoder):
    decoder.double()


def a_step_of_training(decoder):
    with torch.enable_grad():
        decoder.train().requires_grad_(True)
        decoder(normal(2, 16)).sum().backward()
        torch.optim.SGD(decoder.parameters(), lr=0.1).step()
    decoder.eval()


@torch.no_grad()
@pytest.mark.parametrize(
    "change", [in_place, through_data, another_parameter, loading, to_double, a_step_of_training]
)
def test_the_kept_affine_map_is_that_of_the_weights(change):
    decoder, z = spread(Decoder()).eval(), normal(3, 16)
    before = decoder(z)
    change(decoder)
    z = z.to(decoder.from_z.weight)
    assert not torch.equal(decoder(z), before.to(z))
    fresh = Decoder().to(z)
    fresh.load_state_dict(decoder.state_dict())
    assert torch.equal(decoder(z), fresh(z))


def test_the_affine_map_of_frozen_weights_is_computed_once(monkeypatch):
    decoder, z, calls = spread(Decoder()), normal(3, 16), []
    monkeypatch.setattr(
        Decoder, "_affine", lambda self, was=Decoder._affine: calls.append(1) or was(self)
    )
    trained = decoder(z)
    decoder(z)
    assert len(calls) == 2  # the map is part of the gradient
    with torch.inference_mode():
        first = decoder(z)
    assert torch.equal(first, decoder.requires_grad_(False)(z)) and torch.equal(first, trained)
    assert len(calls) == 3
    z.requires_grad_(True)
    decoder(z).sum().backward()
    assert len(calls) == 3 and z.grad.abs().min() > 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = decoder(z)
    assert not torch.equal(rounded, first) and len(calls) == 4


def test_encoding_is_of_the_images_whatever_the_chunks(monkeypatch):
    model, images = spread(LAVAE()), uint8_images(4, 5)
    monkeypatch.setattr(models, "CHUNK", 3)
    mu, logvar = encode_variants(model, images)
    assert mu.shape == logvar.shape == (4, 5, 16) and not mu.requires_grad
    for variant, row, spreads in zip(images, mu, logvar, strict=True):
        expected = model.encode(variant[:, None] / 255)
        torch.testing.assert_close((row, spreads), expected)
        torch.testing.assert_close(encode(model, variant), expected)
    with pytest.raises(InvalidInputError, match="float32"):
        encode(model, images[0] / 255)


def test_a_further_head_leaves_the_model_as_it_was(tmp_path):
    model, decoder, z = spread(LAVAE(n_maps=3)), spread(Decoder(), seed=1), normal(2, 16)
    before = model.decode(z)
    both = model.with_head("shear_x,canny", decoder)
    assert torch.equal(both.decode(z), before)
    assert torch.equal(both.decode(z, "shear_x,canny"), decoder(z))
    assert torch.equal(both.maps.matrices, model.maps.matrices)
    assert list(model.decoders) == ["native"]

    both.save_pretrained(tmp_path)
    loaded = LAVAE.from_pretrained(str(tmp_path))
    assert list(loaded.decoders) == ["native", "shear_x,canny"]
    assert same_weights(loaded, both)


def test_a_saved_model_knows_what_it_is_and_is_ready_for_use(tmp_path):
    about = {"family": "flip_lr,flip_ud", "seed": 3}
    LAVAE().save_pretrained(tmp_path, about)
    loaded = LAVAE.from_pretrained(tmp_path)
    assert loaded.about == about == loaded.with_head("other", Decoder()).about
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert "flip_lr,flip_ud" in (tmp_path / "README.md").read_text()
    loaded.save_pretrained(tmp_path / "again")
    assert LAVAE.from_pretrained(tmp_path / "again").about == about


@pytest.mark.parametrize("word", ["L1", "L2^-1", "L1 L2"])
def test_maps_that_were_not_fitted_are_refused(word):
    model = LAVAE()
    with pytest.raises(InvalidInputError, match=re.escape(repr(word))):
        model.augment(float_images(1), word)
    with pytest.raises(InvalidInputError, match=re.escape(repr(word))):
        LatentAugmentation(model, word)
    assert model.augment(float_images(1), "").shape == (1, 1, 28, 28)


OTHERS = {
    "another shape": LAVAE(n_maps=0),
    "a head is missing": LAVAE(heads=()),
    "a head too many": LAVAE(heads=("native", "other")),
}


@pytest.mark.parametrize("saved", OTHERS.values(), ids=OTHERS)
def test_another_architecture_is_refused_in_one_line(saved, tmp_path):
    saved.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(StoreError, match="LAVAE") as caught:
        LAVAE.from_pretrained(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_truncated_weights_are_refused_in_one_line(tmp_path):
    LAVAE().save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(StoreError, match="LAVAE") as caught:
        LAVAE.from_pretrained(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_the_hub_is_not_asked_for_a_folder_that_does_not_exist():
    with pytest.raises(StoreError, match="someone/lavae"):
        LAVAE.from_pretrained("someone/lavae")


def test_unknown_head():
    with pytest.raises(InvalidInputError, match="'other'"):
        LAVAE().decode(normal(1, 16), "other")


@pytest.mark.parametrize(
    ("model", "options"),
    [(LAVAE, {"latent_dim": 0}), (LAVAE, {"latent_dim": 1.5}), (LAVAE, {"n_maps": -1}),
     (LAVAE, {"latent_dim": "16"})],
)  # fmt: skip
def test_sizes_that_are_refused(model, options):
    ((name, value),) = options.items()
    with pytest.raises(InvalidInputError, match=f"{name}.*{value!r}"):
        model(**options)


NAN = float("nan")
BAD_IMAGES = {
    "no tensor": (None, "NoneType"),
    "numpy": (np.zeros((1, 1, 28, 28)), "ndarray"),
    "uint8": (torch.zeros(1, 1, 28, 28, dtype=torch.uint8), "torch.uint8"),
    "bool": (torch.zeros(1, 1, 28, 28, dtype=torch.bool), "torch.bool"),
    "no batch": (torch.zeros(1, 28, 28), r"\(1, 28, 28\)"),
    "no channel": (torch.zeros(2, 28, 28), r"\(2, 28, 28\)"),
    "colour": (torch.zeros(1, 3, 28, 28), r"\(1, 3, 28, 28\)"),
    "larger": (torch.zeros(1, 1, 32, 32), r"\(1, 1, 32, 32\)"),
    "scalar": (torch.tensor(0.5), r"\(\)"),
    "0 to 255": (torch.full((1, 1, 28, 28), 255.0), r"\[0, 1\]"),
    "standardised": (torch.full((1, 1, 28, 28), -0.4), r"\[0, 1\]"),
    "NaN": (torch.zeros(1, 1, 28, 28).index_fill(3, torch.tensor(3), NAN), "NaN"),
    "infinite": (torch.full((1, 1, 28, 28), float("inf")), r"\[0, 1\]"),
}


@pytest.mark.parametrize(("images", "value"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_images_that_are_refused(images, value):
    with pytest.raises(InvalidInputError, match=value) as caught:
        LAVAE().augment(images, "L1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "images", [torch.zeros(0, 1, 28, 28), torch.ones(2, 1, 28, 28).double(), float_images(1)]
)
def test_images_that_are_allowed(images):
    require_images(images)
