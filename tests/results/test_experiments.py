"""Experiments: their keys, and a whole chain of stages on a few made-up images."""

import hashlib
import inspect
import shutil
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torchvision
from made_up import same_weights, uint8_images

from lavae_companion import comparisons, experiments, store
from lavae_companion.comparisons import random_maps
from lavae_companion.experiments import (
    FittedMaps,
    JointLAVAE,
    Latents,
    Setting,
    TrainedCVAE,
    TrainedNonLinearMaps,
    TrainedThroughMaps,
    TrainedVAE,
    TransferHead,
    load_or_train,
)
from lavae_companion.fingerprint import fingerprint
from lavae_companion.paper import PAIRS
from lavae_companion.profiles import PROFILES
from lavae_companion.study import Study
from lavae_core import augmentations, objectives, training
from lavae_core.augmentations import Family, variants
from lavae_core.errors import InvalidInputError
from lavae_core.latent_maps import Moments, fit_exact
from lavae_core.runtime import Runtime
from lavae_core.training import Schedule

FEW = Schedule(epochs=1, batch=8, lr=1e-3, warmup=2)
PAIR = Family.parse("flip_lr,rotate_cw")
OTHER = Family.parse("flip_ud,rotate_cw")
SHEAR_CANNY = Family.parse("shear_x,canny")


def key(experiment) -> str:
    return store.key_of(experiment.spec())


# --- keys of the quick profile -------------------------------------------------------------------

# A change of any of them makes every user train again, and is meant only together with a VERSION.
KEYS = {  # bf16, fp32
    "vae":                                 ("c26b0bafe2828af2", "0bb972b612ce8b2d"),
    "stage1 flip_lr,flip_ud":              ("5f8a045caa49a1e2", "ee97abb27b86fff5"),
    "start flip_lr,flip_ud":               ("a14e755b09dff2ca", "0f97f0952b73f711"),
    "maps flip_lr,flip_ud":                ("2b130331c56dedea", "5c036d28317a855c"),
    "sgd maps flip_lr,flip_ud":            ("2d23b5cbb5f3bec7", "9854e525df07f31f"),
    "latents 1 flip_lr,flip_ud":           ("df3cb3e0233d005c", "95b1d3bb3e47ba9d"),
    "latents 3 flip_lr,flip_ud":           ("a3608a66ac3f70e5", "c926e0438c163d41"),
    "nonlinear flip_lr,flip_ud":           ("4a88a0a1de0714a7", "3b6cc287ea6069eb"),
    "conditional cvae flip_lr,flip_ud":    ("8431d709da81a6ed", "e08dcf116b23115f"),
    "lavae cvae flip_lr,flip_ud":          ("3a3eca771e3b5615", "12a566eebf3eddb2"),
    "joint flip_lr,flip_ud":               ("777308b274b5f388", "29659769fb8f66ca"),
    "stage1 rotate_cw,flip_lr":            ("07051b1dd0063c28", "9df0a5baca2312d3"),
    "start rotate_cw,flip_lr":             ("d1b482c3e1b5d3c6", "bfe39c074b3b1a61"),
    "maps rotate_cw,flip_lr":              ("eca27ef68419a283", "75a70707f99358e7"),
    "sgd maps rotate_cw,flip_lr":          ("9110bdd011a5c748", "e9e9dd9fd35aaad1"),
    "latents 1 rotate_cw,flip_lr":         ("88b81d0f6ed962a0", "0184cc33c7bb33c9"),
    "latents 3 rotate_cw,flip_lr":         ("ac6f00cbd3bee7ba", "c1dbd00b5cb538ac"),
    "nonlinear rotate_cw,flip_lr":         ("24fd2433f1217783", "2be33c7231214be7"),
    "conditional cvae rotate_cw,flip_lr":  ("539087b5ad06cc6a", "5aa2bd3ca64779b3"),
    "lavae cvae rotate_cw,flip_lr":        ("2f3c16fb035d52e7", "0258b38c0f4fcf9f"),
    "joint rotate_cw,flip_lr":             ("51b039c334037cc0", "9dc3cdbd98cac13e"),
    "head flip_lr,flip_ud to rotate_cw,flip_lr": ("87ec6687c08a2441", "2f55cb1176e95940"),
}  # fmt: skip
# SHA-256 of all 240 kinds and keys, sorted.
ALL_FOLDERS = "f233784dacd6dd23625255c9e2d0eba198d730cad2b9ac64ab6bb22b0dbbf744"

