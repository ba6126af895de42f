"""Measurements: what they look at, on models whose answers are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_up import normal, uint8_images

from lavae_core import claims, explanation, measurements
from lavae_core.augmentations import VARIANTS
from lavae_core.errors import InvalidInputError
from lavae_core.latent_maps import NonLinearMaps
from lavae_core.models import CVAE, LAVAE, Decoder
from lavae_core.paper import HEATMAP_PAIRS
from lavae_core.profiles import PROFILES
from lavae_core.runtime import Runtime


def test_the_nearest_image_is_its_own():
    known = torch.rand(30, 784, generator=torch.Generator().manual_seed(0))
    shown = known.view(30, 28, 28) + 0.01
    assert measurements._nearest_is_itself(shown, known).all()
    swapped = shown[[1, 0, *range(2, 30)]]
    assert measurements._nearest_is_itself(swapped, known).tolist() == [False, False] + [True] * 28


FLIPPED = {"": (), "L1": (-1,), "L2": (-2,), "L1 L2": (-1, -2)}


class Flipping:
    """A study whose models flip perfectly; its images of the other order are other images."""

    def __init__(self):
        self.originals = uint8_images(20)
        self.other_order = uint8_images(20, seed=1)

    def lavae(self, pair):
        return SimpleNamespace(maps=lambda mu, word: word, decode=None)

    def cvae(self, pair, how):
        return None

    def variants(self, pair):
        return torch.stack([self.originals.flip(axes) for axes in FLIPPED.values()])

    def swapped(self, pair):
        return self.other_order


def identity_of(outputs, monkeypatch):
    """The shares of a LAVAE that flips, and of a CVAE with these outputs (4, N, 28, 28)."""
    study = Flipping()
    images = study.variants("").float() / 255
    by_word = dict(zip(FLIPPED, images, strict=True))
    monkeypatch.setattr(measurements, "encode", lambda *_: (None, None))
    monkeypatch.setattr(measurements.evaluation, "decoded", lambda m, mu, word: by_word[word])
    monkeypatch.setattr(
        measurements.evaluation, "cvae_outputs", lambda m, part: outputs.unsqueeze(2).logit(1e-6)
    )
    found = measurements._identity(study, study.variants(""))
    return {name: vector.mean().item() for name, vector in found.items()}


def test_identity_undoes_each_flip_by_itself(monkeypatch):
    found = identity_of(Flipping().variants("").float() / 255, monkeypatch)
    assert found["identity/LAVAE"] == found["identity/CVAE"] == 1
    assert found["copies/LAVAE"] == found["copies/CVAE"] < 0.5


def test_a_cvae_that_copies_its_input_is_not_taken_for_one_that_augments(monkeypatch):
    found = identity_of(Flipping().originals.expand(4, -1, -1, -1).float() / 255, monkeypatch)
    assert found["identity/LAVAE"] == 1 and found["identity/CVAE"] < 0.5
    assert found["copies/CVAE"] == 1


def test_the_reverse_is_held_against_the_trained_order_and_against_its_own(monkeypatch):
    study = Flipping()
    monkeypatch.setattr(measurements, "encode", lambda *_: (None, None))
    monkeypatch.setattr(
        measurements.evaluation, "image_scores", lambda decode, word, target: [(word, target)]
    )
    found = measurements._reverse(study, "pair")
    composed = study.variants("")[3]
    assert [word for word, _ in found.values()] == ["L1 L2", None, "L2 L1", "L2 L1"]
    expected = [composed, composed, composed, study.other_order]
    assert list(found) == [
        f"{name}/pair"
        for name in ("composed", "composed, own latent", "reverse", "reverse, own order")
    ]
    assert all(torch.equal(a, b) for (_, a), b in zip(found.values(), expected, strict=True))


@pytest.mark.parametrize(
    ("centres", "asymmetry"),
    [
        ([(0, 0), (1, 0), (0.5, 1), (1.5, 1)], 0.0),  # a parallelogram that is no rectangle
        ([(0, 0), (2, 0), (0, 1), (1, 1)], (1 / 1.5 + (2**0.5 - 1) / ((2**0.5 + 1) / 2)) / 2),
    ],
)
def test_asymmetry_is_of_opposite_sides(centres, asymmetry, monkeypatch):
    points = np.repeat(np.array(centres, dtype=float), 3, axis=0)
    variants = [name for name in VARIANTS for _ in range(3)]
    accuracies = {"linear probe": 0.5, "15 neighbours": 0.6}
    monkeypatch.setattr(measurements.projections, "variant_latents", lambda *_: (points, variants))
    monkeypatch.setattr(measurements.separability, "accuracies", lambda *_: accuracies)
    study = Flipping()
    study.setting = SimpleNamespace(seed=0)
    found = measurements._geometry(study, "pair")
    assert found["asymmetry/pair"].item() == pytest.approx(asymmetry, abs=1e-6)
    assert found["probe/pair"].item() == pytest.approx(0.5)


class Untrained:
    """A study whose models have random weights."""

    setting = SimpleNamespace(seed=0)

    def variants(self, pair):
        return uint8_images(4, 40)

    def swapped(self, pair):
        return uint8_images(40)

    def lavae(self, pair):
        return LAVAE()

    joint = lavae

    def vae(self):
        return LAVAE()

    def cvae(self, pair, how):
        return CVAE(n_conditions=3 if how == "lavae" else 4)

    def nonlinear(self, pair):
        return NonLinearMaps()

    def transfer(self, trained, evaluated):
        return LAVAE().with_head(evaluated, Decoder())

    def latents(self, pair):
        return normal(50, 16)

    def heatmap_pairs(self, count=None):
        return HEATMAP_PAIRS


def test_all_that_a_claim_or_the_explanation_asks_for_is_measured():
    with torch.no_grad():
        found = set().union(*(group(Untrained()) for group in measurements.GROUPS.values()))
    parts = [part for claim in claims.CLAIMS for part in claim.parts]
    asked = {name for part in parts for name in (part.measured, part.against) if name}
    asked |= {f"{kind}/{pair}" for kind in explanation.SEPARABILITIES for pair in HEATMAP_PAIRS}
    assert asked <= found


def test_unknown_group():
    with pytest.raises(
        InvalidInputError, match="unknown group of measurements 'x'; allowed: flips"
    ):
        measurements.Measurement(None, PROFILES["smoke"], "x")


def test_what_a_measurement_stands_on_is_in_its_key(monkeypatch):
    from lavae_core import experiments
    from lavae_core.experiments import Setting

    setting = Setting(0, Runtime("cpu", "fp32"))
    one = measurements.Measurement(setting, PROFILES["smoke"], "joint")
    before = one.spec()
    assert before["versions"].keys() >= {
        "stage1",
        "start",
        "latents",
        "maps",
        "head",
        "measurement",
    }
    assert before != measurements.Measurement(setting, PROFILES["quick"], "joint").spec()
    monkeypatch.setattr(experiments.Head, "VERSION", 99)
    assert one.spec() != before
