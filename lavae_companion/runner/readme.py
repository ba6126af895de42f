"""README.md of the checkout: README.md.j2 with the numbers of figures/."""

from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lavae_companion.runner.notebooks import Notebook, choose
from lavae_core.errors import LavaeError

COLUMNS = ["original", "first", "second", "composed", "total"]
# Of each verdict, how many claims have it, in words.
WORDS = {
    "holds": "hold",
    "holds in part": "hold in part",
    "does not hold": "do not hold",
    "equivalent": "show no difference",
    "inconclusive": "are inconclusive",
    "not testable": "are not testable",
}


class _Figures:
    """What the template asks of the tables in `folder`; where: the values of columns in a row."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self, table: str, **where: Any) -> pd.DataFrame:
        rows = pd.read_csv(self.folder / f"{table}.csv")
        for column, value in where.items():
            rows = rows[rows[column] == value]
        return rows

    def numbers(self, table: str, column: str, **where: Any) -> list[float]:
        return self.rows(table, **where)[column].tolist()

    def number(self, table: str, column: str, **where: Any) -> float:
        values = self.numbers(table, column, **where)
        if len(values) != 1:
            raise LavaeError(f"{table}.csv has {len(values)} rows of {where}; README.md needs one")
        return values[0]

    def row(self, table: str, bold: bool = False, **where: Any) -> str:
        *cells, total = (f"{self.number(table, column, **where):.2f}" for column in COLUMNS)
        return " | ".join([*cells, f"**{total}**" if bold else total])


def readme(folder: Path, notebooks: list[Notebook]) -> str:
    """README.md with the numbers of the tables in `folder`.

    Raises LavaeError for a number that is not there once.
    """
    figures = _Figures(folder)
    counts = figures.rows("verdicts").drop_duplicates("claim")["verdict"].value_counts()
    words = [f"{counts[verdict]} {words}" for verdict, words in WORDS.items() if verdict in counts]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("README.md.j2").render(
        number=figures.number,
        numbers=figures.numbers,
        row=figures.row,
        claims=counts.sum(),
        verdicts=f"{', '.join(words[:-1])} and {words[-1]}",
        default=len(choose(notebooks, [])),
        all=len(notebooks),
    )