# What the augmentations do depends on the libraries: with others, keys are others by design.
LIBRARIES = {"opencv": "5.0.0", "torchvision": "0.29.1"}
FINGERPRINTS = {
    "canny": "fe1ec5b4a8337163",
    "edge_detect": "8da8644eb1f0bc07",
    "flip_lr": "0b53d56e693ea8f5",
    "flip_ud": "193a9dc2f3e44bc9",
    "mini_image": "de5906d47c0b5c2a",
    "rotate_ccw": "2a5c605a115492e4",
    "rotate_cw": "f585d5a4285a7542",
    "shear_x": "b9f5ef1c9f4753b8",
}


def quick_experiments(precision: str) -> dict[str, experiments.Experiment]:
    """Every experiment of the notebooks in the quick profile, and all heads of the paper's pairs."""
    profile = PROFILES["quick"]
    study = Study.of(profile, Setting(0, Runtime("cpu", precision), profile.n_train))
    setting, antithetic = study.setting, profile.antithetic
    made = {"vae": study.stage1(None)}
    for pair in PAIRS:
        stage1 = study.stage1(pair)
        made |= {
            f"stage1 {pair}": stage1,
            f"start {pair}": stage1.start,
            f"maps {pair}": FittedMaps(stage1),
            f"sgd maps {pair}": FittedMaps(stage1, "sgd", 1.0, profile.maps),
            f"latents 1 {pair}": Latents(stage1, 1),
            f"latents 3 {pair}": Latents(stage1, 3),
            f"nonlinear {pair}": TrainedNonLinearMaps(stage1, profile.maps),
            f"joint {pair}": JointLAVAE(setting, pair, profile.joint, antithetic, stage1.start),
        }
        for how in experiments.CVAE_TRAININGS:
            schedule = profile.cvae_lavae if how == "lavae" else profile.cvae
            cvae = TrainedCVAE(setting, pair, how, schedule, antithetic)
            made[f"{how} cvae {pair}"] = cvae
        for target in PAIRS:
            head = TransferHead(FittedMaps(stage1), target, profile.head)
            made[f"head {pair} to {target}"] = head
    return made


def test_the_keys_of_the_quick_profile_are_those_of_the_models_so_far(monkeypatch):
    monkeypatch.setattr(experiments, "fingerprint", FINGERPRINTS.__getitem__)
    keys, folders = {}, set()
    for precision in ("bf16", "fp32"):
        made = quick_experiments(precision)
        keys[precision] = {name: key(experiment) for name, experiment in made.items()}
        folders |= {f"{made[name].KIND}-{digest}" for name, digest in keys[precision].items()}
    assert {name: (keys["bf16"][name], keys["fp32"][name]) for name in KEYS} == KEYS
    assert len(folders) == 240
    assert hashlib.sha256("\n".join(sorted(folders)).encode()).hexdigest() == ALL_FOLDERS


@pytest.mark.skipif(
    {"opencv": cv2.__version__, "torchvision": torchvision.__version__.split("+")[0]} != LIBRARIES,
    reason="other versions of OpenCV or torchvision than the pinned results are of",
)
def test_the_augmentations_are_those_of_the_keys():
    assert {name: fingerprint(name) for name in FINGERPRINTS} == FINGERPRINTS


# --- what is in a key ----------------------------------------------------------------------------


