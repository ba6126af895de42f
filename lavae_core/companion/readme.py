"""The generated part of the README: gallery, and which notebook makes which figure in which time.

It is made from committed files alone (figures/ and the notebooks), so a test can tell when it is
stale. The minutes are those of a run from nothing: of the notebook, and of the models that it is
the first to need, whenever these were trained.
"""

import csv
import io
import json
from collections.abc import Iterator

from lavae_core import artifacts
from lavae_core.companion.claims import claims_of
from lavae_core.companion.files import write_whole
from lavae_core.companion.notebooks import Notebook, discover
from lavae_core.companion.records import read_record
from lavae_core.companion.settings import Settings
from lavae_core.errors import LavaeError
from lavae_core.paths import CHECKOUT, artifacts_dir, figures_dir

README = CHECKOUT / "README.md"
MINUTES, CLAIMS = "minutes.csv", "claims.csv"
COLUMNS = ("notebook", "training", "running", "peak_mb")
BEGIN = "<!-- made by run_all.sh: begin -->"
END = "<!-- made by run_all.sh: end -->"
GALLERY_COLUMNS = 3
OUTERMOST = (
    "versions",
    "threads",
    "data_sha256",
    "augmentations",
)  # of a specification, not of an inner stage


def write_minutes(notebooks: list[Notebook], settings: Settings) -> None:
    """Write figures/minutes.csv from the records, if every notebook is done."""
    records = [read_record(notebook, settings) for notebook in notebooks]
    if None in records:
        return
    charged: set[str] = set()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for notebook, record in zip(notebooks, records, strict=True):
        needed = {name for used in record["used"] for name in _with_stages(used)}
        new = needed - charged
        charged.update(new)
        training = sum(artifacts.minutes(name) for name in new)
        running = record["minutes"] - record["training"]
        writer.writerow([notebook.name, f"{training:.1f}", f"{running:.1f}", record["peak_mb"]])
    write_whole(settings.figures / MINUTES, text.getvalue())


def _with_stages(name: str) -> set[str]:
    """An artifact and the stages that it stands on: a transfer head needs stages 1 and 2."""
    wanted = list(_inner(_spec(name)))
    stages = {folder.parent.name for folder in artifacts_dir().glob(f"*-*/{artifacts.MANIFEST}")}
    return {name} | {stage for stage in stages if _own(_spec(stage)) in wanted}


def _spec(name: str) -> dict:
    return json.loads((artifacts_dir() / name / artifacts.MANIFEST).read_text())["spec"]


def _own(spec: dict) -> dict:
    """A specification as it stands inside that of a later stage."""
    return {key: value for key, value in spec.items() if key not in OUTERMOST}


def _inner(spec: dict) -> Iterator[dict]:
    for value in spec.values():
        if isinstance(value, dict):
            yield value
            yield from _inner(value)


def write_readme() -> None:
    """Replace what stands between the two marks in README.md. Raises LavaeError without marks."""
    before, after = _around_marks(README.read_text(encoding="utf-8"))
    write_whole(README, f"{before}{BEGIN}\n{generated()}{END}{after}")


def generated() -> str:
    """The generated part, in Markdown."""
    notebooks = discover()
    return f"{_gallery(notebooks)}\n{_table(notebooks)}{_verdicts()}{_speed()}"


def _around_marks(text: str) -> tuple[str, str]:
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise LavaeError(f"README.md has lost its marks {BEGIN} and {END}")
    return before, after


def _pictures(notebook: Notebook) -> list[str]:
    return [path.name for path in sorted(figures_dir("quick").glob(f"{notebook.output_stem}*.png"))]


def _gallery(notebooks: list[Notebook]) -> str:
    cells = [
        f'<a href="notebooks/{notebook.path.name}"><img src="figures/{name}" '
        f'alt="{notebook.title()}"></a><br>{notebook.title()}'
        for notebook in notebooks
        for name in _pictures(notebook)[:1]
    ]
    rows = [cells[i : i + GALLERY_COLUMNS] for i in range(0, len(cells), GALLERY_COLUMNS)]
    width = 100 // GALLERY_COLUMNS
    lines = [
        "<tr>" + "".join(f'<td width="{width}%" valign="top">{cell}</td>' for cell in row) + "</tr>"
        for row in rows
    ]
    return "<table>\n" + "\n".join(lines) + "\n</table>\n"


def _table(notebooks: list[Notebook]) -> str:
    minutes = _minutes()
    lines = [
        "| item | notebook | output | minutes | published | here | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for notebook in notebooks:
        outputs = ", ".join(f"[{n}](figures/{n})" for n in _pictures(notebook))
        for claim in claims_of(notebook.number, figures_dir("quick")):
            cells = [
                f"**{claim['item']}**: {claim['claim']}",
                f"[{notebook.number}](notebooks/{notebook.path.name})",
                outputs,
                minutes.get(notebook.name, ""),
                claim["published"],
                claim["here"],
                claim["verdict"],
            ]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _verdicts() -> str:
    """The claims of figures/claims.csv, a line each with its first statistic; empty without one."""
    path = figures_dir("quick") / CLAIMS
    if not path.is_file():
        return ""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = ["", "| claim | where | verdict | statistic, 95% interval | rule | published | seeds |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for claim in dict.fromkeys(row["claim"] for row in rows):
        parts = [row for row in rows if row["claim"] == claim]
        lines.append(
            f"| {claim} | {parts[0]['section']} | **{parts[0]['verdict']}** | {_statistic(parts)} |"
        )
    return "\n".join(lines) + "\n"


def _statistic(parts: list[dict[str, str]]) -> str:
    """The last four cells of a claim's line: its first part, and how many of all hold."""
    first = parts[0]
    if not first["value"]:
        return "by definition |  |  | "
    numbers = " to ".join(f"{float(first[name]):.2f}" for name in ("low", "high"))
    text = f"{first['part']}: {float(first['value']):.2f} ({numbers})"
    if len(parts) > 1:
        held = sum(row["part verdict"] == "holds" for row in parts)
        text += f"; {held} of {len(parts)} parts hold"
    published = f"{float(first['published']):.2f}" if first["published"] else ""
    return f"{text} | {first['rule']} | {published} | {int(float(first['seeds']))}"


def _speed() -> str:
    """What benchmarks/run.py measured against the baseline; empty without its results."""
    path = CHECKOUT / "benchmarks" / "results.csv"
    if not path.is_file():
        return ""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["ratio"]]
    lines = ["", "| work | baseline, s | here, s | ratio |", "|---|---|---|---|"]
    lines += [
        f"| {row['work']} | {float(row['baseline_s']):.3g} | {float(row['here_s']):.3g} "
        f"| {float(row['ratio']):.1f} |"
        for row in rows
    ]
    return "\n".join([*lines, "", f"Measured on {rows[0]['machine']}."]) + "\n"


def _minutes() -> dict[str, str]:
    """Minutes of each notebook from nothing, as text, from figures/minutes.csv."""
    path = figures_dir("quick") / MINUTES
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {
            row["notebook"]: f"{float(row['training']) + float(row['running']):.1f}"
            for row in csv.DictReader(file)
        }
