"""Bad input of every kind: its own line, the documented exception or exit code, the store as it was.

One row for each input: as a parameter of a notebook, through the Python API (test_cli.py has the
command line). Modules that have tables of their own (test_data, test_augmentations, ...) are not repeated.
"""

import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from made_up import float_images, normal, uint8_images
from torch import Tensor

from lavae_companion import data, figures, outputs, paths
from lavae_companion import store as artifacts
from lavae_companion.comparisons import CVAE, NonLinearMaps
from lavae_companion.data import DataError
from lavae_companion.experiments import FittedMaps, Setting, TrainedVAE, load_or_train
from lavae_companion.profiles import PROFILES
from lavae_companion.results import geometry, scores, transfer
from lavae_companion.study import Study
from lavae_core import augmentations
from lavae_core.augmentations import Family
from lavae_core.errors import InvalidInputError, LavaeError, StoreError
from lavae_core.models import LAVAE, encode
from lavae_core.runtime import Runtime
from lavae_core.training import Schedule
from lavae_core.transforms import LatentAugmentation

FLIPS = "flip_lr,flip_ud"
NAN = float("nan")


def contents(folder: Path) -> dict[str, str]:
    """Every file and folder below `folder`, with a hash of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in sorted(folder.rglob("*"))
    }


def idx(values: Tensor) -> bytes:
    """An IDX file of uint8 values, as MNIST's are."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.dim()]) + sizes + values.numpy().tobytes()


@pytest.fixture
def mnist(tmp_path, monkeypatch) -> Path:
    """A user's data folder: 20 images for MNIST, of the digits 0 to 9 twice."""
    images, labels = uint8_images(20), torch.arange(20, dtype=torch.uint8) % 10
    files = {name: idx(images if "idx3" in name else labels) for name in data.FILES}
    known = [hashlib.sha256(content).hexdigest() for content in files.values()]
    monkeypatch.setitem(data.KNOWN, "mnist", replace(data.KNOWN["mnist"], sha256=known))
    folder = tmp_path / "data"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("LAVAE_DATA", str(folder))
    return folder


@pytest.fixture
def store(home, mnist, monkeypatch) -> Path:
    """A LAVAE_HOME with one finished artifact; afterwards all in it must be as it was."""
    monkeypatch.setenv("LAVAE_DATA", str(mnist))  # `home` removed it
    whole = replace(PROFILES["smoke"], n_train=None, n_test=None)
    monkeypatch.setitem(PROFILES, "smoke", whole)

    def make(folder: Path, checkpoint: Path) -> dict:
        (folder / "weights").write_bytes(b"x" * 100)
        return {}

    artifacts.get_or_make("kind", {}, make, lambda folder: folder)
    before = contents(home)
    yield home
    assert contents(home) == before


def one_line(text: str, expected: str) -> None:
    assert "\n" not in text and len(text) < 400, text
    assert re.search(expected, text), text


# --- parameters of the notebooks -------------------------------------------------------------------


def smoke() -> Study:
    return Study("smoke")


def recursion(word: str = "L1", steps: object = 3, count: int = 2):
    return scores.recursion(LAVAE(), uint8_images(count), word, steps)


