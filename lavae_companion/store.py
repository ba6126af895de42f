"""A content-addressed store of what was trained: the key is a hash of all that determines it.

An artifact is a folder: `model.safetensors` and `config.json` as PyTorchModelHubMixin writes them
(or `tensors.safetensors`), and `manifest.json` with the specification, the loss curve, the minutes
and the SHA-256 of every other file. It is written beside and renamed, so it is whole or absent.
Weights are safetensors and the rest is JSON: loading never runs code.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import save_file

from lavae_companion import locks, paths
from lavae_core.errors import InvalidInputError, StoreError
from lavae_core.pretrained import read_shipped, shipped_list

FORMAT = 1
MANIFEST = "manifest.json"
T = TypeVar("T")

# Artifacts are made inside others: the seconds of the inner ones, for each that is being made now.
_inner_seconds: list[float] = []
# Weights are drawn from torch's global generator: of the threads of a process only one may train.
_making = threading.RLock()


def key_of(spec: dict[str, Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the canonical JSON of `spec`."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def get_or_make(
    kind: str,
    spec: dict[str, Any],
    make: Callable[[Path, Path], dict[str, Any]],
    load: Callable[[Path], T],
) -> T:
    """Load the artifact of (kind, spec), or make it first.

    `make(folder, checkpoint)` writes the artifact into an empty folder and returns metadata for the
    manifest, with "seconds" if a resumed training took longer than this call. `checkpoint` is a path
    for resumable state; it is removed once the artifact is stored. Two processes or threads that ask at
    once make it once. A damaged artifact is set aside with a message and made again.
    Raises StoreError where the store cannot be written; InvalidInputError for an artifact that is not
    shipped, where only shipped ones are used.
    """
    if paths.shipped():
        return _load_shipped(kind, spec, load)
    root = paths.artifacts_dir()
    target = root / f"{kind}-{key_of(spec)}"
    if not _inner_seconds:
        _note(target.name)
    result = _load_whole(target, spec, load)
    if result is not None:
        with contextlib.suppress(OSError):  # of a process that died before it could remove it
            _checkpoint(target).unlink()
        return result
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _one_thread(), locks.hold(Path(f"{target}.lock"), f"makes {target.name}"):
            result = _load_whole(target, spec, load, set_aside=True)
            if result is None:
                _make(target, spec, make)
                result = load(target)
    except (OSError, SafetensorError) as error:  # safetensors wraps what the disk said in its own
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise StoreError(
            f"cannot write the artifact store ({reason}); make room or write "
            "access in the folder LAVAE_HOME; finished artifacts are kept"
        ) from error
    return result


def checkpoint(kind: str, spec: dict[str, Any]) -> Path:
    """Where the training of (kind, spec) keeps its state while it runs."""
    return _checkpoint(paths.artifacts_dir() / f"{kind}-{key_of(spec)}")


def exists(kind: str, spec: dict[str, Any]) -> bool:
    """Whether the store has an artifact of (kind, spec); it may still turn out to be damaged."""
    name = f"{kind}-{key_of(spec)}"
    if paths.shipped():
        return name in shipped_list()["models"]
    return (paths.artifacts_dir() / name).is_dir()


def made_since(started: float) -> list[str]:
    """Names of the artifacts that were made since `started`, a time.time()."""
    files = paths.artifacts_dir().glob(f"*-*/{MANIFEST}")
    return sorted(
        file.parent.name
        for file in files
        if ".partial-" not in file.parent.name and file.stat().st_mtime >= started
    )


def minutes(name: str) -> float:
    """How long an artifact of the store took to make, without the artifacts it stands on.

    name: of its folder. Raises StoreError where it is missing or its manifest cannot be read.
    """
    content = _manifest(name)
    if content is None:
        raise StoreError(
            f"artifact {name} is missing or damaged; re-run its notebooks with --force"
        )
    return content["told"]["minutes"]


def _load_shipped(kind: str, spec: dict[str, Any], load: Callable[[Path], T]) -> T:
    if not exists(kind, spec):
        raise InvalidInputError(
            f"this model does not come with the checkout: {kind} of {', '.join(spec['augmentations'])}; "
            "run without --shipped to train it"
        )
    config, weights = read_shipped(f"{kind}-{key_of(spec)}")
    with tempfile.TemporaryDirectory() as folder:
        save_file(weights, Path(folder, "model.safetensors"))
        Path(folder, "config.json").write_text(json.dumps(config), encoding="utf-8")
        return load(Path(folder))


def _note(name: str) -> None:
    """Add an artifact that is asked for to the list LAVAE_LOADED, if there is one."""
    if os.environ.get("LAVAE_LOADED"):
        with open(os.environ["LAVAE_LOADED"], "a", encoding="utf-8") as file:
            file.write(f"{name}\n")


def _manifest(name: str) -> dict[str, Any] | None:
    try:
        content = json.loads((paths.artifacts_dir() / name / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and {"spec", "told"} <= content.keys() else None


def _make(target: Path, spec: dict[str, Any], make) -> None:
    # The process that held the lock before may have died between its folder and the rename.
    for stale in target.parent.glob(f"{target.name}.partial-*"):
        shutil.rmtree(stale, ignore_errors=True)
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"{target.name}.partial-", dir=target.parent))
    _inner_seconds.append(0.0)  # not before: what fails then would stay in the list
    try:
        metadata = make(folder, _checkpoint(target))
        files = {file.name: _sha256(file) for file in sorted(folder.iterdir())}
        seconds = time.monotonic() - started
        own = max(seconds - _inner_seconds[-1], metadata.pop("seconds", 0.0))
        metadata["minutes"] = round(own / 60, 3)
        content = {"format": FORMAT, "spec": spec, "files": files, "told": metadata}
        (folder / MANIFEST).write_text(json.dumps(content, indent=1, sort_keys=True))
        _give_usual_permissions(folder)
        os.replace(folder, target)
        _checkpoint(target).unlink(missing_ok=True)  # not before: a full disk would lose all
    finally:
        _inner_seconds.pop()
        shutil.rmtree(folder, ignore_errors=True)
    if _inner_seconds:
        _inner_seconds[-1] += seconds


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    locks.wait_until(lambda: _making.acquire(blocking=False), lambda: "another thread that trains")
    try:
        yield
    finally:
        _making.release()


def _give_usual_permissions(folder: Path) -> None:
    """Those that the umask says: mkdtemp's folders and safetensors' files are for their owner alone."""
    mask = os.umask(0)  # it cannot be read without being set
    os.umask(mask)
    for file in folder.iterdir():
        file.chmod(0o666 & ~mask)
    folder.chmod(0o777 & ~mask)


def _checkpoint(target: Path) -> Path:
    return target.parent / "checkpoints" / f"{target.name}.safetensors"


def _load_whole(
    target: Path, spec: dict[str, Any], load: Callable[[Path], T], set_aside: bool = False
) -> T | None:
    """The loaded artifact; None where there is none or it is damaged.

    Only the holder of the lock may set it aside: another's move could hit what was just made again.
    """
    if not target.exists():
        return None
    try:
        _verify(target, spec)
        return load(target)
    except (OSError, LookupError, ValueError, TypeError, AttributeError, SafetensorError,
            StoreError) as error:  # fmt: skip
        if set_aside:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            _set_aside(target, reason)
        return None


def _verify(target: Path, spec: dict[str, Any]) -> None:
    content = json.loads((target / MANIFEST).read_text())
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']} is not {FORMAT}")
    if content["spec"] != json.loads(json.dumps(spec)):
        raise ValueError("it belongs to another specification")
    names = {file.name for file in target.iterdir()} - {MANIFEST}
    if names != set(content["files"]):
        raise ValueError("files are missing or foreign")
    for name, expected in content["files"].items():
        if _sha256(target / name) != expected:
            raise ValueError(f"{name} is damaged")


def _set_aside(target: Path, reason: str) -> None:
    aside = target.parent / "damaged" / f"{target.name}-{time.time_ns()}"
    print(
        f"artifact {target.name}: {reason}; set aside in artifacts/damaged, made again",
        file=sys.stderr,
    )
    try:
        aside.parent.mkdir(exist_ok=True)
        os.replace(target, aside)
    except FileNotFoundError:
        pass  # another process was faster


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
