"""What a notebook asks for: the models of a profile and seed, test images and verdicts."""

import re

import pytest
import torch
from made_up import uint8_images

from lavae_companion import data, study
from lavae_companion.experiments import (
    FittedMaps,
    JointLAVAE,
    Latents,
    Setting,
    TrainedCVAE,
    TrainedNonLinearMaps,
    TrainedVAE,
    TransferHead,
    from_principal,
)
from lavae_companion.paper import PAIRS
from lavae_companion.profiles import PROFILES
from lavae_companion.study import Study
from lavae_core.augmentations import Family
from lavae_core.errors import InvalidInputError
from lavae_core.runtime import Runtime

FLIPS, SHEAR = Family.parse("flip_lr,flip_ud"), Family.parse("shear_x,canny")
LABELS = torch.tensor([7, 2, 1, 7, 2, 7])


@pytest.fixture(autouse=True)
def six_test_images(home, monkeypatch):
    """Six test images of noise; the limits with which they were asked for."""
    limits = []

    def load(split, dataset="mnist", limit=None):
        assert (split, dataset) == ("test", "mnist")
        limits.append(limit)
        return data.ImageSet(uint8_images(6), LABELS)

    monkeypatch.setattr(data, "load", load)
    return limits


# --- settings ------------------------------------------------------------------------------------


def test_the_defaults_are_the_quick_profile_on_mnist():
    result = Study()
    assert result.profile is PROFILES["quick"]
    setting = result.setting
    assert (setting.seed, setting.runtime.device, setting.dataset) == (0, "cpu", "mnist")
    assert setting.n_train is None and setting.latent_dim == 16


def test_settings_are_arguments_and_nothing_else(monkeypatch):
    for name, value in [("PROFILE", "smoke"), ("SEED", "12"), ("DEVICE", "x"), ("DATASET", "x")]:
        monkeypatch.setenv(f"LAVAE_{name}", value)
    assert Study().setting == Study("quick", 0, "cpu", "mnist").setting
    result = Study("smoke", seed=3, dataset="fashion")
    assert (result.setting.seed, result.setting.n_train) == (3, 2000)
    assert result.setting.dataset == "fashion"


@pytest.mark.parametrize(
    "options",
    [{"profile": "fast"}, {"profile": None}, {"profile": ["quick"]}, {"seed": -1}, {"seed": "1"},
     {"seed": 1.0}, {"seed": True}, {"seed": 2**32}, {"device": "tpu"}, {"device": "cuda:99"},
     {"dataset": "mnits"}, {"dataset": 7}],
    ids=str,
)  # fmt: skip
def test_settings_that_are_refused(options):
    (value,) = options.values()
    with pytest.raises(InvalidInputError) as caught:
        Study(**options)
    assert repr(value) in str(caught.value) and "\n" not in str(caught.value)


def test_the_study_of_a_setting_has_its_precision_and_size():
    for precision in ("bf16", "fp32"):
        setting = Setting(4, Runtime("cpu", precision), n_train=10, latent_dim=8)
        result = Study.of(PROFILES["smoke"], setting)
        assert result.setting == setting and result.profile is PROFILES["smoke"]


# --- models --------------------------------------------------------------------------------------


def test_which_experiments_a_study_asks_for(monkeypatch):
    asked = []
    monkeypatch.setattr(study, "load_or_train", lambda each: asked.append(each) or [[None]])
    result = Study("smoke")
    result.vae()
    result.lavae("flip_lr, flip_ud")
    result.lavae("shear_x,canny", solver="sgd", lambda_inv=0)
    result.transfer("flip_lr,flip_ud", SHEAR)
    result.joint("shear_x, canny")
    result.cvae(FLIPS, "lavae")
    result.nonlinear("shear_x,canny")
    result.latents("shear_x,canny")
    profile, setting = result.profile, result.setting
    flips, shear = (
        from_principal(TrainedVAE(setting, family, schedule, antithetic=True), profile.start)
        for family, schedule in ((FLIPS, profile.flips), (SHEAR, profile.base))
    )
    assert asked == [
        TrainedVAE(setting, None, profile.vae, antithetic=True),
        FittedMaps(flips, "exact", 1.0, None),
        FittedMaps(shear, "sgd", 0.0, profile.maps),
        TransferHead(FittedMaps(flips), SHEAR, profile.head),
        JointLAVAE(setting, SHEAR, profile.joint, True, shear.start),
        TrainedCVAE(setting, FLIPS, "lavae", profile.cvae_lavae, True),
        TrainedNonLinearMaps(shear, profile.maps),
        Latents(shear, 1),
    ]


def test_flips_and_other_families_have_schedules_of_their_own():
    result = Study("quick")
    assert result.stage1(FLIPS).schedule == result.profile.flips != result.profile.base
    for text in ("flip_ud,flip_lr", "flip_lr,flip_ud: A1", "flip_lr,flip_ud,canny"):
        assert result.stage1(text).schedule == result.profile.base


