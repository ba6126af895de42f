"""Fair controls: all that claims ask for is measured; each control on a case whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up import FLIPS, Perfect, normal, same_weights, spread, uint8_images
from test_measurements import Untrained

from lavae_companion import data, experiments, store
from lavae_companion.comparisons import CVAE, NonLinearMaps
from lavae_companion.experiments import (
    FineTunedNative,
    FittedMaps,
    JointLAVAE,
    Latents,
    Setting,
    TrainedCVAE,
    TrainedNonLinearMaps,
    TrainedVAE,
    at_epochs,
    load_or_train,
)
from lavae_companion.profiles import PROFILES
from lavae_companion.results import claims, controls, measurements
from lavae_companion.results.controls import Control
from lavae_companion.study import Study
from lavae_core import training
from lavae_core.errors import InvalidInputError
from lavae_core.latent_maps import LatentMaps
from lavae_core.models import LAVAE
from lavae_core.runtime import Runtime
from lavae_core.training import Schedule

CONSTANT = Schedule(epochs=4, batch=16, lr=1e-3, warmup=0, decay="constant")


# --- all of them ---------------------------------------------------------------------------------


@pytest.fixture
def tiny(setting, monkeypatch):
    """A study of 40 noisy images, trained for a moment."""
    monkeypatch.setattr(
        data, "load", lambda *a, **k: data.ImageSet(uint8_images(40), torch.arange(40) % 10)
    )
    profile = replace(PROFILES["smoke"], start=None)
    study = Study.of(profile, setting)
    monkeypatch.setattr(controls, "FAIR_HEAD", {"epochs": 0.1, "batch": 64})
    return study


def test_all_that_a_claim_asks_for_is_measured(tiny):
    measured = {}
    for group in controls.GROUPS.values():
        measured |= group(tiny)
    with torch.no_grad():
        for group in measurements.GROUPS.values():
            measured |= group(Untrained())
    parts = [part for claim in claims.CLAIMS for part in claim.parts]
    asked = {name for part in parts for name in (part.measured, part.against) if name}
    assert asked - measured.keys() == set()
    assert all(torch.isfinite(measured[name].float()).all() for name in asked)
    assert claims.NOT_MEASURED not in set(claims.table({0: measured})["part_verdict"])


def test_a_control_is_in_the_store_under_a_key_of_its_own(home):
    setting = Setting(0, Runtime("cpu", "fp32"))
    control = Control(setting, PROFILES["smoke"], "three")
    assert "rotate_cw" in control.spec()["augmentations"]
    keys = {store.key_of(replace(control, group=group).spec()) for group in controls.GROUPS}
    assert len(keys) == len(controls.GROUPS)
    assert not controls.GROUPS.keys() & measurements.GROUPS.keys()
    with pytest.raises(InvalidInputError, match="'flips'"):
        Control(setting, PROFILES["smoke"], "flips")


# --- experiments ---------------------------------------------------------------------------------


def test_a_field_that_was_added_is_in_a_key_only_where_it_differs(setting):
    stage1 = TrainedVAE(setting, FLIPS, CONSTANT)
    for plain, changed in (
        (TrainedNonLinearMaps(stage1, CONSTANT), {"width": 32}),
        (JointLAVAE(setting, FLIPS, CONSTANT), {"map_weight": 16.0}),
    ):
        (name,) = changed
        assert name not in plain.spec()
        other = replace(plain, **changed)
        assert other.spec()[name] == changed[name]
        assert plain.spec() == {k: v for k, v in other.spec().items() if k != name}


def test_non_linear_maps_have_the_width_that_was_asked_for(setting):
    stage1 = TrainedVAE(setting, FLIPS, CONSTANT)
    for width in (8, 32):
        maps = load_or_train(TrainedNonLinearMaps(stage1, CONSTANT, width))
        assert [layer.out_features for layer in maps.networks[1][::2]] == [width, width, 16]
    with pytest.raises(InvalidInputError, match="0"):
        TrainedNonLinearMaps(stage1, CONSTANT, 0)


@pytest.mark.parametrize("kind", ["stage1", "cvae", "head"])
def test_one_constant_training_is_the_recipe_at_every_power_of_two(
    kind, setting, monkeypatch, tmp_path
):
    stage1 = TrainedVAE(setting, FLIPS, replace(CONSTANT, epochs=1))
    longest = {
        "stage1": TrainedVAE(setting, FLIPS, CONSTANT),
        "cvae": TrainedCVAE(setting, FLIPS, "lavae", CONSTANT),
        "head": experiments.TransferHead(FittedMaps(stage1), FLIPS, CONSTANT),
    }[kind]
    shorter = [at_epochs(longest, epochs) for epochs in (2, 1)]
    alone = [load_or_train(each) for each in shorter]
    monkeypatch.setenv("LAVAE_HOME", str(tmp_path / "another"))
    load_or_train(longest)
    assert not any(store.exists(each.KIND, each.spec()) for each in shorter)
    monkeypatch.setattr(training, "_backward", lambda *a, **k: pytest.fail("took a step"))
    for each, expected in zip(shorter, alone, strict=True):
        assert same_weights(load_or_train(each), expected)
    assert not list((tmp_path / "another" / "artifacts" / "checkpoints").iterdir())


def test_a_rate_that_falls_keeps_no_states(setting):
    load_or_train(TrainedVAE(setting, FLIPS, replace(CONSTANT, decay="linear")))
    folder = store.checkpoint("stage1", {}).parent
    assert not folder.exists() or not list(folder.iterdir())


def test_the_control_of_a_head_trains_the_native_decoder_on_direct_latents(setting, monkeypatch):
    asked = []
    objective = experiments.objectives.HeadObjective

    def recorded(decoder, latents, images):
        asked.append((decoder.state_dict().copy(), latents, images))
        return objective(decoder, latents, images)

    monkeypatch.setattr(experiments.objectives, "HeadObjective", recorded)
    maps = FittedMaps(TrainedVAE(setting, FLIPS, CONSTANT))
    tuned, base = load_or_train(FineTunedNative(maps, CONSTANT)), load_or_train(maps)
    (weights, latents, images), native = asked[0], base.decoders["native"]
    assert all(torch.equal(weights[k], w) for k, w in native.state_dict().items())
    torch.testing.assert_close(latents[:3], load_or_train(Latents(maps.stage1, 3))[0])
    assert torch.equal(images, setting.variants(FLIPS))
    assert same_weights(tuned.decoders["native"], native)
    assert not same_weights(tuned.decoders[FineTunedNative.NAME], native)


def test_maps_are_fitted_again_on_a_joint_encoder(setting):
    joint = JointLAVAE(setting, FLIPS, CONSTANT)
    trained, fitted = load_or_train(joint), load_or_train(FittedMaps(joint))
    assert same_weights(trained.encoder, fitted.encoder)
    assert not torch.equal(trained.maps.matrices, fitted.maps.matrices)


def test_the_weight_of_the_maps_scales_their_error_alone(setting):
    model, images = spread(LAVAE()), uint8_images(4, 3)
    index, source = torch.arange(3), torch.Generator()
    terms = [
        experiments.comparisons.JointObjective(
            model, images, [1, 2], (None, None), map_weight=weight
        ).losses(index, source.manual_seed(0))
        for weight in (1.0, 16.0)
    ]
    assert terms[1]["maps"].item() == pytest.approx(16 * terms[0]["maps"].item(), rel=1e-5)
    assert terms[1]["reconstruction"] == terms[0]["reconstruction"]


# --- measures ------------------------------------------------------------------------------------


def test_matched_cvaes_see_as_many_images_as_lavae():
    quick = PROFILES["quick"]
    lavae = 4 * (quick.flips.epochs + quick.start.epochs)  # times 60,000 images
    conditional, style = quick.cvae, quick.cvae_lavae
    assert 4 * conditional.epochs == pytest.approx(lavae)
    assert style.epochs < lavae < 3 * style.epochs  # encoded, and decoded
    assert conditional.lr == style.lr == 4e-3 and conditional.batch == quick.flips.batch


def test_a_cvae_in_sequence_applies_its_second_flip_to_its_first_output():
    class Flipper(CVAE):
        """Its latent is the image; its conditions flip."""

        def encode(self, x, condition):
            assert condition[:, 0].all()  # as an original
            return x.flatten(1), None

        def decode(self, z, condition):
            images = z.view(-1, 1, 28, 28)
            flipped = images.flip(-1) if condition[0, 1] else images
            flipped = flipped.flip(-2) if condition[0, 2] else flipped
            return 50 * (2 * flipped - 1)

    originals = uint8_images(3).gt(127).to(torch.uint8) * 255
    both = controls.in_sequence(Flipper(n_conditions=3), originals)
    assert torch.equal((both > 0)[:, 0], originals.flip((-1, -2)) > 0)


def test_a_numerical_inverse_finds_what_a_map_was_applied_to():
    maps, z = spread(NonLinearMaps(width=64), scale=0.1), normal(20, 16)
    for network in maps.networks:  # near the identity: z + something small
        network[4].weight.data *= 0.3
    shifted = NonLinearMaps(width=64)
    shifted.forward = lambda latents, word: latents + maps(latents, word)
    with torch.no_grad():
        back = controls.inverted(shifted, shifted(z, "L1"), "L1")
    torch.testing.assert_close(back, z, atol=1e-3, rtol=1e-3)


def test_what_a_bottleneck_lost_no_inverse_brings_back():
    maps, z = spread(NonLinearMaps(width=2), scale=0.3), 3 * normal(20, 16)
    with torch.no_grad():
        back = controls.inverted(maps, maps(z, "L1"), "L1")
    assert back.isfinite().all() and (back - z).norm() > 0.5 * z.norm()


def test_the_residual_of_an_involution_is_zero():
    maps = Perfect().maps
    assert controls._order_residual(maps).tolist() == [0]
    scaled = LatentMaps()
    scaled.matrices.data *= 2**0.5  # L^2 = 2 I
    assert controls._order_residual(scaled).tolist() == pytest.approx([1])


@pytest.mark.parametrize("period", [1, 2, 4])
def test_a_recursion_settles_where_its_last_period_changes_less(period):
    steps = torch.arange(8.0)
    shades = torch.stack([0.5**steps, steps, torch.where(steps % period == 0, 1.0, 0.0)], dim=1)
    outputs = shades[:, :, None, None].expand(8, 3, 28, 28)
    assert controls.settles(outputs, period).tolist() == [True, False, False]


def test_neighbours_know_the_label_of_an_image():
    images = torch.cat([torch.zeros(20, 28, 28), torch.full((20, 28, 28), 255)]).to(torch.uint8)
    label_of = controls._classifier(images, torch.arange(2).repeat_interleave(20))
    assert label_of(
        torch.stack([torch.full((28, 28), 0.1), torch.full((28, 28), 0.9)])
    ).tolist() == [0, 1]


def test_latents_with_the_variant_are_told_apart_and_others_not(monkeypatch):
    class Encoder(CVAE):
        """Its latent is noise, and the condition in so far as `entangled`."""

        entangled = 0.0

        def encode(self, x, condition):
            mu = 0.01 * normal(len(x), 16)
            mu[:, :4] += self.entangled * condition
            return mu, None

    class Asked:
        setting = type("", (), {"seed": 0})

        def variants(self, family):
            return uint8_images(4, 200)

    model = Encoder()
    free = controls.variant_probe(Asked(), model).item()
    model.entangled = 1.0
    assert controls.variant_probe(Asked(), model).item() == 1 and free < 0.5
    assert np.isfinite(free)


# --- training length -----------------------------------------------------------------------------


def test_a_length_is_the_papers_recipe_for_so_many_epochs(setting):
    profile = controls.at_length(4)
    study = Study.of(profile, setting)
    stage1 = study.stage1(FLIPS)
    assert stage1 == at_epochs(TrainedVAE(setting, FLIPS, PROFILES["paper"].flips), 4)
    assert study.stage1(None).schedule.epochs == 16  # originals alone are a quarter of the images
    assert profile.cvae.epochs == 4
    style = profile.cvae_lavae
    assert (style.epochs, style.lr, style.decay) == (16, 1e-3, "constant")
