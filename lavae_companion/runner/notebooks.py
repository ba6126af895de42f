"""The notebooks of the companion: which there are, their parameters and what each writes."""

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lavae_companion.paths import NOTEBOOKS
from lavae_core.errors import InvalidInputError, LavaeError, require_known

# Outputs of the notebooks that train for long: a run without an option that asks for them leaves
# them out. BEYOND: what the paper left open.
BEYOND = (
    "d4_from_two_matrices",
    "prescribed_or_learned",
    "every_angle",
    "condition_or_map",
    "views_without_a_formula",
    "other_data",
)
ON_DEMAND = ("through_the_maps", "verdicts", *BEYOND)


@dataclass(frozen=True)
class Notebook:
    """One notebook, known by the path of its file."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def number(self) -> str:
        return self.name.partition("_")[0]

    @property
    def output_stem(self) -> str:
        """What the names of its pictures and tables begin with.

        `07_figure_07_transfer_heatmap` -> `figure_07`; `17_claim_non_linear_maps` -> all but 17_.
        """
        slug = self.name.partition("_")[2]
        numbered = re.match(r"(figure|table|appendix)_[^_]+", slug)
        return numbered.group() if numbered else slug

    @property
    def item(self) -> str:
        """The paper's figure or table that it reproduces: "7", "table 1"; "" for none."""
        match = re.fullmatch(r"(figure|table)_0*(\d+)", self.output_stem)
        return f"{match[1]} {match[2]}".removeprefix("figure ") if match else ""

    def cells(self) -> list[dict]:
        """The cells as they are in the file. Raises LavaeError if it is no notebook."""
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))["cells"]
        except (ValueError, KeyError, TypeError):
            raise LavaeError(f"{self.path.name} is not a notebook of format 4") from None

    def parameters(self) -> dict[str, Any]:
        """Names and literals of the parameter cell: the committed values; nothing is run.

        Raises LavaeError unless there is one such cell, of lines `name: type = literal`.
        """
        tagged = [c for c in self.cells() if "parameters" in c["metadata"].get("tags", [])]
        if len(tagged) != 1:
            raise LavaeError(f"{self.name} has {len(tagged)} cells tagged parameters; it needs one")
        try:
            lines = ast.parse("".join(tagged[0]["source"])).body
        except SyntaxError as error:
            raise LavaeError(f"the parameter cell of {self.name}: {error}") from None
        return dict(self._parameter(line) for line in lines)

    def _parameter(self, line: ast.stmt) -> tuple[str, Any]:
        try:
            return line.target.id, ast.literal_eval(line.value)
        except (AttributeError, TypeError, ValueError):
            raise LavaeError(
                f"the parameter cell of {self.name} needs lines `name: type = literal`, "
                f"got {ast.unparse(line)!r}"
            ) from None

    def title(self) -> str:
        """The first H1, else the name."""
        markdown = ("".join(c["source"]) for c in self.cells() if c["cell_type"] == "markdown")
        heading = re.search(r"^# +(.+)$", "\n".join(markdown), re.MULTILINE)
        return heading.group(1).strip() if heading else self.name

    def was_executed(self) -> bool:
        """Whether every code cell has run."""
        return all(c["execution_count"] for c in self.cells() if c["cell_type"] == "code")

    def check_text(self) -> str:
        """What its cells that check a claim printed."""
        checks = [c for c in self.cells() if ".check(" in "".join(c["source"])]
        outputs = [o for c in checks for o in c.get("outputs", []) if o.get("name") == "stdout"]
        return "".join("".join(output["text"]) for output in outputs)


def discover(folder: Path = NOTEBOOKS) -> list[Notebook]:
    """All NN_*.ipynb of `folder` in the order of their numbers. Raises LavaeError for twins."""
    notebooks = [Notebook(path) for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))]
    if not notebooks:
        raise LavaeError(
            f"no notebooks in {folder.name}/; a copy that pip installed has none: call run_all.sh in "
            "the checkout, or there pip install -e ."
        )
    by_number: dict[str, Notebook] = {}
    for notebook in notebooks:
        twin = by_number.setdefault(notebook.number, notebook)
        if twin != notebook:
            raise LavaeError(f"two notebooks have one number: {twin.name}, {notebook.name}")
    return notebooks


def choose(notebooks: list[Notebook], numbers: list[str]) -> list[Notebook]:
    """Those of `notebooks` with one of `numbers` (`7` is `07`); no numbers: all but ON_DEMAND."""
    asked = {number.zfill(2) for number in numbers}
    known = [notebook.number for notebook in notebooks]
    for number in sorted(asked.difference(known)):
        raise InvalidInputError(f"no notebook {number}; there are: {', '.join(known)}")
    if not asked:
        return [notebook for notebook in notebooks if notebook.output_stem not in ON_DEMAND]
    return [notebook for notebook in notebooks if notebook.number in asked]


def of_items(notebooks: list[Notebook], asked: list[str]) -> list[Notebook]:
    """Those of `notebooks` that reproduce one of the figures or tables `asked`, such as "7", "Fig. 7",
    "figure_07" or "table 1". Raises InvalidInputError for another."""
    by_item = {notebook.item: notebook for notebook in notebooks if notebook.item}
    chosen = set()
    for text in asked:
        match = re.fullmatch(r"(?:fig(?:ure)?\.?)?[ _]*(table)?[ _]*(?:0*(\d+))?", text.lower())
        item = " ".join(filter(None, match.groups())) if match else text
        item = {"table": "table 1"}.get(item, item)  # there is one
        require_known("figure", item, by_item)
        chosen.add(by_item[item])
    return [notebook for notebook in notebooks if notebook in chosen]
