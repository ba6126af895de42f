"""Bad input of every kind: its own line, the documented exception or exit code, the store as it was.

One row for each input: through the command line, as a parameter of a notebook, through the Python
API. Modules that have tables of their own (test_data, test_augmentations, ...) are not repeated.
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

from lavae_core import (
    artifacts,
    augmentations,
    data,
    datasets,
    evaluation,
    explanation,
    paths,
    plotting,
    projections,
)  # fmt: skip
from lavae_core.companion import cli
from lavae_core.errors import DataError, InvalidInputError, LavaeError, StoreError
from lavae_core.experiments import Maps, Setting, Stage1, encode, load_or_train
from lavae_core.latent_maps import NonLinearMaps
from lavae_core.models import CVAE, LAVAE
from lavae_core.profiles import PROFILES, Schedule
from lavae_core.runtime import Runtime
from lavae_core.study import Study
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
    files = {
        name: idx(images if "idx3" in name else labels) for name in data.DATASETS["mnist"].files
    }
    known = {n: datasets.IdxFile(len(f), hashlib.sha256(f).hexdigest()) for n, f in files.items()}
    monkeypatch.setitem(data.DATASETS, "mnist", replace(data.DATASETS["mnist"], files=known))
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


# --- the command line ------------------------------------------------------------------------------

THERE = r"; there are: 01, 02, "
COMMAND_LINES = [
    # arguments, exit code, the last line on stderr
    (["--profile", "fast"], 2, r"--profile: invalid choice: 'fast' \(choose from '?smoke"),
    (["--profile"], 2, "--profile: expected one argument"),
    (["--prof", "smoke"], 2, "unrecognized arguments: --prof smoke"),
    (["--everything"], 2, "unrecognized arguments: --everything"),
    (["07"], 2, "unrecognized arguments: 07"),
    (["--only", "99"], 2, f"no notebook 99{THERE}"),
    (["--only", "00"], 2, f"no notebook 00{THERE}"),
    (["--only", "-1"], 2, "--only: expected at least one argument|no notebook -1"),
    (["--only", "01,heatmap"], 2, f"no notebook heatmap{THERE}"),
    (["--only"], 2, "--only: expected at least one argument"),
    (["--seed", "-1"], 2, "seed must be a whole number from 0 to 4294967295, got -1"),
    (["--seed", "4294967296"], 2, "seed must be a whole number from 0 to .*, got 4294967296"),
    (["--seed", "1.5"], 2, "--seed: invalid int value: '1.5'"),
    (["--seed", "one"], 2, "--seed: invalid int value: 'one'"),
    (["--device", "tpu"], 2, "unknown device 'tpu'; allowed: cpu, cuda, cuda:N"),
    (["--device", "cuda:x"], 2, "unknown device 'cuda:x'; allowed"),
    (["--device", ""], 2, "unknown device ''; allowed"),
    (["--device", "cuda:63"], 2, r"device 'cuda:63' is not there \(\d+ CUDA devices\); use cpu"),
    (["--check", "--force"], 2, "--check takes no other option"),
    (["--check", "--seed", "1"], 2, "--check takes no other option"),
    (["--check", "--list"], 2, "--list: not allowed with argument --check"),
    (["--seeds", "0", "--force"], 2, "--seeds does not go with --only, --list, --force or --seed"),
    (["--scheduler", "tcp://x:1"], 2, "--scheduler goes with --seeds"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "said"), COMMAND_LINES, ids=[" ".join(row[0]) for row in COMMAND_LINES]
)
def test_command_line(store, capsys, arguments, code, said):
    try:
        found = cli.main(arguments)
    except SystemExit as error:  # argparse: its usage comes before the line
        found = error.code
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert (found, captured.out) == (code, "")
    assert len(lines) == 1 or lines[0].startswith("usage: run_all.sh")
    one_line(lines[-1], said)


def test_a_home_that_is_a_file(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LAVAE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("x")
    assert cli.main(["--profile", "smoke", "--only", "01"]) == 1
    one_line(capsys.readouterr().err.strip(), "error: cannot write to the folder .*file: ")


def test_a_figures_folder_that_is_a_file(home, tmp_path, capsys):
    paths.runs_dir("smoke").mkdir(parents=True)
    paths.figures_dir("smoke").write_text("x")
    before = contents(home)
    assert cli.main(["--profile", "smoke", "--only", "01"]) == 1
    one_line(capsys.readouterr().err.strip(), "error: cannot write to the folder .*figures: ")
    assert contents(home) == before


def test_run_all_hands_the_line_and_the_exit_code_on(store, tmp_path):
    # In the checkout itself it would make a .venv without a stamp anew, under the running tests.
    for name in ("run_all.sh", "lavae_core"):
        (tmp_path / name).symlink_to(paths.CHECKOUT / name)
    done = subprocess.run(
        ["bash", tmp_path / "run_all.sh", "--only", "99"],
        env={**os.environ, "VIRTUAL_ENV": sys.prefix}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    one_line(done.stderr.strip(), f"^error: no notebook 99{THERE}")


# --- parameters of the notebooks -------------------------------------------------------------------


def smoke() -> Study:
    return Study("smoke")


def recursion(word: str = "L1", steps: object = 3, count: int = 2):
    return evaluation.recursion(LAVAE(), uint8_images(count), word, steps)


PARAMETERS: dict[str, tuple[Callable[[], object], str]] = {
    "profile: unknown": (lambda: Study("fast"), "unknown profile 'fast'; allowed: smoke, quick"),
    "profile: empty": (lambda: Study(""), "unknown profile ''; allowed"),
    "profile: a number": (lambda: Study(0), "unknown profile 0; allowed"),
    "profile: a list": (lambda: Study(["smoke"]), r"unknown profile \['smoke'\]; allowed"),
    "seed: negative": (lambda: Study("smoke", -1), "seed must be a whole number from 0 .*, got -1"),
    "seed: a fraction": (lambda: Study("smoke", 0.5), "seed must be .* got 0.5"),
    "seed: text": (lambda: Study("smoke", "one"), "seed must be .* got 'one'"),
    "seed: a truth": (lambda: Study("smoke", True), "seed must be .* got True"),
    "seed: too large": (lambda: Study("smoke", 2**32), "to 4294967295, got 4294967296"),
    "seed: a list": (lambda: Study("smoke", [1]), r"seed must be .* got \[1\]"),
    "device: unknown": (lambda: Study("smoke", 0, "gpu"), "unknown device 'gpu'; allowed: cpu"),
    "device: empty": (lambda: Study("smoke", 0, ""), "unknown device ''; allowed: cpu"),
    "device: a number": (lambda: Study("smoke", 0, 0), "unknown device 0; allowed: cpu"),
    "device: known to torch only": (
        lambda: Study("smoke", 0, "meta"), "unknown device 'meta'; allowed: cpu"
    ),
    "device: not there": (lambda: Study("smoke", 0, "cuda:63"), "device 'cuda:63' is not there"),
    "pair: unknown name": (lambda: smoke().lavae("flip_lr,twirl"), "unknown augmentation 'twirl'"),
    "pair: one name": (lambda: smoke().variants("flip_lr"), "'flip_lr' is not two names; allowed"),
    "pair: three names": (lambda: smoke().cvae("a,b,c", "lavae"), "'a,b,c' is not two names"),
    "pair: a list": (lambda: smoke().joint(["flip_lr", "flip_ud"]), "is not two names; allowed"),
    "pair: None": (lambda: smoke().transfer(FLIPS, None), "None is not two names; allowed"),
    "pair: a semicolon": (lambda: smoke().nonlinear("flip_lr;flip_ud"), "is not two names"),
    "how: unknown": (lambda: smoke().cvae(FLIPS, "both"), "unknown CVAE training 'both'; allowed"),
    "solver: unknown": (lambda: smoke().lavae(FLIPS, "adam"), "unknown solver 'adam'; allowed"),
    "lambda_inv: negative": (lambda: smoke().lavae(FLIPS, "exact", -1), "lambda_inv must .* got -1"),
    "lambda_inv: text": (lambda: smoke().lavae(FLIPS, "exact", "1"), "lambda_inv must .* got '1'"),
    "lambda_inv: NaN": (lambda: smoke().lavae(FLIPS, "exact", NAN), "lambda_inv must .* got nan"),
    "digit: unknown": (lambda: smoke().examples([10]), "unknown digit 10; allowed: 0, 1, 2"),
    "digit: text": (lambda: smoke().examples(["4"]), "unknown digit '4'; allowed: 0, 1, 2"),
    "digit: a list": (lambda: smoke().examples([[4]]), r"unknown digit \[4\]; allowed: 0, 1"),
    "digits: no list": (lambda: smoke().examples(4), r"digits must be a list .* got 4"),
    "digits: too many": (lambda: smoke().examples([4] * 3), "only 2 test images show a 4"),
    "digits: none": (lambda: plotting.digit_rows({"x": uint8_images(0)}, "t"), "at least one"),
    "n_pairs: too few": (lambda: smoke().heatmap_pairs(1), "number of pairs must .* 2 to 7, got 1"),
    "n_pairs: too many": (lambda: smoke().heatmap_pairs(8), "pairs must be .* 2 to 7, got 8"),
    "n_pairs: a fraction": (lambda: smoke().heatmap_pairs(2.0), "pairs must be .* got 2.0"),
    "n_pairs: text": (lambda: smoke().heatmap_pairs("4"), "pairs must be .* got '4'"),
    "word: unknown letter": (lambda: recursion("L3"), "unknown latent map 'L3'; allowed: L1, L2"),
    "word: bad power": (lambda: recursion("L1^x"), r"cannot read 'L1\^x' in a word of maps; write"),
    "word: a number": (lambda: recursion(1), "a word of maps is text such as .*, got 1"),
    "steps: negative": (lambda: recursion(steps=-1), "steps must be .* from 0, got -1"),
    "steps: a fraction": (lambda: recursion(steps=2.5), "steps must be .* got 2.5"),
    "steps: text": (lambda: recursion(steps="7"), "steps must be .* got '7'"),
    "steps: too few to compare": (
        lambda: evaluation.drift(recursion(steps=2)[0]),
        "steps must be a whole number from 3, got 2",
    ),
    "n_images: none": (lambda: recursion(count=0), "no images to start from; .* at least one"),
    "steps: no interpolation": (
        lambda: projections.interpolate(normal(2, 16), 1),
        "steps must be a whole number from 2, got 1",
    ),
    "ends: one digit": (lambda: projections.interpolate(normal(1, 16), 5), "two ends, got 1"),
    "n_images: negative": (lambda: smoke().originals(-5), "images must be .* from 1, got -5"),
    "word: a huge power": (lambda: recursion("L1^9999999"), "powers .* -1000 to 1000: L1.9999999"),
    "data set: unknown": (
        lambda: Setting(0, None, dataset="x"), "unknown data set 'x'; allowed: mnist"
    ),
    "coverage: none": (lambda: projections.bounding_box(normal(9, 16), 0), "coverage .* got 0"),
    "coverage: 90": (lambda: projections.bounding_box(normal(9, 16), 90), "above 0, to 1, got 90"),
    "coverage: NaN": (lambda: projections.bounding_box(normal(9, 16), NAN), "coverage .* got nan"),
    "coverage: text": (lambda: projections.bounding_box(normal(9, 16), "a"), "coverage .* got 'a'"),
    "methods: unknown": (
        lambda: projections.project(np.zeros((9, 16)), "UMAP", 0),
        "unknown projection 'UMAP'; allowed: PCA, ICA, t-SNE",
    ),
    "methods: none": (lambda: plotting.projections({}, [], "t"), "no projections to show"),
    "separability: unknown": (
        lambda: explanation.correlation(pd.DataFrame(), "linear"),
        "unknown separability 'linear'; allowed: probe, neighbours",
    ),
    "pairs: none, scores": (lambda: evaluation.side_by_side({}), "no scores to compare"),
    "latent_dim: zero": (lambda: LAVAE(latent_dim=0), "latent_dim must .* from 1, got 0"),
    "latent_dim: text": (lambda: LAVAE(latent_dim="16"), "latent_dim must .* got '16'"),
    "n_maps: negative": (lambda: LAVAE(n_maps=-1), "n_maps must .* from 0, got -1"),
}  # fmt: skip


@pytest.mark.parametrize(("use", "said"), PARAMETERS.values(), ids=PARAMETERS)
def test_notebook_parameter(store, use, said):
    with pytest.raises(InvalidInputError) as caught:
        use()
    one_line(str(caught.value), said)


def test_an_empty_table_is_not_written(home):
    with pytest.raises(InvalidInputError, match="^the table x is empty; ask for at least one row$"):
        smoke().save_table(pd.DataFrame(), "x")
    assert list(paths.figures_dir("smoke").iterdir()) == []


def test_a_wrong_parameter_by_papermill_is_one_line(store, tmp_path):
    kinds = nbformat.v4
    cells = [
        kinds.new_code_cell("pair = 'flip_lr,flip_ud'", metadata={"tags": ["parameters"]}),
        kinds.new_code_cell("from lavae_core.study import Study\nstudy = Study('smoke', 0, 'cpu')"),
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
    (output,) = last.outputs
    assert (output.output_type, output.ename) == ("error", "InvalidInputError")
    (shown,) = output.traceback
    one_line(shown, "^InvalidInputError: unknown augmentation 'twirl'; allowed: flip_lr, ")


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


def stage1(**changes) -> Stage1:
    setting = Setting(0, Runtime("cpu", "fp32"))
    return Stage1(setting, FLIPS, replace(PROFILES["smoke"].base, **changes))


IMAGES_FILE = datasets.TRAIN_IMAGES
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
        InvalidInputError, "must be a float tensor, got torch.uint8",
    ),
    "images of 32 pixels": (
        lambda _: LAVAE().augment(torch.zeros(1, 1, 32, 32), "L1"),
        InvalidInputError, r"must have shape \(N, 1, 28, 28\), got \(1, 1, 32, 32\)",
    ),
    "floats to encode": (
        lambda _: encode(LAVAE(), float_images(2).squeeze(1)),
        InvalidInputError, r"must be torch.uint8 \(N, 28, 28\), got torch.float32",
    ),
    "a channel to encode": (
        lambda _: encode(LAVAE(), uint8_images(2)[:, None]),
        InvalidInputError, r"must be torch.uint8 \(N, 28, 28\), got .*\(2, 1, 28, 28\)",
    ),
    "floats to recursion": (
        lambda _: evaluation.recursion(LAVAE(), float_images(2).squeeze(1), "L1", 2),
        InvalidInputError, "must be torch.uint8",
    ),
    "floats to augment": (
        lambda _: augmentations.apply("flip_lr", float_images(2).squeeze(1)),
        InvalidInputError, "images has dtype torch.float32; allowed: a torch.uint8 tensor",
    ),
    "an unknown decoder head": (
        lambda _: LAVAE().augment(float_images(1), "L1", "other"),
        InvalidInputError, "unknown decoder head 'other'; allowed: native",
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
        InvalidInputError, "model must be a LAVAE, got CVAE",
    ),
    "a CVAE without conditions": (
        lambda _: CVAE(n_conditions=0), InvalidInputError, "n_conditions must .* from 1, got 0",
    ),
    "rows of different lengths": (
        lambda _: plotting.digit_rows({"a": uint8_images(2), "b": uint8_images(3)}, "t"),
        InvalidInputError, "every row needs the same images, at least one; got 2, 3",
    ),
    "no samples": (
        lambda _: projections.sample_box(normal(16), normal(16), 0, torch.Generator()),
        InvalidInputError, "number of samples must .* from 1, got 0",
    ),
    "fewer latents than variants": (
        lambda _: projections.variant_latents(LAVAE(), uint8_images(4, 2), 3),
        InvalidInputError, "number of latents must .* from 4, got 3",
    ),
    "no epochs": (lambda _: Schedule(0), InvalidInputError, "epochs must .* above 0, got 0"),
    "epochs without end": (
        lambda _: Schedule(float("inf")), InvalidInputError, "epochs must be a finite .* got inf",
    ),
    "a batch of none": (lambda _: stage1(batch=0), InvalidInputError, "batch must .* 1, got 0"),
    "half an image": (lambda _: stage1(batch=0.5), InvalidInputError, "batch must .* got 0.5"),
    "a negative learning rate": (
        lambda _: stage1(lr=-1e-3), InvalidInputError, "learning rate must .* from 0, got -0.001",
    ),
    "a learning rate of NaN": (
        lambda _: stage1(lr=NAN), InvalidInputError, "learning rate must be a finite .* got nan",
    ),
    "a negative warm-up": (
        lambda _: stage1(warmup=-1), InvalidInputError, "warm-up steps must .* from 0, got -1",
    ),
    "an unknown decay": (
        lambda _: stage1(decay="step"),
        InvalidInputError, "unknown decay 'step'; allowed: cosine, linear, constant",
    ),
    "a negative loss weight": (
        lambda _: replace(stage1(), lambda_kl=-1.0),
        InvalidInputError, "lambda_kl must be a finite number from 0, got -1.0",
    ),
    "an unknown solver": (
        lambda _: load_or_train(Maps(stage1(), "adam")), InvalidInputError, "unknown solver 'adam'",
    ),
    "an unknown data set": (
        lambda _: data.load("train", dataset="cifar10"),
        InvalidInputError, "unknown data set 'cifar10'; allowed: mnist, fashion_mnist",
    ),
    "an unknown split": (
        lambda _: data.load("valid"), InvalidInputError, "unknown split 'valid'; allowed: train",
    ),
    "more images than there are": (
        lambda _: data.load("train", limit=21), InvalidInputError, "limit is 21; allowed: 1 to 20",
    ),
    "no images": (
        lambda _: data.load("train", limit=0), InvalidInputError, "limit is 0; allowed: 1 to 20",
    ),
    "a truncated archive": (
        lambda folder: damaged_data(
            folder, f"{IMAGES_FILE}.gz", gzip.compress(idx(uint8_images(20)))[:-99]
        ),
        DataError, r"train-images-idx3-ubyte.gz cannot be read: ",
    ),
    "an archive that is none": (
        lambda folder: damaged_data(folder, f"{IMAGES_FILE}.gz", b"<html>not found</html>"),
        DataError, r"train-images-idx3-ubyte.gz cannot be read: ",
    ),
    "an archive that grows": (
        lambda folder: damaged_data(folder, f"{IMAGES_FILE}.gz", gzip.compress(bytes(10**6))),
        DataError, r"gz is damaged: it holds more than \d+ bytes",
    ),
    "images of someone else": (
        lambda folder: damaged_data(folder, IMAGES_FILE, idx(uint8_images(20, seed=1))),
        DataError, r"train-images-idx3-ubyte has SHA-256 \w+, expected \w+",
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
        StoreError, "nothing here holds no LAVAE of this shape: there is no such folder",
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