def test_the_papers_own_schedule_begins_with_random_weights_and_one_sample():
    result = Study("paper")
    assert result.stage1(FLIPS) == TrainedVAE(result.setting, FLIPS, result.profile.flips)


REFUSED = {
    "family": (lambda each: each.lavae("flip_lr,flop"), "'flop'"),
    "no text": (lambda each: each.lavae(7), "7"),
    "solver": (lambda each: each.lavae(FLIPS, solver="closed"), "'closed'"),
    "lambda_inv": (lambda each: each.lavae(FLIPS, lambda_inv=float("nan")), "nan"),
    "lambda_inv as text": (lambda each: each.lavae(FLIPS, lambda_inv="1"), "'1'"),
    "CVAE training": (lambda each: each.cvae(FLIPS, "x"), "'x'"),
    "transfer to other words": (lambda each: each.transfer(FLIPS, "canny"), "canny"),
    "swapped single": (lambda each: each.swapped("canny"), "canny"),
    "swapped three": (lambda each: each.swapped("canny,flip_lr,flip_ud"), "canny,flip_lr,flip_ud"),
    "number of pairs": (lambda each: each.heatmap_pairs(8), "8"),
    "one pair": (lambda each: each.heatmap_pairs(1), "1"),
    "item": (lambda each: each.check("Figure 99", {}), "'Figure 99'"),
}


@pytest.mark.parametrize(("ask", "value"), REFUSED.values(), ids=REFUSED)
def test_requests_that_are_refused(ask, value):
    with pytest.raises(InvalidInputError, match=value):
        ask(Study("smoke"))


# --- data ----------------------------------------------------------------------------------------


def test_the_test_set_is_read_once(six_test_images):
    result = Study("smoke")
    result.variants(FLIPS), result.variants(SHEAR), result.examples([2])
    assert torch.equal(result.test_set.labels, LABELS)
    assert six_test_images == [500]


def test_variants_are_of_the_test_images():
    result, images = Study("smoke").variants("flip_lr,flip_ud"), uint8_images(6)
    expected = [images, images.flip(2), images.flip(1), images.flip(1, 2)]
    assert torch.equal(result, torch.stack(expected))


def test_variants_are_made_once_and_of_the_seed():
    result, family = Study("smoke", seed=1), "salt_and_pepper"
    assert result.variants(family) is result.variants(Family.parse(family))
    assert not torch.equal(result.variants(family), Study("smoke").variants(family))


def test_the_other_order_of_a_pair():
    result, images = Study("smoke"), uint8_images(6)
    turned = torch.rot90(images.flip(2), -1, (1, 2))  # flip_lr, then rotate_cw
    assert torch.equal(result.swapped("rotate_cw,flip_lr"), turned)
    assert torch.equal(result.swapped(FLIPS), result.variants(FLIPS)[3])


def test_the_pairs_of_the_heatmap():
    assert Study("smoke").heatmap_pairs() == list(PAIRS[:2])
    assert Study("quick").heatmap_pairs() == list(PAIRS[:4])
    assert Study("quick").heatmap_pairs(7) == list(PAIRS)


def test_examples():
    result = Study("smoke")
    assert result.examples([2, 7]) == [1, 0]
    assert result.examples([7, 7, 1, 7]) == [0, 3, 2, 5]
    assert result.examples([]) == []


@pytest.mark.parametrize(
    ("digits", "value"),
    [([2, 2, 2], "2.* 2"), ([5], "5"), ([10], "10"), (["7"], "'7'"), ([-1], "-1"),
     (7, "7"), ("27", "'27'"), ([None], "None"), ([[7]], r"\[7\]")],
    ids=str,
)  # fmt: skip
def test_examples_that_are_refused(digits, value):
    with pytest.raises(InvalidInputError, match=value):
        Study("smoke").examples(digits)


# --- verdicts ------------------------------------------------------------------------------------


def test_a_check_prints_the_verdict_of_what_several_measurements_found(capsys):
    result = Study("quick", seed=6)
    capsys.readouterr()
    networks, maps = torch.tensor([571_809]), torch.tensor([256])
    result.check("Figure 2", {"parameters/networks": networks}, {"parameters/map": maps})
    assert capsys.readouterr().out.rstrip().endswith("seed 6: holds")
    result.check("Figure 2", {"parameters/networks": networks, "parameters/map": maps + 1})
    assert capsys.readouterr().out.rstrip().endswith("seed 6: holds in part")


@pytest.mark.parametrize(("profile", "dataset"), [("quick", "fashion"), ("smoke", "mnist")])
def test_a_check_of_other_data_or_of_a_few_steps_has_no_verdict(profile, dataset, capsys):
    vectors = {"parameters/networks": torch.tensor([571_809])}
    Study(profile, dataset=dataset).check("Figure 2", vectors)
    output = capsys.readouterr().out
    assert "no verdict" in output and "holds" not in output
    assert {"fashion", "smoke"} & set(re.findall("fashion|smoke", output))
