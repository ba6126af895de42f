"""What is already done: one record per notebook, written last, so that a killed run can go on."""

import hashlib
import json
import time
from pathlib import Path

from lavae_core import artifacts
from lavae_core.companion.comparison import claims_of
from lavae_core.companion.files import write_whole
from lavae_core.companion.notebooks import Notebook
from lavae_core.companion.settings import Settings
from lavae_core.paths import CHECKOUT, artifacts_dir


def record_key(notebook: Notebook, settings: Settings) -> str:
    """Hash of all that determines a notebook's result: its sources, the package, the settings."""
    package = sorted((CHECKOUT / "lavae_core").glob("*.py"))
    parts = [
        _sources(notebook),
        *((path.name, path.read_text(encoding="utf-8")) for path in package),
        settings.resolved,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _sources(notebook: Notebook) -> list[tuple[str, str]]:
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook.cells()]


def read_record(notebook: Notebook, settings: Settings) -> dict | None:
    """The record, if the notebook is done and all that it wrote is still as it left it."""
    try:
        record = json.loads(_path(notebook, settings).read_text())
    except (OSError, ValueError):
        return None
    expected = {"key": record_key(notebook, settings), "wrote": _wrote(notebook, settings)}
    return record if expected.items() <= record.items() else None


def write_record(
    notebook: Notebook, settings: Settings, key: str, started: float, peak_mb: int
) -> dict:
    """Note that the notebook is done; key and started (a time.time()) are of before it ran."""
    used = _used(settings)
    record = {
        "key": key,
        "minutes": round((time.time() - started) / 60, 2),
        "training": round(sum(_minutes_since(started, name) for name in used), 2),
        "peak_mb": peak_mb,
        "used": used,
        "wrote": _wrote(notebook, settings),
    }
    path = _path(notebook, settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(record, indent=1))
    return record


def _used(settings: Settings) -> list[str]:
    """Names of the artifacts that the kernel noted, each once."""
    if not settings.used_file.is_file():
        return []
    return sorted(set(settings.used_file.read_text(encoding="utf-8").split()))


def _minutes_since(started: float, name: str) -> float:
    """Of the minutes that an artifact took, those since `started`: none if it was loaded."""
    manifest = artifacts_dir() / name / artifacts.MANIFEST
    if manifest.is_file() and manifest.stat().st_mtime < started:
        return 0.0
    return artifacts.minutes(name, last_call=True)


def _path(notebook: Notebook, settings: Settings) -> Path:
    return settings.runs / "records" / f"{notebook.number}.json"


def _wrote(notebook: Notebook, settings: Settings) -> dict:
    """Hashes of the executed notebook and its figures, and its rows of the table of claims."""
    figures = settings.figures.glob(f"{notebook.output_stem}*")
    files = [path for path in (settings.executed(notebook), *sorted(figures)) if path.is_file()]
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {"files": hashes, "claims": claims_of(notebook.number, settings.figures)}
