"""What is already done: one record per notebook, written last, so that a killed run can go on."""

import hashlib
import json
from pathlib import Path

from lavae_core.companion.claims import claims_of
from lavae_core.companion.files import write_whole
from lavae_core.companion.notebooks import Notebook
from lavae_core.companion.settings import Settings
from lavae_core.paths import CHECKOUT


def record_key(notebook: Notebook, settings: Settings) -> str:
    """Hash of all that determines a notebook's result: its sources, the package, the settings."""
    package = sorted((CHECKOUT / "lavae_core").glob("*.py"))
    parts = [
        _sources(notebook),
        *((path.name, path.read_text(encoding="utf-8")) for path in package),
        (settings.profile, settings.seed, settings.device),
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
    notebook: Notebook, settings: Settings, key: str, minutes: float, peak_mb: int
) -> dict:
    """Note that the notebook is done; `key` is that of before it ran."""
    wrote = _wrote(notebook, settings)
    record = {"key": key, "minutes": minutes, "peak_mb": peak_mb, "wrote": wrote}
    path = _path(notebook, settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(record, indent=1))
    return record


def _path(notebook: Notebook, settings: Settings) -> Path:
    return settings.runs / "records" / f"{notebook.number}.json"


def _wrote(notebook: Notebook, settings: Settings) -> dict:
    """Hashes of the executed notebook and its figures, and its rows of the table of claims."""
    figures = settings.figures.glob(f"{notebook.output_stem}*")
    files = [path for path in (settings.executed(notebook), *sorted(figures)) if path.is_file()]
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {"files": hashes, "claims": claims_of(notebook.number, settings.figures)}
