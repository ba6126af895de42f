"""The numbers of the paper beside ours, as the notebooks left them in figures/paper_vs_here.csv."""

from pathlib import Path

from lavae_core.companion.files import read_rows

FILE = "paper_vs_here.csv"
COLUMNS = ("item", "claim", "published", "here", "verdict")


def read_claims(figures: Path) -> list[dict[str, str]]:
    """The rows of the table; none if no notebook has written it yet."""
    return read_rows(figures / FILE)


def claims_of(number: str, figures: Path) -> list[dict[str, str]]:
    """The rows that the notebook with `number` wrote."""
    return [row for row in read_claims(figures) if row["notebook"].partition("_")[0] == number]
