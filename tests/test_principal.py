"""Stage 1 from principal components: what they are, what is trained when, and what is in the key."""

from dataclasses import replace

import pytest
import torch
from made_up import normal, same_weights, uint8_images

from lavae_core import artifacts, principal, training
from lavae_core.augmentations import Pair, variants
from lavae_core.experiments import Joint, Maps, Stage1, load_or_train
from lavae_core.models import Encoder
from lavae_core.principal import from_principal, principal_components, start_at_components
from lavae_core.profiles import Schedule, Start
from lavae_core.tasks import to_float

EPOCHS = Schedule(epochs=2, batch=8, lr=1e-3, warmup=2)  # 16 steps of the 64 images
START = Start(epochs=1, batch=8, lr=1e-3, warmup=2, decay="constant")
PAIR = "flip_lr,rotate_cw"


def started(setting, schedule=START):
    return from_principal(Stage1(setting, PAIR, EPOCHS), schedule)


def test_the_components_are_uncorrelated_and_hold_the_most_variance():
    x = normal(500, 20) * torch.linspace(1, 3, 20)
    found = principal_components(x, 4)
    assert torch.allclose(torch.cov(found.t()), torch.eye(4), atol=1e-4)
    centred = x - x.mean(0)
    left = centred - found @ torch.linalg.lstsq(found, centred).solution
    values = torch.linalg.eigvalsh(torch.cov(x.t()).double())
    assert left.square().sum(1).mean().item() == pytest.approx(values[:-4].sum().item(), rel=5e-3)


def test_the_encoder_returns_the_components_with_one_variance():
    images, encoder = uint8_images(300), Encoder()
    convolutions = [encoder.conv1.weight.clone(), encoder.conv2.weight.clone()]
    start_at_components(encoder, images)
    with torch.no_grad():
        mu, logvar = encoder(to_float(images))
    expected = principal_components(to_float(images).flatten(1), 16)
    assert (mu - expected).square().mean() < 0.01
    assert torch.allclose((0.5 * logvar).exp(), torch.tensor(0.3))
    assert torch.equal(encoder.conv1.weight, convolutions[0])
    assert torch.equal(encoder.conv2.weight, convolutions[1])


def test_flips_are_linear_in_the_components():
    images = variants(uint8_images(100), Pair.parse("flip_lr,flip_ud"), split="train", seed=0)
    components = principal_components(to_float(images.flatten(0, 1)).flatten(1), 16).double()
    originals, *others = components.unflatten(0, (4, 100))
    for other in others:
        left = other - originals @ torch.linalg.lstsq(originals, other).solution
        assert left.square().mean() < 1e-6


def test_without_a_start_it_is_the_plain_stage_1(setting):
    plain = Stage1(setting, PAIR, EPOCHS)
    assert from_principal(plain, None) is plain


def test_the_start_is_in_the_key(setting):
    stages = [
        Stage1(setting, PAIR, EPOCHS),
        started(setting),
        started(setting, replace(START, lr=2e-3)),
        started(setting, replace(START, originals=12)),
        started(replace(setting, seed=1)),
    ]
    assert len({artifacts.key_of(Maps(stage).spec()) for stage in stages}) == len(stages)
    assert Maps(started(setting)).spec()["versions"].keys() == {
        "latents",
        "maps",
        "stage1",
        "start",
    }


def test_the_start_trains_the_decoder_and_the_variance_alone(setting):
    start = started(setting).start
    before, after = start.initial(), load_or_train(start)
    for name in ("conv1", "conv2", "to_mu"):
        assert same_weights(getattr(before.encoder, name), getattr(after.encoder, name))
    assert not same_weights(before.encoder.to_logvar, after.encoder.to_logvar)
    assert not same_weights(before.decoders, after.decoders)


def test_stage_1_goes_on_with_every_weight_of_its_start(setting):
    experiment = started(setting)
    start, found = load_or_train(experiment.start), load_or_train(experiment)
    assert same_weights(experiment.initial(), start)
    for (name, before), after in zip(start.encoder.named_parameters(), found.encoder.parameters(),
                                     strict=True):  # fmt: skip
        assert not torch.equal(before, after), name
    assert not same_weights(start.decoders, found.decoders)


def test_the_start_takes_its_components_from_the_first_originals_in_all_variants(
    setting, monkeypatch
):
    seen = []
    monkeypatch.setattr(principal, "start_at_components", lambda encoder, x: seen.append(x))
    started(setting, replace(START, originals=12)).start.initial()  # of 16
    images = variants(uint8_images(16), Pair.parse(PAIR), split="train", seed=0)
    assert torch.equal(seen[0], images[:, :12].flatten(0, 1))


def test_joint_training_goes_on_from_the_start(setting, monkeypatch):
    start, tasks = load_or_train(started(setting).start), []
    monkeypatch.setattr(training, "train", lambda task, *a, **k: tasks.append(task) or {})
    load_or_train(Joint(setting, PAIR, EPOCHS, start=started(setting).start))
    (task,) = tasks
    assert same_weights(task.module.encoder, start.encoder)
    assert same_weights(task.module.decoders, start.decoders)
    assert all(parameter.requires_grad for parameter in task.module.parameters())


@pytest.mark.parametrize("kill", [1, 3])
def test_killed_in_its_start_or_after_it_has_the_same_bits(setting, monkeypatch, tmp_path, kill):
    found = load_or_train(started(setting))
    monkeypatch.setenv("LAVAE_HOME", str(tmp_path / "another"))
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 5)
    save, steps = training._save, []

    def killed(path, optimizer, step, *rest):
        save(path, optimizer, step, *rest)
        steps.append(step)
        if len(steps) == kill:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        load_or_train(started(setting))
    assert same_weights(load_or_train(started(setting)), found)
    assert steps == [5, 5, 10, 15]  # what was done is not done again
