"""The numbers of the paper beside ours, as the notebooks left them in figures/paper_vs_here.csv."""

import csv
from pathlib import Path

FILE = "paper_vs_here.csv"
COLUMNS = ("item", "claim", "published", "here", "verdict")


def read_claims(figures: Path) -> list[dict[str, str]]:
    """The rows of the table; none if no notebook has written it yet."""
    path = figures / FILE
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def claims_of(number: str, figures: Path) -> list[dict[str, str]]:
    """The rows that the notebook with `number` wrote."""
    return [row for row in read_claims(figures) if row["notebook"].partition("_")[0] == number]
