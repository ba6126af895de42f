"""The weights that come with the checkout: what is shipped, and the command that makes it."""

import json
from types import SimpleNamespace

import pytest
import torch
from made_up import FLIPS, float_images, spread, uint8_images

from lavae_companion import profiles, weights
from lavae_companion.experiments import Setting
from lavae_core import models
from lavae_core.augmentations import Family, variants
from lavae_core.errors import InvalidInputError, StoreError
from lavae_core.models import LAVAE, SHIPPED, SHIPPED_LIST

LISTED = json.loads((SHIPPED / SHIPPED_LIST).read_text())["models"]


def untrained() -> LAVAE:
    torch.manual_seed(0)
    return spread(LAVAE()).requires_grad_(False)


@pytest.fixture
def made(tmp_path, monkeypatch, home, cpu):
    """A folder with the weights of an untrained model; LAVAE.shipped reads from there."""
    folder = tmp_path / "weights"
    study = SimpleNamespace(
        profile=profiles.resolve("smoke"),
        setting=Setting(seed=3, runtime=cpu),
        lavae=lambda family: untrained(),
        variants=lambda family: variants(uint8_images(4), family, split="test", seed=3),
    )
    folder.mkdir()
    (folder / "an old one.safetensors").touch()
    weights.write(study, [FLIPS], folder)
    monkeypatch.setattr(models, "SHIPPED", folder)
    return folder


@pytest.mark.parametrize("family", LISTED)
def test_the_shipped_model_is_as_good_as_the_trained_one(family, mnist, cpu):
    parsed = Family.parse(family)
    images = variants(mnist("test").images, parsed, split="test", seed=0)
    study = SimpleNamespace(variants=lambda family: images)
    scores = weights.bce(study, parsed, LAVAE.shipped(family))
    assert scores == pytest.approx(LISTED[family]["bce"]["trained"], abs=0.05)


def test_what_is_shipped_is_what_the_command_writes():
    assert list(LISTED) == [str(family) for family in weights.FAMILIES]
    names = {entry["file"] for entry in LISTED.values()} | {SHIPPED_LIST}
    assert {file.name for file in SHIPPED.iterdir()} == names
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 40e6


def test_a_shipped_model_is_ready_to_use_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = LAVAE.shipped("rotate_cw, flip_lr")
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert model.augment(float_images(2), "L1 L2^-1").shape == (2, 1, 28, 28)


def test_networks_are_rounded_to_half_and_maps_are_not(made):
    model, trained = LAVAE.shipped("flip_lr,flip_ud"), untrained()
    torch.testing.assert_close(model.maps.matrices, trained.maps.matrices, rtol=0, atol=0)
    torch.testing.assert_close(
        model.encoder.conv1.weight, trained.encoder.conv1.weight.half().float()
    )
    assert not torch.equal(model.encoder.conv1.weight, trained.encoder.conv1.weight)


def test_the_command_replaces_all_and_says_where_it_is_from(made):
    content = json.loads((made / SHIPPED_LIST).read_text())
    assert {file.name for file in made.iterdir()} == {SHIPPED_LIST, "flip_lr-flip_ud.safetensors"}
    assert content["provenance"]["profile"] == "smoke" and content["provenance"]["seeds"] == [3]
    scores = content["models"]["flip_lr,flip_ud"]["bce"]
    assert scores["shipped"] == pytest.approx(scores["trained"], abs=0.5)
    assert len(scores["trained"]) == 4


def test_what_is_wrong_is_named(made):
    with pytest.raises(InvalidInputError, match="shear_x,canny"):
        LAVAE.shipped("shear_x,canny")
    file = made / "flip_lr-flip_ud.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(StoreError, match=file.name):
        LAVAE.shipped("flip_lr,flip_ud")
    file.unlink()
    with pytest.raises(StoreError, match=file.name):
        LAVAE.shipped("flip_lr,flip_ud")