def test_every_choice_is_in_the_key(setting, monkeypatch):
    stage1 = TrainedVAE(setting, PAIR, FEW)
    head = TransferHead(FittedMaps(stage1), SHEAR_CANNY, FEW)
    settings = [
        replace(setting, seed=1),
        replace(setting, runtime=Runtime("cpu", "bf16")),
        replace(setting, runtime=Runtime("cuda", "fp32")),
        replace(setting, n_train=10),
        replace(setting, dataset="fashion"),
        replace(setting, latent_dim=8),
    ]
    stages = [replace(stage1, setting=each) for each in settings]
    stages += [
        replace(stage1, family=Family.parse("rotate_cw,flip_lr")),
        replace(stage1, schedule=replace(FEW, epochs=2)),
        replace(stage1, schedule=replace(FEW, decay="constant")),
        replace(stage1, lambda_recon=2.0),
        replace(stage1, lambda_kl=5.0),
        replace(stage1, antithetic=True),
    ]
    heads = [TransferHead(FittedMaps(stage), SHEAR_CANNY, FEW) for stage in stages]
    heads += [
        replace(head, target=Family.parse("canny,shear_x")),
        replace(head, schedule=replace(FEW, lr=0.1)),
        replace(head, maps=replace(head.maps, lambda_inv=0.0)),
        replace(head, maps=replace(head.maps, solver="sgd", schedule=FEW)),
    ]
    keys = [key(head), *map(key, heads)]
    with monkeypatch.context() as patch:
        patch.setattr(experiments, "THREADS", 1)
        keys.append(key(head))
    for name in ("flip_lr", "canny"):  # of the trained pair, and of the head's own
        with monkeypatch.context() as patch:
            changed = replace(
                augmentations.get(name), function=lambda images, *_: 255 - images.flip(-1)
            )
            patch.setitem(augmentations.AUGMENTATIONS, name, changed)
            keys.append(key(head))
    for stage in (TrainedVAE, Latents, FittedMaps, TransferHead):
        with monkeypatch.context() as patch:  # a later version reaches all that stand on it
            patch.setattr(stage, "VERSION", 99)
            keys.append(key(head))
    assert len(set(keys)) == len(keys) == 1 + len(heads) + 7
    assert key(head) == keys[0]


def test_the_words_of_a_family_are_in_the_key(setting):
    texts = ("flip_lr,rotate_cw", "flip_lr,rotate_cw: A1, A2", "flip_lr,rotate_cw: A2, A1")
    families = [None, *map(Family.parse, texts)]
    assert len({key(TrainedVAE(setting, family, FEW)) for family in families}) == 4
    assert TrainedVAE(setting, families[2], FEW).spec()["pair"] == texts[1]


def test_a_data_set_of_ones_own_is_in_the_key_by_its_content(setting, tmp_path):
    arrays = {f"{split}_images": uint8_images(3).numpy() for split in ("train", "test")}
    arrays |= {f"{split}_labels": np.arange(3) for split in ("train", "test")}
    np.savez(tmp_path / "one.npz", **arrays)
    shutil.copy(tmp_path / "one.npz", tmp_path / "two.npz")
    np.savez(tmp_path / "three.npz", **arrays | {"test_labels": np.ones(3, int)})
    one, two, three = (
        TrainedVAE(replace(setting, dataset=str(tmp_path / f"{name}.npz")), PAIR, FEW)
        for name in ("one", "two", "three")
    )
    assert key(one) == key(two) != key(three)
    assert str(tmp_path) not in str(one.spec())  # no machine's path


REFUSED = {
    "solver": (lambda setting, stage1: FittedMaps(stage1, "closed"), "'closed'"),
    "lambda_inv": (lambda setting, stage1: FittedMaps(stage1, lambda_inv=-1.0), "-1.0"),
    "CVAE training": (lambda setting, stage1: TrainedCVAE(setting, PAIR, "x", FEW), "'x'"),
    "lambda_kl": (lambda setting, stage1: TrainedVAE(setting, PAIR, FEW, 1.0, "2"), "'2'"),
    "lambda_recon": (lambda setting, stage1: replace(stage1, lambda_recon=-2.0), "-2.0"),
    "data set": (lambda setting, stage1: replace(setting, dataset="mnits"), "'mnits'"),
    "latent_dim": (lambda setting, stage1: replace(setting, latent_dim=0), "0"),
    "fewer words of a head": (
        lambda setting, stage1: TransferHead(
            FittedMaps(stage1), Family.parse("flip_ud,rotate_cw: A1"), FEW
        ),
        "flip_ud,rotate_cw: A1",
    ),
    "other words of a head": (
        lambda setting, stage1: TransferHead(
            FittedMaps(stage1), Family.parse("flip_ud,rotate_cw: A1, A2, A2 A1"), FEW
        ),
        "flip_ud,rotate_cw: A1, A2, A2 A1",
    ),
    "weight": (lambda setting, stage1: TrainedThroughMaps(setting, PAIR, FEW, weight=-1.0), "-1.0"),
    "share of the gradient": (
        lambda setting, stage1: TrainedThroughMaps(setting, PAIR, FEW, gradient="all"),
        "'all'",
    ),
    "joint without a single variant": (
        lambda setting, stage1: JointLAVAE(setting, Family.parse("flip_lr,canny: A1"), FEW),
        "A2",
    ),
}


