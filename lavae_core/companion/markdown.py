"""What is generated inside Markdown that is otherwise written by hand: between two marks."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lavae_core.companion.files import write_whole
from lavae_core.errors import LavaeError

BEGIN = "<!-- made by run_all.sh: begin -->"
END = "<!-- made by run_all.sh: end -->"


def write_marked(path: Path, text: str) -> None:
    """Replace what stands between the marks of a file. Raises LavaeError where it has lost them."""
    before, _, after = _parts(path)
    write_whole(path, f"{before}{BEGIN}\n{text}{END}{after}")


def marked(path: Path) -> str:
    """What stands between the marks of a file. Raises LavaeError where it has lost them."""
    return _parts(path)[1]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, with a blank line before it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n" + "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )


def _parts(path: Path) -> tuple[str, str, str]:
    before, begin, rest = path.read_text(encoding="utf-8").partition(f"{BEGIN}\n")
    inside, end, after = rest.partition(END)
    if not (begin and end):
        raise LavaeError(f"{path.name} has lost its marks {BEGIN} and {END}")
    return before, inside, after
