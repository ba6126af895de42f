"""An executed notebook as it goes to git: two runs with equal results give equal bytes."""

from pathlib import Path

import nbformat

from lavae_companion.data import home
from lavae_companion.paths import CHECKOUT
from lavae_core.errors import LavaeError

WIDGET = "application/vnd.jupyter.widget-view+json"
BINARY = ("image/png", "image/jpeg", "image/gif", "application/pdf")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def normalised(notebook: nbformat.NotebookNode, name: str) -> str:
    """The text of `notebook` without anything that changes from run to run or machine to machine.

    Raises LavaeError, naming the notebook, if an output holds a path of this machine.
    """
    count = 0
    cells = []
    for position, cell in enumerate(notebook.cells):
        clean = {key: cell[key] for key in ("cell_type", "source", "attachments") if key in cell}
        tags = cell.metadata.get("tags")
        clean |= {"id": f"cell-{position:02d}", "metadata": {"tags": tags} if tags else {}}
        if cell.cell_type == "code":
            count += 1
            outputs = _outputs(cell.outputs, count)
            _require_no_path(outputs, f"{name}: cell {count}")
            clean |= {"execution_count": count, "outputs": outputs}
        cells.append(clean)
    content = {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return nbformat.writes(nbformat.from_dict(content), indent=1, ensure_ascii=False) + "\n"


def _outputs(outputs: list, count: int) -> list[dict]:
    """What a reader sees: no progress and warnings (stderr), no widgets; stdout in one piece."""
    visible: list[dict] = []
    for output in outputs:
        if output.get("name") == "stderr" or WIDGET in output.get("data", {}):
            continue
        if output.output_type == "stream" and visible and "text" in visible[-1]:
            visible[-1]["text"] += output.text
            continue
        visible.append(dict(output))
        if output.output_type == "execute_result":
            visible[-1]["execution_count"] = count
    return visible


def _require_no_path(outputs: list[dict], where: str) -> None:
    # A home of `/`, as in some containers, is in every path.
    homes = {CHECKOUT, home().absolute(), Path.home()} - {Path("/")}
    for output in outputs:
        data = output.get("data", {})
        texts = [output.get("text", ""), *(data[mime] for mime in data if mime not in BINARY)]
        for path in [*sorted(f"{folder}/" for folder in homes), str(CHECKOUT)]:
            if any(path in str(text) for text in texts):
                raise LavaeError(f"{where} prints a path of this machine: {path}")
