"""Stage 1 from principal components: what is trained when, on what, and how it resumes."""

from dataclasses import replace

import pytest
import torch
from made_up import same_weights, uint8_images

from lavae_companion import experiments, store
from lavae_companion.experiments import (
    FittedMaps,
    JointLAVAE,
    TrainedVAE,
    from_principal,
    load_or_train,
)
from lavae_companion.profiles import Start
from lavae_core import objectives, training
from lavae_core.augmentations import Family, variants
from lavae_core.errors import InvalidInputError
from lavae_core.training import Schedule

EPOCHS = Schedule(epochs=1.5, batch=16, lr=1e-3, warmup=2)  # 6 steps of the 64 images
START = Start(epochs=1, batch=16, lr=1e-3, warmup=2, decay="constant")  # 4 steps
PAIR = Family.parse("flip_lr,rotate_cw")


def started(setting, schedule=START):
    return from_principal(TrainedVAE(setting, PAIR, EPOCHS), schedule)


def test_without_a_start_it_is_the_plain_stage_1(setting):
    plain = TrainedVAE(setting, PAIR, EPOCHS)
    assert from_principal(plain, None) is plain


def test_the_start_is_in_the_key(setting):
    stages = [
        TrainedVAE(setting, PAIR, EPOCHS),
        started(setting),
        started(setting, replace(START, lr=2e-3)),
        started(setting, replace(START, originals=12)),
        started(replace(setting, seed=1)),
    ]
    assert len({store.key_of(FittedMaps(stage).spec()) for stage in stages}) == len(stages)
    versions = FittedMaps(started(setting)).spec()["versions"]
    assert versions.keys() == {"latents", "maps", "stage1", "start"}


@pytest.mark.parametrize("originals", [0, 1.5, True])
def test_numbers_of_originals_that_are_refused(originals):
    with pytest.raises(InvalidInputError, match=str(originals)):
        Start(epochs=1, originals=originals)


def test_the_start_trains_the_decoder_and_the_variance_alone(setting):
    start = started(setting).start
    before, after = start.initial(), load_or_train(start)
    for name in ("conv1", "conv2", "to_mu"):
        assert same_weights(getattr(before.encoder, name), getattr(after.encoder, name))
    assert not same_weights(before.encoder.to_logvar, after.encoder.to_logvar)
    assert not same_weights(before.decoders, after.decoders)


def test_stage_1_trains_every_weight_of_its_start(setting):
    experiment = started(setting)
    start, trained = load_or_train(experiment.start), load_or_train(experiment)
    assert same_weights(experiment.initial(), start)
    pairs = zip(start.encoder.named_parameters(), trained.encoder.parameters(), strict=True)
    for (name, before), after in pairs:
        assert not torch.equal(before, after), name
    assert not same_weights(start.decoders, trained.decoders)


def test_the_components_are_of_the_first_originals_in_all_variants(setting, monkeypatch):
    seen = []
    monkeypatch.setattr(experiments, "start_at_components", lambda encoder, x: seen.append(x))
    started(setting, replace(START, originals=12)).start.initial()  # of 16
    images = variants(uint8_images(16), PAIR, split="train", seed=0)
    assert torch.equal(seen[0], images[:, :12].flatten(0, 1))


def test_joint_training_begins_at_the_start(setting, monkeypatch):
    start, trained = load_or_train(started(setting).start), []
    monkeypatch.setattr(
        training, "train", lambda objective, *a, **k: trained.append(objective) or {}
    )
    load_or_train(JointLAVAE(setting, PAIR, EPOCHS, start=started(setting).start))
    (objective,) = trained
    assert same_weights(objective.module.encoder, start.encoder)
    assert same_weights(objective.module.decoders, start.decoders)
    assert all(parameter.requires_grad for parameter in objective.module.parameters())


def test_killed_in_its_start_or_after_it_has_the_same_bits(setting, monkeypatch, tmp_path):
    expected = load_or_train(started(setting))
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 2)
    losses, steps = objectives.VAEObjective.losses, []

    def counted(objective, *arguments):
        steps.append(1)
        if len(steps) == kill:
            raise KeyboardInterrupt
        return losses(objective, *arguments)

    monkeypatch.setattr(objectives.VAEObjective, "losses", counted)
    for kill in (4, 8):  # the last step of the start, and the last but two of stage 1
        monkeypatch.setenv("LAVAE_HOME", str(tmp_path / f"killed in step {kill}"))
        steps.clear()
        with pytest.raises(KeyboardInterrupt):
            load_or_train(started(setting))
        assert same_weights(load_or_train(started(setting)), expected)
        assert len(steps) == 4 + 6 + 2  # the step before the kill is done twice
