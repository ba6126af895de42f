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
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock
from safetensors import SafetensorError

from lavae_core import paths
from lavae_core.errors import StoreError

FORMAT = 1
MANIFEST = "manifest.json"
T = TypeVar("T")

_inner_seconds: list[float] = []  # of the artifacts being made now: what inner ones took


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

    `make(folder, checkpoint)` fills an empty folder and returns what the manifest should tell, and
    "seconds" if it took longer than this call;
    `checkpoint` is a file that survives a kill and goes when the artifact is there. Two processes
    that ask at once make it once. A damaged artifact is set aside with a message and made again.
    Raises StoreError where the store cannot be written.
    """
    root = paths.artifacts_dir()
    target = root / f"{kind}-{key_of(spec)}"
    _note_use(target.name)
    found = _load_whole(target, spec, load)
    if found is not None:
        with contextlib.suppress(OSError):  # of a process that died before it could remove it
            _checkpoint(target).unlink()
        return found
    try:
        root.mkdir(parents=True, exist_ok=True)
        # The kernel drops this lock when its process dies, so none is ever stale.
        with FileLock(f"{target}.lock"):
            found = _load_whole(target, spec, load, set_aside=True)
            if found is None:
                _make(target, spec, make)
                found = load(target)
    except (OSError, SafetensorError) as error:  # safetensors wraps what the disk said in its own
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise StoreError(
            f"cannot write the artifact store ({reason}); make room or write "
            "access in the folder LAVAE_HOME; finished artifacts are kept"
        ) from error
    return found


def exists(kind: str, spec: dict[str, Any]) -> bool:
    """Whether the store has an artifact of (kind, spec); it may still turn out to be damaged."""
    return (paths.artifacts_dir() / f"{kind}-{key_of(spec)}").is_dir()


def manifests() -> dict[str, dict[str, Any]]:
    """The manifests of the store by the names of their artifacts, without those that cannot be read."""
    names = sorted(file.parent.name for file in paths.artifacts_dir().glob(f"*-*/{MANIFEST}"))
    found = {name: _manifest(name) for name in names if ".partial-" not in name}
    return {name: content for name, content in found.items() if content is not None}


def minutes(name: str, *, last_call: bool = False) -> float:
    """What an artifact of the store, by the name of its folder, took to make, without inner ones.

    last_call: without the parts of a training that were interrupted.
    Raises StoreError where it is gone or its manifest cannot be read.
    """
    found = _manifest(name)
    if found is None:
        raise StoreError(
            f"artifact {name} is gone or damaged; run its notebooks again with --force"
        )
    return found["told"]["last_call_minutes" if last_call else "minutes"]


def _manifest(name: str) -> dict[str, Any] | None:
    try:
        found = json.loads((paths.artifacts_dir() / name / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"spec", "told"} <= found.keys() else None


def _note_use(name: str) -> None:
    """Tell run_all.sh, if it asks, which artifacts a notebook stands on."""
    log = os.environ.get("LAVAE_USED_FILE")
    if log:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{name}\n")


def _make(target: Path, spec: dict[str, Any], make) -> None:
    # The process that held the lock before may have died between its folder and the rename.
    for stale in target.parent.glob(f"{target.name}.partial-*"):
        shutil.rmtree(stale, ignore_errors=True)
    started = time.monotonic()
    _inner_seconds.append(0.0)
    folder = Path(tempfile.mkdtemp(prefix=f"{target.name}.partial-", dir=target.parent))
    try:
        told = make(folder, _checkpoint(target))
        files = {file.name: _sha256(file) for file in sorted(folder.iterdir())}
        seconds = time.monotonic() - started
        # A training that was interrupted tells the seconds of its earlier parts, too.
        last_call = seconds - _inner_seconds[-1]
        own = max(last_call, told.pop("seconds", 0.0))
        told |= {"minutes": round(own / 60, 3), "last_call_minutes": round(last_call / 60, 3)}
        content = {"format": FORMAT, "spec": spec, "files": files, "told": told}
        (folder / MANIFEST).write_text(json.dumps(content, indent=1, sort_keys=True))
        os.replace(folder, target)
        _checkpoint(target).unlink(missing_ok=True)  # not before: a full disk would lose all
    finally:
        _inner_seconds.pop()
        shutil.rmtree(folder, ignore_errors=True)
    if _inner_seconds:
        _inner_seconds[-1] += seconds


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
