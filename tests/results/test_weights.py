"""The weights that come with the checkout: what is shipped, who loads it, and the command that makes it."""

import json
from types import SimpleNamespace

import pytest
import torch
from made_up import FLIPS, float_images, same_weights, spread, uint8_images

from lavae_companion import paths, profiles, store, weights
from lavae_companion.comparisons import CVAE
from lavae_companion.experiments import (
    FittedMaps,
    Setting,
    TrainedCVAE,
    TrainedVAE,
    TransferHead,
    load_or_train,
)
from lavae_companion.study import Study
from lavae_core import pretrained
from lavae_core.augmentations import Family, variants
from lavae_core.errors import InvalidInputError, StoreError
from lavae_core.models import LAVAE, NATIVE, Decoder
from lavae_core.pretrained import SHIPPED, SHIPPED_LIST, read_shipped, shipped_list
from lavae_core.training import Schedule

LISTED = shipped_list()["models"]
TARGET = Family.parse("flip_ud,flip_lr")
SCHEDULE = Schedule(epochs=1)


@pytest.fixture
def made(tmp_path, monkeypatch, home, cpu):
    """A study whose store holds untrained models, and a folder with their weights, which is the
    shipped one: of a LAVAE, a head on it, a plain VAE and a CVAE."""
    setting = Setting(seed=3, runtime=cpu)
    maps = FittedMaps(TrainedVAE(setting, FLIPS, SCHEDULE))
    head = TransferHead(maps, TARGET, SCHEDULE)
    lavae = spread(LAVAE()).requires_grad_(False)
    models = {}
    for each, model in [
        (maps, lavae),
        (head, lavae.with_head(str(TARGET), spread(Decoder(), seed=1))),
        (TrainedVAE(setting, None, SCHEDULE), spread(LAVAE(), seed=2)),
        (TrainedCVAE(setting, FLIPS, "lavae", SCHEDULE), spread(CVAE(n_conditions=3), seed=4)),
    ]:
        name = f"{each.KIND}-{store.key_of(each.spec())}"
        model.save_pretrained(paths.artifacts_dir() / name)
        (paths.artifacts_dir() / name / store.MANIFEST).write_text(
            json.dumps({"spec": each.spec()})
        )
        models[name] = model
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "an old one.safetensors").touch()
    study = SimpleNamespace(
        profile=profiles.resolve("smoke"),
        setting=setting,
        variants=lambda family: variants(uint8_images(4), family, split="test", seed=3),
    )
    monkeypatch.setattr(weights, "TOLERANCE", 1.0)  # of noise, which nothing predicts
    weights.write(study, models, folder)
    monkeypatch.setattr(pretrained, "SHIPPED", folder)
    return SimpleNamespace(
        folder=folder, study=study, maps=maps, head=head, lavae=lavae, models=models
    )


@pytest.fixture
def shipped(monkeypatch):
    monkeypatch.setenv("LAVAE_SHIPPED", "1")


@pytest.mark.parametrize("kind", ["maps", "head", "cvae", "stage1"])
def test_a_shipped_model_is_as_good_as_the_trained_one(kind, mnist, cpu):
    name = next(name for name in LISTED if name.startswith(f"{kind}-"))
    config, tensors = read_shipped(name)
    model = CVAE(n_conditions=config["n_conditions"]) if kind == "cvae" else None
    model = model or LAVAE(heads=tuple(config["heads"]))
    model.load_state_dict(tensors)
    model.about = config["about"]
    images = mnist("test").images[: weights.N_SCORED]
    study = SimpleNamespace(variants=lambda family: variants(images, family, split="test", seed=0))
    assert weights.bce(study, model) == pytest.approx(LISTED[name]["bce"]["trained"], abs=0.05)


def test_what_is_shipped_is_what_the_command_writes():
    assert all(str(family) in shipped_list()["families"] for family in weights.FAMILIES)
    names = {entry["file"] for entry in LISTED.values()} | {SHIPPED_LIST}
    assert {file.name for file in SHIPPED.iterdir()} == names
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 40e6
    for entry in LISTED.values():
        assert entry["bce"]["shipped"] == pytest.approx(entry["bce"]["trained"], abs=0.05)


def test_a_shipped_model_is_ready_to_use_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = LAVAE.shipped("rotate_cw, flip_lr")
    assert not model.training and model.about["family"] == "rotate_cw,flip_lr"
    assert not any(weight.requires_grad for weight in model.parameters())
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert model.augment(float_images(2), "L1 L2^-1").shape == (2, 1, 28, 28)


