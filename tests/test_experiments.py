"""Experiments: what is in a key, and a whole chain of stages on a few made-up images."""

from dataclasses import replace

import pytest
import torch
from made_up import same_weights, uint8_images

from lavae_core import artifacts, augmentations, experiments, training
from lavae_core.augmentations import Pair, variants
from lavae_core.errors import InvalidInputError
from lavae_core.experiments import (
    Conditional,
    Head,
    Joint,
    Latents,
    Maps,
    NonLinear,
    Stage1,
    load_or_train,
)
from lavae_core.latent_maps import Moments, fit_exact
from lavae_core.profiles import Schedule
from lavae_core.runtime import Runtime

FEW = Schedule(epochs=1, batch=8, lr=1e-3, warmup=2)
PAIR = "flip_lr,rotate_cw"


def key(experiment) -> str:
    return artifacts.key_of(experiment.spec())


def test_every_choice_is_in_the_key(setting, monkeypatch):
    stage1 = Stage1(setting, PAIR, FEW)
    head = Head(Maps(stage1), "shear_x,canny", FEW)
    other = [
        replace(setting, seed=1),
        replace(setting, runtime=Runtime("cpu", "bf16")),
        replace(setting, runtime=Runtime("cuda", "fp32")),
        replace(setting, n_train=10),
        replace(setting, dataset="fashion_mnist"),
        replace(setting, latent_dim=8),
    ]
    stages = [replace(stage1, setting=changed) for changed in other]
    stages += [
        replace(stage1, pair="rotate_cw,flip_lr"),
        replace(stage1, pair=None),
        replace(stage1, schedule=replace(FEW, epochs=2)),
        replace(stage1, schedule=replace(FEW, decay="constant")),
        replace(stage1, lambda_recon=2.0),
        replace(stage1, lambda_kl=5.0),
        replace(stage1, antithetic=True),
    ]
    heads = [Head(Maps(changed), "shear_x,canny", FEW) for changed in stages]
    heads += [
        replace(head, evaluated="canny,shear_x"),
        replace(head, schedule=replace(FEW, lr=0.1)),
        replace(head, maps=replace(head.maps, lambda_inv=0.0)),
        replace(head, maps=replace(head.maps, solver="sgd", schedule=FEW)),
    ]
    keys = [key(head), *map(key, heads)]
    with monkeypatch.context() as patch:
        patch.setattr(experiments, "THREADS", 1)
        keys.append(key(head))
    for name in ("flip_lr", "canny"):  # of the base pair, and of the head's own
        with monkeypatch.context() as patch:
            changed = replace(augmentations.get(name), function=lambda x, *_: 255 - x)
            patch.setitem(augmentations.AUGMENTATIONS, name, changed)
            keys.append(key(head))
    for stage in (Stage1, Latents, Maps, Head):  # a later version reaches all that stand on it
        with monkeypatch.context() as patch:
            patch.setattr(stage, "VERSION", 99)
            keys.append(key(head))
    assert len(set(keys)) == len(keys) == 1 + len(heads) + 7
    assert key(head) == keys[0]


def test_unknown_choices(setting):
    with pytest.raises(InvalidInputError, match="unknown solver"):
        Maps(Stage1(setting, PAIR, FEW), "closed")
    with pytest.raises(InvalidInputError, match="unknown CVAE training"):
        Conditional(setting, PAIR, "x", FEW)


def chain(setting) -> dict:
    stage1 = Stage1(setting, PAIR, FEW)
    return {
        "stage1": stage1,
        "latents": Latents(stage1, 3),
        "maps": Maps(stage1),
        "sgd": Maps(stage1, "sgd", schedule=FEW),
        "nonlinear": NonLinear(stage1, FEW),
        "head": Head(Maps(stage1), "flip_ud,rotate_cw", FEW),
        "vae": Stage1(setting, None, FEW),
        "conditional": Conditional(setting, PAIR, "conditional", FEW),
        "lavae": Conditional(setting, PAIR, "lavae", FEW),
        "joint": Joint(setting, PAIR, FEW),
    }


def tensors(found) -> list[torch.Tensor]:
    return list(found) if isinstance(found, tuple) else list(found.state_dict().values())