@pytest.mark.parametrize(("make", "value"), REFUSED.values(), ids=REFUSED)
def test_choices_that_are_refused(make, value, setting):
    with pytest.raises(InvalidInputError, match=value):
        make(setting, TrainedVAE(setting, PAIR, FEW))


# --- the stages ----------------------------------------------------------------------------------


def chain(setting) -> dict:
    stage1 = TrainedVAE(setting, PAIR, FEW)
    return {
        "stage1": stage1,
        "latents": Latents(stage1, 3),
        "maps": FittedMaps(stage1),
        "sgd": FittedMaps(stage1, "sgd", schedule=FEW),
        "nonlinear": TrainedNonLinearMaps(stage1, FEW),
        "head": TransferHead(FittedMaps(stage1), OTHER, FEW),
        "vae": TrainedVAE(setting, None, FEW),
        "conditional": TrainedCVAE(setting, PAIR, "conditional", FEW),
        "lavae": TrainedCVAE(setting, PAIR, "lavae", FEW),
        "joint": JointLAVAE(setting, PAIR, FEW),
        "through": TrainedThroughMaps(setting, PAIR, FEW),
        "maps through": FittedMaps(TrainedThroughMaps(setting, PAIR, FEW), "means", 0.0),
    }


def tensors(result) -> list[torch.Tensor]:
    return list(result) if isinstance(result, tuple) else list(result.state_dict().values())


def test_the_stages_stand_on_each_other_and_are_trained_once(setting, monkeypatch):
    made = {name: load_or_train(experiment) for name, experiment in chain(setting).items()}
    for result in made.values():
        assert not any(tensor.requires_grad for tensor in tensors(result))

    # Later stages leave encoder, native decoder and, in stage 3, the maps as they were.
    assert same_weights(made["maps through"].encoder, made["through"].encoder)
    for name in ("maps", "sgd", "head"):
        assert same_weights(made[name].encoder, made["stage1"].encoder)
        assert same_weights(made[name].decoders["native"], made["stage1"].decoders["native"])
    assert same_weights(made["head"].maps, made["maps"].maps)
    assert list(made["head"].decoders) == ["native", str(OTHER)]
    assert torch.equal(made["stage1"].maps.matrices, torch.eye(16).repeat(2, 1, 1))

    # Stage 2 is the exact fit of the cached latents, which are the encoder's.
    mu, logvar = made["latents"]
    assert mu.shape == logvar.shape == (3, 16, 16)
    images = variants(uint8_images(16), PAIR, split="train", seed=0)
    torch.testing.assert_close(mu[2], made["stage1"].encode(images[2][:, None] / 255)[0])
    fitted = fit_exact(Moments(mu, logvar.double().exp()), (2, 4))
    torch.testing.assert_close(made["maps"].maps.matrices.data, fitted)

    # Training through the maps leaves identities, and "means" knows no variance.
    assert torch.equal(made["through"].maps.matrices, torch.eye(16).repeat(2, 1, 1))
    mu = torch.stack([made["through"].encode(each[:, None] / 255)[0] for each in images[:3]])
    fitted = fit_exact(Moments(mu, torch.zeros_like(mu)), (2, 4), 0.0)
    torch.testing.assert_close(
        made["maps through"].maps.matrices.data, fitted, rtol=0.01, atol=0.01
    )

    monkeypatch.setattr(training, "train", lambda *a, **k: pytest.fail("trained once more"))
    for name, experiment in chain(setting).items():
        again = load_or_train(experiment)
        assert all(map(torch.equal, tensors(again), tensors(made[name])))


@pytest.mark.parametrize(
    "name", ["stage1", "sgd", "nonlinear", "head", "conditional", "lavae", "joint", "through"]
)
def test_trained_in_another_home_it_has_the_same_bits(name, setting, monkeypatch, tmp_path):
    experiment = chain(setting)[name]
    first = load_or_train(experiment)
    torch.manual_seed(5)  # the global generator has no influence
    monkeypatch.setenv("LAVAE_HOME", str(tmp_path / "another"))
    assert same_weights(load_or_train(experiment), first)


