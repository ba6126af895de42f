"""Measurements: what they look at, on models whose answers are known."""

import pytest
import torch
from made_up import uint8_images

from lavae_core import measurements
from lavae_core.errors import InvalidInputError
from lavae_core.profiles import PROFILES
from lavae_core.runtime import Runtime


def test_the_nearest_image_is_its_own():
    known = torch.rand(30, 784, generator=torch.Generator().manual_seed(0))
    shown = known.view(30, 28, 28) + 0.01
    assert measurements._nearest_is_itself(shown, known).all()
    swapped = shown[[1, 0, *range(2, 30)]]
    assert measurements._nearest_is_itself(swapped, known).tolist() == [False, False] + [True] * 28


class Fading:
    """A model whose recursion's change of two steps is given for each image."""

    def __init__(self, changes):
        self.changes = torch.tensor(changes)  # (STEPS - 1, N)


def test_recursion_tells_who_settles_and_when(monkeypatch):
    changes = [[8.0, 8.0, 8.0], [1.0, 9.0, 9.0], [1.0, 9.0, 1.0], [1.0, 9.0, 9.0], [1.0, 9.0, 1.0],
               [1.0, 9.0, 1.0]]  # fmt: skip
    model = Fading(changes)
    monkeypatch.setattr(measurements.evaluation, "recursion", lambda m, *_: (m.changes, None))
    monkeypatch.setattr(measurements.evaluation, "change_per_step", lambda shown: shown.numpy())
    found = measurements._recursion(model, uint8_images(3))
    assert found["stable"].tolist() == [True, False, True]
    assert found["settled"].tolist() == [2, 7, 5]


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
    assert before != measurements.Measurement(setting, PROFILES["quick"], "joint").spec()
    monkeypatch.setattr(experiments.Head, "VERSION", 99)
    assert one.spec() != before