def test_the_stages_stand_on_each_other_and_are_found_again(setting, monkeypatch):
    made = {name: load_or_train(experiment) for name, experiment in chain(setting).items()}
    for found in made.values():
        assert not any(tensor.requires_grad for tensor in tensors(found))

    # Later stages leave encoder, native decoder and, in stage 3, the maps as they were.
    for name in ("maps", "sgd", "head"):
        assert same_weights(made[name].encoder, made["stage1"].encoder)
        assert same_weights(made[name].decoders["native"], made["stage1"].decoders["native"])
    assert same_weights(made["head"].maps, made["maps"].maps)
    assert list(made["head"].decoders) == ["native", "flip_ud,rotate_cw"]
    assert torch.equal(made["stage1"].maps.matrices, torch.eye(16).repeat(2, 1, 1))

    # Stage 2 is the exact fit of the cached latents, which are the encoder's.
    mu, logvar = made["latents"]
    assert mu.shape == logvar.shape == (3, 16, 16)
    images = variants(uint8_images(16), Pair.parse(PAIR), split="train", seed=0)
    torch.testing.assert_close(mu[2], made["stage1"].encode(images[2][:, None] / 255)[0])
    fitted = fit_exact(Moments(mu, logvar.double().exp()), (2, 4))
    torch.testing.assert_close(made["maps"].maps.matrices.data, fitted)

    monkeypatch.setattr(training, "train", lambda *a, **k: pytest.fail("trained once more"))
    for name, experiment in chain(setting).items():
        again = load_or_train(experiment)
        assert all(map(torch.equal, tensors(again), tensors(made[name])))


@pytest.mark.parametrize(
    "name", ["stage1", "sgd", "nonlinear", "head", "conditional", "lavae", "joint"]
)
def test_made_anew_it_has_the_same_bits(name, setting, monkeypatch, tmp_path):
    experiment = chain(setting)[name]
    found = load_or_train(experiment)
    torch.manual_seed(5)  # the global generator has no say
    monkeypatch.setenv("LAVAE_HOME", str(tmp_path / "another"))
    assert same_weights(load_or_train(experiment), found)


@pytest.fixture
def trained(monkeypatch):
    """The tasks that experiments hand to the loop, which does not run."""
    tasks = []
    monkeypatch.setattr(training, "train", lambda task, *a, **k: tasks.append(task) or {})
    return tasks


@pytest.mark.parametrize("name", ["sgd", "joint"])
def test_descent_starts_at_random_maps_of_the_seed(name, setting, trained):
    load_or_train(chain(setting)[name])
    module = trained[-1].module
    matrices = getattr(module, "maps", module).matrices.data
    assert torch.equal(matrices, setting.fresh(experiments._random_maps).matrices)
    assert not torch.equal(*matrices)
    assert (matrices - torch.eye(16)).norm(dim=(1, 2)).min() > 3  # the identity keeps descent


def test_what_an_experiment_was_told_reaches_its_task(setting, trained):
    stage1 = Stage1(setting, PAIR, FEW, lambda_recon=2.0, lambda_kl=0.5, antithetic=True)
    told = [
        stage1,
        Maps(stage1, "sgd", lambda_inv=0.25, schedule=FEW),
        Joint(setting, PAIR, FEW, antithetic=True),
        Conditional(setting, PAIR, "conditional", FEW, antithetic=True),
        Conditional(setting, PAIR, "lavae", FEW, antithetic=True),
    ]
    for experiment in told:
        load_or_train(experiment)
    first, maps, *others = trained
    assert first._weights == (2.0, 0.5)
    assert maps._lambda_inv == 0.25
    assert all(task._antithetic for task in (first, *others))


def test_exact_maps_are_fitted_to_the_first_originals_and_their_variants(setting, monkeypatch):
    stage1 = Stage1(setting, PAIR, FEW)
    mu, logvar = load_or_train(Latents(stage1, 3))
    monkeypatch.setattr(experiments, "N_FITTED", 12)  # of 16
    fitted = fit_exact(Moments(mu[:, :12], logvar[:, :12].double().exp()), (2, 4), 0.25)
    found = load_or_train(Maps(stage1, lambda_inv=0.25)).maps.matrices.data
    torch.testing.assert_close(found, fitted)


def test_stage_3_decodes_the_originals_latents_into_the_new_pair(setting, trained):
    experiment = chain(setting)["head"]
    base, (mu, _) = (
        load_or_train(experiment.maps),
        load_or_train(Latents(experiment.maps.stage1, 1)),
    )
    load_or_train(experiment)
    first, second = base.maps.matrices.data
    wanted = torch.cat([mu[0], mu[0] @ first, mu[0] @ second, mu[0] @ first @ second])
    torch.testing.assert_close(trained[-1]._latents, wanted)
    pair = Pair.parse(experiment.evaluated)
    images = variants(uint8_images(16), pair, split="train", seed=0)
    assert torch.equal(trained[-1]._images, images.flatten(0, 1))


def test_the_lavae_like_cvae_never_sees_the_composed_variant(setting, trained):
    load_or_train(chain(setting)["lavae"])
    images = variants(uint8_images(16), Pair.parse(PAIR), split="train", seed=0)
    assert torch.equal(trained[0]._images, images[:3])