@pytest.fixture
def asked(monkeypatch):
    """The arguments of the objectives that experiments hand to the loop, which does not run."""
    made = []

    def recorder(kind):
        def build(*values, **options):
            bound = inspect.signature(kind).bind(*values, **options)
            bound.apply_defaults()
            made.append(SimpleNamespace(**bound.arguments))
            return kind(*values, **options)

        return build

    for module in (objectives, comparisons, experiments):
        for name, kind in vars(module).copy().items():
            if name.endswith("Objective"):
                monkeypatch.setattr(module, name, recorder(kind))
    monkeypatch.setattr(training, "train", lambda *a, **k: {})
    return made


@pytest.mark.parametrize("name", ["sgd", "joint"])
def test_descent_starts_at_random_maps_of_the_seed(name, setting, asked):
    load_or_train(chain(setting)[name])
    maps = asked[-1].maps if name == "sgd" else asked[-1].model.maps
    assert same_weights(maps, setting.fresh(random_maps, n_maps=2))
    other = replace(setting, seed=1).fresh(random_maps, n_maps=2)
    assert not same_weights(maps, other)


def test_what_an_experiment_holds_reaches_its_objective(setting, asked):
    stage1 = TrainedVAE(setting, PAIR, FEW, lambda_recon=2.0, lambda_kl=0.5, antithetic=True)
    through = TrainedThroughMaps(setting, PAIR, FEW, True, None, weight=3.0, gradient=0.5)
    for experiment in [
        stage1,
        FittedMaps(stage1, "sgd", lambda_inv=0.25, schedule=FEW),
        through,
        JointLAVAE(setting, PAIR, FEW, antithetic=True),
        TrainedCVAE(setting, PAIR, "conditional", FEW, antithetic=True),
        TrainedCVAE(setting, PAIR, "lavae", FEW, antithetic=True),
    ]:
        load_or_train(experiment)
    first, maps, mapped, *others = asked
    assert (mapped.weight, mapped.gradient, mapped.antithetic) == (3.0, 0.5, True)
    assert first.weights == (2.0, 0.5)
    assert (maps.lambda_inv, maps.orders) == (0.25, (2, 4))
    assert all(each.antithetic for each in (first, *others))


def test_exact_maps_are_fitted_to_the_first_originals_and_their_variants(setting, monkeypatch):
    stage1 = TrainedVAE(setting, PAIR, FEW)
    mu, logvar = load_or_train(Latents(stage1, 3))
    monkeypatch.setattr(experiments, "N_FITTED", 12)  # of 16
    fitted = fit_exact(Moments(mu[:, :12], logvar[:, :12].double().exp()), (2, 4), 0.25)
    matrices = load_or_train(FittedMaps(stage1, lambda_inv=0.25)).maps.matrices.data
    torch.testing.assert_close(matrices, fitted)


def test_stage_3_decodes_the_mapped_originals_into_the_new_family(setting, asked):
    experiment = chain(setting)["head"]
    base = load_or_train(experiment.maps)
    mu, _ = load_or_train(Latents(experiment.maps.stage1, 1))
    load_or_train(experiment)
    first, second = base.maps.matrices.data
    expected = torch.stack([mu[0], mu[0] @ first, mu[0] @ second, mu[0] @ first @ second])
    torch.testing.assert_close(asked[-1].latents, expected)
    images = variants(uint8_images(16), OTHER, split="train", seed=0)
    assert torch.equal(asked[-1].images, images)


def test_the_lavae_style_cvae_never_sees_the_composed_variant(setting, asked):
    load_or_train(chain(setting)["lavae"])
    images = variants(uint8_images(16), PAIR, split="train", seed=0)
    assert torch.equal(asked[0].images, images[:3])


def test_joint_training_finds_the_single_variants_among_the_words(setting, asked):
    family = Family.parse("flip_lr,rotate_cw: A2, A1 A2, A1")
    load_or_train(JointLAVAE(setting, family, FEW))
    assert [asked[0].images[place].tolist() for place in asked[0].singles] == [
        augmentations.apply(name, uint8_images(16), split="train").tolist()
        for name in family.generators
    ]
