"""Data sets: find the four IDX files, or fetch them; verify them; load them as tensors.

Looked for in this order: the user's folder (LAVAE_DATA), which is only read; the cache below
paths.home(); the sources of sources.py: the Debian package, torchvision's mirrors, the Python
package index. Whatever the source, a file is used only if its SHA-256 is the known one.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from lavae_core import paths
from lavae_core.datasets import DATASETS, Dataset, IdxFile
from lavae_core.errors import DataError, InvalidInputError, StoreError, require_known
from lavae_core.sources import SOURCES, read

SPLITS = {"train": "train", "test": "t10k"}  # ours, and how the file names call it


@dataclass(frozen=True)
class ImageSet:
    """images: uint8 (N, 28, 28), 0 to 255; labels: int64 (N,), 0 to 9."""

    images: Tensor
    labels: Tensor


def load(split: str, *, dataset: str = "mnist", limit: int | None = None) -> ImageSet:
    """Load one split of a data set, fetching it first where that is needed.

    split: "train" or "test". dataset: a name in DATASETS. limit: only that many images, the first.
    InvalidInputError on an unknown name or a limit that is not 1 .. N; DataError if a file is
    damaged in the user's folder, cannot be read, or is found nowhere; StoreError if the cache cannot
    be written.
    """
    require_known("data set", dataset, DATASETS)
    require_known("split", split, SPLITS)
    prefix = SPLITS[split]
    image_file, label_file = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
    try:
        image_path, label_path = _locate(dataset, [image_file, label_file])
        images = _read_idx(image_path, header=16).view(-1, 28, 28)
        labels = _read_idx(label_path, header=8).long()
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from error
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= len(images):
            raise InvalidInputError(f"limit is {limit!r}; allowed: 1 to {len(images)}, or None")
        # Clones, because a slice would keep the whole split in memory.
        images, labels = images[:limit].clone(), labels[:limit].clone()
    return ImageSet(images, labels)


def _read_idx(path: Path, header: int) -> Tensor:
    """The bytes after the header; size and SHA-256 of the file, and so its shape, are verified."""
    return torch.from_numpy(np.fromfile(path, dtype=np.uint8, offset=header))


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
            content = read(path, expected.size)
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


def _fill_cache(dataset_name: str) -> None:
    """Bring the four files into the cache from the first sources that have them, once for all."""
    dataset = DATASETS[dataset_name]
    folder = _cache_folder(dataset)
    reasons: list[str] = []
    with _locked(folder):
        missing = {n for n, file in dataset.files.items() if not _is_intact(folder / n, file)}
        for source in SOURCES:
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