PARAMETERS: dict[str, tuple[Callable[[], object], str]] = {
    "profile: unknown": (lambda: Study("fast"), "'fast'"),
    "profile: empty": (lambda: Study(""), "''"),
    "profile: a number": (lambda: Study(0), "profile 0"),
    "profile: a list": (lambda: Study(["smoke"]), r"'smoke'"),
    "seed: negative": (lambda: Study("smoke", -1), "-1"),
    "seed: a fraction": (lambda: Study("smoke", 0.5), "0.5"),
    "seed: text": (lambda: Study("smoke", "one"), "'one'"),
    "seed: a truth": (lambda: Study("smoke", True), "True"),
    "seed: too large": (lambda: Study("smoke", 2**32), "4294967296"),
    "seed: a list": (lambda: Study("smoke", [1]), r"\[1\]"),
    "device: unknown": (lambda: Study("smoke", 0, "gpu"), "'gpu'"),
    "device: empty": (lambda: Study("smoke", 0, ""), "''"),
    "device: a number": (lambda: Study("smoke", 0, 0), "unknown device 0; allowed: cpu"),
    "device: known to torch only": (
        lambda: Study("smoke", 0, "meta"), "'meta'"
    ),
    "device: not there": (lambda: Study("smoke", 0, "cuda:63"), "'cuda:63'"),
    "pair: unknown name": (lambda: smoke().lavae("flip_lr,twirl"), "'twirl'"),
    "family: empty": (lambda: smoke().variants(""), "''"),
    "family: unknown names": (lambda: smoke().cvae("a,b,c", "lavae"), "'a'"),
    "family: a list": (lambda: smoke().joint(["flip_lr", "flip_ud"]), r"\['flip_lr', 'flip_ud'\]"),
    "family: None": (lambda: smoke().transfer(FLIPS, None), "None"),
    "family: a semicolon": (lambda: smoke().nonlinear("flip_lr;flip_ud"), "'flip_lr;flip_ud'"),
    "family: no word": (lambda: smoke().lavae("flip_lr:"), "''"),
    "family: an unknown letter": (lambda: smoke().lavae("flip_lr: A2"), "'A2'"),
    "family: twice the same": (lambda: smoke().lavae("flip_lr: A1 A1, A1^2"), "'A1 A1' and 'A1.2'"),
    "family: other words": (lambda: smoke().transfer(FLIPS, "flip_lr: A1"), "flip_lr: A1|'A1'"),
    "how: unknown": (lambda: smoke().cvae(FLIPS, "both"), "'both'"),
    "solver: unknown": (lambda: smoke().lavae(FLIPS, "adam"), "'adam'"),
    "lambda_inv: negative": (lambda: smoke().lavae(FLIPS, "exact", -1), "-1"),
    "lambda_inv: text": (lambda: smoke().lavae(FLIPS, "exact", "1"), "'1'"),
    "lambda_inv: NaN": (lambda: smoke().lavae(FLIPS, "exact", NAN), "nan"),
    "digit: unknown": (lambda: smoke().examples([10]), "10"),
    "digit: text": (lambda: smoke().examples(["4"]), "'4'"),
    "digit: a list": (lambda: smoke().examples([[4]]), r"\[4\]"),
    "digits: no list": (lambda: smoke().examples(4), r"4"),
    "digits: too many": (lambda: smoke().examples([4] * 3), "only 2 test images show a 4"),
    "digits: none": (lambda: figures.digit_rows({"x": uint8_images(0)}, "t"), "at least one"),
    "n_pairs: too few": (lambda: smoke().heatmap_pairs(1), "1"),
    "n_pairs: too many": (lambda: smoke().heatmap_pairs(8), "8"),
    "n_pairs: a fraction": (lambda: smoke().heatmap_pairs(2.0), "2.0"),
    "n_pairs: text": (lambda: smoke().heatmap_pairs("4"), "'4'"),
    "word: unknown letter": (lambda: recursion("L3"), "'L3'"),
    "word: bad power": (lambda: recursion("L1^x"), r"'L1\^x'"),
    "word: a number": (lambda: recursion(1), "1"),
    "steps: negative": (lambda: recursion(steps=-1), "-1"),
    "steps: a fraction": (lambda: recursion(steps=2.5), "2.5"),
    "steps: text": (lambda: recursion(steps="7"), "'7'"),
    "steps: too few to compare": (
        lambda: scores.drift(recursion(steps=2)[0]),
        "2",
    ),
    "n_images: none": (lambda: recursion(count=0), "no images to start from; .* at least one"),
    "steps: no interpolation": (
        lambda: geometry.interpolate(normal(2, 16), 1),
        "1",
    ),
    "ends: one digit": (lambda: geometry.interpolate(normal(1, 16), 5), "1"),
    "word: a huge power": (lambda: recursion("L1^9999999"), "powers .* -1000 to 1000: L1.9999999"),
    "data set: unknown": (
        lambda: Setting(0, None, dataset="x"), "'x'"
    ),
    "coverage: none": (lambda: geometry.bounding_box(normal(9, 16), 0), "0"),
    "coverage: 90": (lambda: geometry.bounding_box(normal(9, 16), 90), "90"),
    "coverage: NaN": (lambda: geometry.bounding_box(normal(9, 16), NAN), "nan"),
    "coverage: text": (lambda: geometry.bounding_box(normal(9, 16), "a"), "'a'"),
    "methods: unknown": (
        lambda: geometry.project(np.zeros((9, 16)), "UMAP", 0),
        "'UMAP'",
    ),
    "methods: none": (lambda: figures.projections({}, [], "t"), "projections"),
    "separability: unknown": (
        lambda: transfer.rank_correlation(pd.DataFrame(), "linear"),
        "'linear'",
    ),
    "pairs: none, scores": (lambda: scores.side_by_side({}), "no scores to compare"),
    "latent_dim: zero": (lambda: LAVAE(latent_dim=0), "0"),
    "latent_dim: text": (lambda: LAVAE(latent_dim="16"), "'16'"),
    "n_maps: negative": (lambda: LAVAE(n_maps=-1), "-1"),
}  # fmt: skip


