"""The notebooks of the companion: which there are, their titles and what each writes."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from lavae_core.errors import InvalidInputError, LavaeError
from lavae_core.paths import CHECKOUT

NOTEBOOKS = CHECKOUT / "notebooks"


def output_stem(name: str) -> str:
    """What the files that a notebook writes to figures/ begin with.

    `07_figure_07_transfer_heatmap` -> `figure_07`; `17_claim_non_linear_maps` -> the whole slug.
    """
    slug = name.partition("_")[2]
    numbered = re.match(r"(figure|table|appendix)_[^_]+", slug)
    return numbered.group() if numbered else slug


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
        return output_stem(self.name)

    def cells(self) -> list[dict]:
        """The cells as they are in the file."""
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))["cells"]
        except (ValueError, KeyError):
            raise LavaeError(f"{self.path.name} is not a notebook of format 4") from None

    def title(self) -> str:
        """The first H1, else the name."""
        markdown = ("".join(c["source"]) for c in self.cells() if c["cell_type"] == "markdown")
        heading = re.search(r"^# +(.+)$", "\n".join(markdown), re.MULTILINE)
        return heading.group(1).strip() if heading else self.name


def discover(folder: Path = NOTEBOOKS) -> list[Notebook]:
    """All NN_*.ipynb of `folder` in the order of their numbers."""
    found = [Notebook(path) for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))]
    if not found:
        raise LavaeError(f"no notebooks in {folder.name}/")
    by_number: dict[str, Notebook] = {}
    for notebook in found:
        twin = by_number.setdefault(notebook.number, notebook)
        if twin != notebook:
            raise LavaeError(f"two notebooks have one number: {twin.name}, {notebook.name}")
    return found


def choose(notebooks: list[Notebook], numbers: list[str]) -> list[Notebook]:
    """Those of `notebooks` with one of `numbers` (`7` is `07`); no numbers: all of them."""
    wanted = {number.zfill(2) for number in numbers}
    there = [notebook.number for notebook in notebooks]
    for number in sorted(wanted.difference(there)):
        raise InvalidInputError(f"no notebook {number}; there are: {', '.join(there)}")
    return [notebook for notebook in notebooks if not wanted or notebook.number in wanted]
