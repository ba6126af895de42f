"""An executed notebook as it goes to git: two runs with equal results give equal bytes."""

from pathlib import Path

import nbformat

from lavae_core.errors import LavaeError
from lavae_core.paths import CHECKOUT, home

WIDGET = "application/vnd.jupyter.widget-view+json"
BINARY = ("image/png", "image/jpeg", "application/pdf")


def normalised(notebook: nbformat.NotebookNode, name: str) -> str:
    """The text of `notebook` without anything that changes from run to run or machine to machine.

    Raises LavaeError, naming the notebook, if an output holds a path of this machine.
    """
    count = 0
    cells = []
    for position, cell in enumerate(notebook.cells):
        kept = {key: cell[key] for key in ("cell_type", "source", "attachments") if key in cell}
        tags = cell.metadata.get("tags")
        kept |= {"id": f"cell-{position:02d}", "metadata": {"tags": tags} if tags else {}}
        if cell.cell_type == "code":
            count += 1
            outputs = _outputs(cell.outputs, count)
            _require_no_path(outputs, f"{name}: cell {count}")
            kept |= {"execution_count": count, "outputs": outputs}
        cells.append(kept)
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    clean = nbformat.from_dict(
        {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    )
    return nbformat.writes(clean, indent=1, ensure_ascii=False) + "\n"


def _outputs(outputs: list, count: int) -> list[dict]:
    """What a reader sees: no progress and warnings (stderr), no widgets; stdout in one piece."""
    kept: list[dict] = []
    for output in outputs:
        if output.get("name") == "stderr" or WIDGET in output.get("data", {}):
            continue
        if output.output_type == "stream" and kept and kept[-1]["output_type"] == "stream":
            kept[-1]["text"] += output.text
            continue
        kept.append(dict(output))
        if output.output_type == "execute_result":
            kept[-1]["execution_count"] = count
    return kept


def _require_no_path(outputs: list[dict], where: str) -> None:
    text = "".join(str(piece) for output in outputs for piece in _texts(output))
    for path in _private_paths():
        if path in text:
            raise LavaeError(f"{where} prints a path of this machine: {path}")


def _texts(output: dict) -> list:
    data = output.get("data", {})
    return [output.get("text", ""), *(data[mime] for mime in data if mime not in BINARY)]


def _private_paths() -> list[str]:
    """What must not be in an output. A home of `/`, as in some containers, is in all."""
    folders = {CHECKOUT, home().absolute(), Path.home()} - {Path("/")}
    return sorted(f"{folder}/" for folder in folders) + [str(CHECKOUT)]