@pytest.mark.parametrize(("use", "said"), PARAMETERS.values(), ids=PARAMETERS)
def test_notebook_parameter(store, use, said):
    with pytest.raises(InvalidInputError) as caught:
        use()
    one_line(str(caught.value), said)


def test_an_empty_table_is_not_written(home):
    with pytest.raises(InvalidInputError, match="x"):
        smoke().save_table(pd.DataFrame(), "x")
    assert list(outputs.folder().iterdir()) == []


def test_a_wrong_parameter_by_papermill_is_one_line(store, tmp_path):
    kinds = nbformat.v4
    cells = [
        kinds.new_code_cell("pair = 'flip_lr,flip_ud'", metadata={"tags": ["parameters"]}),
        kinds.new_code_cell(
            "from lavae_companion.study import Study\nstudy = Study('smoke', 0, 'cpu')"
        ),
        kinds.new_code_cell("study.lavae(pair)"),
    ]
    nbformat.write(kinds.new_notebook(cells=cells), tmp_path / "in.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb", "-k", "python3", "-l", "python",
         "-p", "pair", "flip_lr,twirl"],
        cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "IPYTHONDIR": str(tmp_path), "JUPYTER_PREFER_ENV_PATH": "1"},
    )  # fmt: skip
    assert done.returncode != 0
    last = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[-1]
    (output,) = [each for each in last.outputs if each.output_type == "error"]
    assert output.ename == "InvalidInputError"
    (shown,) = output.traceback
    one_line(shown, "'twirl'")


# --- the Python API --------------------------------------------------------------------------------


def saved(model: torch.nn.Module, folder: Path, **files: bytes) -> str:
    model.save_pretrained(folder)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    return str(folder)


def damaged_data(folder: Path, name: str, content: bytes) -> data.ImageSet:
    for path in folder.glob("train-images*"):
        path.unlink()
    (folder / name).write_bytes(content)
    return data.load("train")


def singular() -> LAVAE:
    model = LAVAE()
    model.maps.matrices.data[1, :, 0] = 0
    return model


def stage1(**changes) -> TrainedVAE:
    setting = Setting(0, Runtime("cpu", "fp32"))
    return TrainedVAE(setting, Family.parse(FLIPS), replace(PROFILES["smoke"].base, **changes))