def test_networks_are_rounded_to_half_and_maps_are_not(made):
    model, trained = LAVAE.shipped("flip_lr,flip_ud"), made.lavae
    torch.testing.assert_close(model.maps.matrices, trained.maps.matrices, rtol=0, atol=0)
    torch.testing.assert_close(
        model.encoder.conv1.weight, trained.encoder.conv1.weight.half().float()
    )
    assert not torch.equal(model.encoder.conv1.weight, trained.encoder.conv1.weight)


def test_a_head_shares_what_its_lavae_has(made, shipped):
    size = {file.stem[:4]: file.stat().st_size for file in made.folder.iterdir()}
    assert size["head"] < 0.45 * size["maps"]
    model = load_or_train(made.head)
    assert not model.training and list(model.decoders) == [NATIVE, str(TARGET)]
    assert same_weights(model.encoder, LAVAE.shipped(FLIPS).encoder)
    trained = next(each for name, each in made.models.items() if name.startswith("head"))
    expected = trained.decoders[str(TARGET)].from_z.weight.half().float()
    assert torch.equal(model.decoders[str(TARGET)].from_z.weight, expected)


def test_only_shipped_models_are_used_and_none_is_trained(made, shipped, home):
    before = sorted(home.rglob("*"))
    assert same_weights(load_or_train(made.maps), LAVAE.shipped(FLIPS))
    other = FittedMaps(TrainedVAE(made.maps.setting, TARGET, SCHEDULE))
    assert store.exists("maps", made.maps.spec()) and not store.exists("maps", other.spec())
    with pytest.raises(InvalidInputError, match="flip_lr, flip_ud"):
        load_or_train(other)
    assert sorted(home.rglob("*")) == before


def test_a_study_finds_its_shipped_models_on_any_processor(shipped, home, monkeypatch):
    monkeypatch.setattr("lavae_core.runtime.native_precision", lambda device: "fp32")
    study = Study()
    for family in study.heatmap_pairs():
        assert store.exists("maps", FittedMaps(study.stage1(family)).spec())


def test_the_command_replaces_all_and_says_where_it_is_from(made):
    content = json.loads((made.folder / SHIPPED_LIST).read_text())
    files = {f"{name}.safetensors" for name in made.models}
    assert {file.name for file in made.folder.iterdir()} == {SHIPPED_LIST} | files
    assert content["provenance"]["profile"] == "smoke" and content["provenance"]["seeds"] == [3]
    assert list(content["families"]) == [str(FLIPS)]


def test_rounding_that_costs_too_much_is_refused(made, monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "TOLERANCE", -1.0)
    name = next(name for name in made.models if name.startswith("cvae"))
    with pytest.raises(StoreError, match=name):
        weights.write(made.study, [name], tmp_path / "other")


def test_what_the_papers_notebooks_loaded_is_shipped(home, monkeypatch, capsys):
    assert weights.main() == 1 and "error:" in capsys.readouterr().err  # no run yet
    folder = paths.runs_dir("quick") / "notebooks"
    folder.mkdir(parents=True)
    (folder / "03_figure_03_flips.loaded").write_text("maps-1\nmaps-1\n")
    (folder / "12_table_01_reconstruction.loaded").write_text("maps-1\ncvae-2\n")
    (folder / "14_appendix_e_other_pairs.loaded").write_text("maps-3\n")
    assert weights.loaded() == {"maps-1", "cvae-2"}


def test_what_was_asked_for_is_listed_once_it_is_asked_for(made, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_load_whole", lambda *_, **__: "loaded")
    monkeypatch.setenv("LAVAE_LOADED", str(tmp_path / "list"))
    load_or_train(made.maps)
    load_or_train(made.head)
    assert set((tmp_path / "list").read_text().split()) == {
        name for name in made.models if name.startswith(("maps", "head"))
    }


def test_what_is_wrong_is_named(made):
    with pytest.raises(InvalidInputError, match="shear_x,canny"):
        LAVAE.shipped("shear_x,canny")
    file = next(made.folder.glob("maps-*"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(StoreError, match=file.name):
        LAVAE.shipped("flip_lr,flip_ud")
    file.unlink()
    with pytest.raises(StoreError, match=file.name):
        LAVAE.shipped("flip_lr,flip_ud")
