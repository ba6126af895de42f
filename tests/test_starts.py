"""Stage 1 from the best of several starts: which it is, what is in the key, and that it goes on."""

from dataclasses import replace

import pytest
import torch
from made_up import same_weights, uint8_images

from lavae_core import artifacts, losses, starts, training
from lavae_core.augmentations import Pair, variants
from lavae_core.experiments import Maps, Stage1, load_or_train
from lavae_core.latent_maps import VARIANT_WORDS
from lavae_core.profiles import Schedule, Starts
from lavae_core.starts import best_start, cost_of_maps
from lavae_core.tasks import to_float

EPOCHS = Schedule(epochs=3, batch=8, lr=1e-3, warmup=2)  # 24 steps of the 64 images
PAIR = "flip_lr,rotate_cw"


def best_of(setting, count=3, epochs=1.0):
    return best_start(Stage1(setting, PAIR, EPOCHS), Starts(count, epochs))


def make_cheapest(monkeypatch, index: int) -> None:
    """Judge the starts, in the order in which they are made, so that this one costs least."""
    costs = iter([1.0 - (i == index) for i in range(3)])
    monkeypatch.setattr(starts, "cost_of_maps", lambda *_: next(costs))


def test_without_starts_it_is_the_plain_stage_1(setting):
    plain = Stage1(setting, PAIR, EPOCHS)
    assert best_start(plain, None) is plain


def test_every_choice_is_in_the_key(setting):
    stages = [
        Stage1(setting, PAIR, EPOCHS),
        best_of(setting),
        best_of(setting, count=2),
        best_of(setting, epochs=2.0),
        best_of(replace(setting, seed=1)),
    ]
    keys = {artifacts.key_of(Maps(stage).spec()) for stage in stages}
    assert len(keys) == len(stages)
    assert Maps(best_of(setting)).spec()["versions"] == {"maps": 1, "stage1": 1, "start": 1}


def test_the_starts_differ_in_their_weights_alone(setting):
    candidates = best_of(setting).candidates
    assert {replace(each, index=0) for each in candidates} == {candidates[0]}
    weights = [each.task().module for each in candidates]
    assert not any(same_weights(weights[0], other) for other in weights[1:])


@pytest.mark.parametrize("best", range(3))
def test_the_cheapest_start_goes_on_as_if_it_had_never_stopped(
    setting, monkeypatch, tmp_path, best
):
    make_cheapest(monkeypatch, best)
    experiment = best_of(setting)
    found = load_or_train(experiment)
    whole = experiment.candidates[best].task()
    training.train(
        whole, EPOCHS, seed=setting.seed, runtime=setting.runtime,
        checkpoint=tmp_path / "whole", label="whole",
    )  # fmt: skip
    assert same_weights(found, whole.module)


def test_killed_after_its_starts_it_has_the_same_bits(setting, monkeypatch, tmp_path):
    found = load_or_train(best_of(setting))
    monkeypatch.setenv("LAVAE_HOME", str(tmp_path / "another"))
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 5)
    save, steps = training._save, []

    def killed(path, optimizer, step, *rest):
        save(path, optimizer, step, *rest)
        steps.append(step)
        if step == 15:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        load_or_train(best_of(setting))
    assert same_weights(load_or_train(best_of(setting)), found)
    assert steps == [5, 8] * 3 + [10, 15, 20]  # what was done is not done again


def test_a_damaged_checkpoint_sends_it_back_to_its_start_and_no_further(
    setting, monkeypatch, tmp_path
):
    found = load_or_train(best_of(setting))
    monkeypatch.setenv("LAVAE_HOME", str(tmp_path / "another"))
    experiment = best_of(setting)
    for each in experiment.candidates:
        load_or_train(each)
    key = f"{experiment.KIND}-{artifacts.key_of(experiment.spec())}"
    damaged = tmp_path / "another" / "artifacts" / "checkpoints" / f"{key}.safetensors"
    damaged.parent.mkdir(parents=True, exist_ok=True)
    damaged.write_bytes(b"nonsense")
    assert same_weights(load_or_train(experiment), found)


def test_the_cost_of_the_maps_is_what_they_add_to_the_variants_own_latents(setting):
    model = load_or_train(Maps(Stage1(setting, PAIR, EPOCHS)))  # the exact maps of the same images
    images = variants(uint8_images(16), Pair.parse(PAIR), split="train", seed=0)
    x = [to_float(each) for each in images]
    expected = 0.0
    with torch.no_grad():
        mu = [model.encode(each)[0] for each in x]
        for word, own, target in zip(VARIANT_WORDS.values(), mu, x, strict=True):
            for sign, z in ((1, model.maps(mu[0], word)), (-1, own)):
                expected += sign * losses.reconstruction(model.decode(z), target).item() / 16
    assert cost_of_maps(model, images, Pair.parse(PAIR)) == pytest.approx(
        expected, rel=1e-3, abs=1e-3
    )