IMAGES_FILE = "train-images-idx3-ubyte"
API: dict[str, tuple[Callable[[Path], object], type[LavaeError], str]] = {
    # name: (what is done with a folder of MNIST, exception, message)
    "images with NaN": (
        lambda _: LAVAE().augment(torch.full((1, 1, 28, 28), NAN), "L1"),
        InvalidInputError, r"must be in \[0, 1\] without NaN",
    ),
    "images above 1": (
        lambda _: LAVAE().augment(float_images(1) * 255, "L1"),
        InvalidInputError, r"must be in \[0, 1\].*divide uint8 by 255",
    ),
    "images of uint8": (
        lambda _: LAVAE().augment(uint8_images(1)[:, None], "L1"),
        InvalidInputError, "torch.uint8",
    ),
    "images of 32 pixels": (
        lambda _: LAVAE().augment(torch.zeros(1, 1, 32, 32), "L1"),
        InvalidInputError, r"\(1, 1, 32, 32\)",
    ),
    "floats to encode": (
        lambda _: encode(LAVAE(), float_images(2).squeeze(1)),
        InvalidInputError, r"torch.float32",
    ),
    "a channel to encode": (
        lambda _: encode(LAVAE(), uint8_images(2)[:, None]),
        InvalidInputError, r".*\(2, 1, 28, 28\)",
    ),
    "floats to recursion": (
        lambda _: scores.recursion(LAVAE(), float_images(2).squeeze(1), "L1", 2),
        InvalidInputError, "must be torch.uint8",
    ),
    "floats to augment": (
        lambda _: augmentations.apply("flip_lr", float_images(2).squeeze(1)),
        InvalidInputError, "images must be torch.uint8 .*torch.float32",
    ),
    "an unknown decoder head": (
        lambda _: LAVAE().augment(float_images(1), "", "other"),
        InvalidInputError, "'other'",
    ),
    "the inverse of a singular map": (
        lambda _: singular().augment(float_images(1), "L2^-1"),
        InvalidInputError, "latent map L2 is singular: it has no inverse",
    ),
    "the inverse of a non-linear map": (
        lambda _: NonLinearMaps()(normal(1, 16), "L1^-1"),
        InvalidInputError, "L1 is non-linear: it has no inverse",
    ),
    "a transform of another model": (
        lambda _: LatentAugmentation(CVAE(), "L1"),
        InvalidInputError, "CVAE",
    ),
    "a CVAE without conditions": (
        lambda _: CVAE(n_conditions=0), InvalidInputError, "0",
    ),
    "rows of different lengths": (
        lambda _: figures.digit_rows({"a": uint8_images(2), "b": uint8_images(3)}, "t"),
        InvalidInputError, "2, 3",
    ),
    "no samples": (
        lambda _: geometry.sample_box(normal(16), normal(16), 0, torch.Generator()),
        InvalidInputError, "0",
    ),
    "fewer latents than variants": (
        lambda _: geometry.variant_latents(LAVAE(), Family.parse(FLIPS), uint8_images(4, 2), 3),
        InvalidInputError, "3",
    ),
    "no epochs": (lambda _: Schedule(0), InvalidInputError, "0"),
    "epochs without end": (
        lambda _: Schedule(float("inf")), InvalidInputError, "inf",
    ),
    "a batch of none": (lambda _: stage1(batch=0), InvalidInputError, "0"),
    "half an image": (lambda _: stage1(batch=0.5), InvalidInputError, "0.5"),
    "a negative learning rate": (
        lambda _: stage1(lr=-1e-3), InvalidInputError, "-0.001",
    ),
    "a learning rate of NaN": (
        lambda _: stage1(lr=NAN), InvalidInputError, "nan",
    ),
    "a negative warm-up": (
        lambda _: stage1(warmup=-1), InvalidInputError, "-1",
    ),
    "an unknown decay": (
        lambda _: stage1(decay="step"),
        InvalidInputError, "'step'",
    ),
    "a negative loss weight": (
        lambda _: replace(stage1(), lambda_kl=-1.0),
        InvalidInputError, "-1.0",
    ),
    "an unknown solver": (
        lambda _: load_or_train(FittedMaps(stage1(), "adam")), InvalidInputError, "'adam'",
    ),
    "an unknown data set": (
        lambda _: data.load("train", dataset="cifar10"),
        InvalidInputError, "'cifar10'",
    ),
    "an unknown split": (
        lambda _: data.load("valid"), InvalidInputError, "'valid'",
    ),
    "more images than there are": (
        lambda _: data.load("train", limit=21), InvalidInputError, "1 to 20, got 21",
    ),
    "no images": (
        lambda _: data.load("train", limit=0), InvalidInputError, "1 to 20, got 0",
    ),
    "a truncated archive": (
        lambda folder: damaged_data(
            folder, f"{IMAGES_FILE}.gz", gzip.compress(idx(uint8_images(20)))[:-99]
        ),
        DataError, "train-images-idx3-ubyte.gz",
    ),
    "an archive that is none": (
        lambda folder: damaged_data(folder, f"{IMAGES_FILE}.gz", b"<html>not found</html>"),
        DataError, "train-images-idx3-ubyte.gz",
    ),
    "an archive that grows": (
        lambda folder: damaged_data(folder, f"{IMAGES_FILE}.gz", gzip.compress(bytes(50 * 10**6))),
        DataError, "train-images-idx3-ubyte.gz",
    ),
    "images of someone else": (
        lambda folder: damaged_data(folder, IMAGES_FILE, idx(uint8_images(20, seed=1))),
        DataError, "train-images-idx3-ubyte",
    ),
    "pretrained: another class": (
        lambda folder: LAVAE.from_pretrained(saved(CVAE(), folder / "m")),
        StoreError, "holds no LAVAE of this shape: ",
    ),
    "pretrained: another shape": (
        lambda folder: LAVAE.from_pretrained(
            saved(LAVAE(latent_dim=8), folder / "m", config_json=b'{"latent_dim": 16}')
        ),
        StoreError, "holds no LAVAE of this shape: .*size mismatch",
    ),
    "pretrained: a hostile size": (
        lambda folder: LAVAE.from_pretrained(
            saved(LAVAE(), folder / "m", config_json=b'{"latent_dim": -16}')
        ),
        StoreError, "holds no LAVAE of this shape: latent_dim must",
    ),
    "pretrained: no JSON": (
        lambda folder: LAVAE.from_pretrained(saved(LAVAE(), folder / "m", config_json=b"{")),
        StoreError, "holds no LAVAE of this shape: Expecting",
    ),
    "pretrained: a list": (
        lambda folder: CVAE.from_pretrained(saved(CVAE(), folder / "m", config_json=b"[16]")),
        StoreError, "holds no CVAE of this shape: ",
    ),
    "pretrained: no weights": (
        lambda folder: LAVAE.from_pretrained(
            saved(LAVAE(), folder / "m", model_safetensors=b"pickle")
        ),
        StoreError, "holds no LAVAE of this shape: ",
    ),
    "pretrained: no folder": (
        lambda folder: LAVAE.from_pretrained(str(folder / "nothing here")),
        StoreError, "nothing here",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("use", "error", "said"), API.values(), ids=API)
def test_python_api(store, mnist, use, error, said):
    with pytest.raises(error) as caught:
        use(mnist)
    assert type(caught.value) is error
    one_line(str(caught.value), said)


# --- an artifact that is whole, and not what it should be ------------------------------------------


@pytest.mark.parametrize(
    "foreign", [LAVAE(latent_dim=8), CVAE()], ids=["another shape", "another class"]
)
def test_a_foreign_model_in_the_store_is_made_again(home, capsys, foreign):
    def get(model: torch.nn.Module):
        return artifacts.get_or_make(
            "model", {}, lambda folder, _: model.save_pretrained(folder) or {}, load
        )

    def load(folder: Path) -> LAVAE:
        return LAVAE.from_pretrained(str(folder))

    wanted = LAVAE()
    get(wanted)
    (folder,) = paths.artifacts_dir().glob("model-" + "[0-9a-f]" * 16)
    for path in folder.glob("*"):
        if path.name != artifacts.MANIFEST:
            path.unlink()
    foreign.save_pretrained(folder)
    (folder / "config.json").write_text('{"latent_dim": 16}')
    content = json.loads((folder / artifacts.MANIFEST).read_text())
    names = [path for path in folder.iterdir() if path.name != artifacts.MANIFEST]
    content["files"] = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in names}
    (folder / artifacts.MANIFEST).write_text(json.dumps(content))

    assert torch.equal(get(wanted).maps.matrices, wanted.maps.matrices)
    one_line(capsys.readouterr().err.strip(), "holds no LAVAE of this shape: .* set aside")
