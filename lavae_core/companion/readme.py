"""The generated part of the README: gallery, and which notebook makes which figure in which time.

It is made from committed files alone (figures/ and the notebooks), so a test can tell when it is
stale. The minutes are those of a run from nothing: of the notebook, and of the models that it is
the first to need, whenever these were trained.
"""

import csv
import io
from collections.abc import Iterator

from lavae_core import artifacts
from lavae_core.claims import HOLDS
from lavae_core.companion import speed
from lavae_core.companion.comparison import claims_of
from lavae_core.companion.files import read_rows, write_whole
from lavae_core.companion.markdown import table, write_marked
from lavae_core.companion.notebooks import Notebook, discover
from lavae_core.companion.records import read_record
from lavae_core.companion.settings import Settings
from lavae_core.paths import CHECKOUT, figures_dir

README = CHECKOUT / "README.md"
MINUTES, CLAIMS = "minutes.csv", "claims.csv"
COLUMNS = ("notebook", "training", "running", "peak_mb")
GALLERY_COLUMNS = 3
# Of a specification, not of an inner stage.
OUTERMOST = ("versions", "threads", "data_sha256", "augmentations")


def write_minutes(notebooks: list[Notebook], settings: Settings) -> None:
    """Write figures/minutes.csv from the records, if every notebook is done and what it used is kept."""
    records = [read_record(notebook, settings) for notebook in notebooks]
    kept = artifacts.manifests()
    if None in records or not all(kept.keys() >= set(record["used"]) for record in records):
        return  # not all is done, or some of it was deleted since
    specs = {name: content["spec"] for name, content in kept.items()}
    charged: set[str] = set()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for notebook, record in zip(notebooks, records, strict=True):
        own = [used for used in record["used"] if _seed(specs[used]) == (settings.seed or 0)]
        needed = {name for used in own for name in _with_stages(used, specs)}
        new = needed - charged
        charged.update(new)
        training = sum(kept[name]["told"]["minutes"] for name in new)
        running = record["minutes"] - record["training"]
        writer.writerow([notebook.name, f"{training:.1f}", f"{running:.1f}", record["peak_mb"]])
    write_whole(settings.figures / MINUTES, text.getvalue())


def _with_stages(name: str, specs: dict[str, dict]) -> set[str]:
    """An artifact and the stages that it stands on: a transfer head needs stages 1 and 2."""
    whole, wanted = specs[name], list(_inner(specs[name]))
    return {name} | {
        stage for stage, spec in specs.items() if _own(spec) in wanted and _as_part_of(whole, spec)
    }


def _seed(spec: dict) -> int:
    """The seed of an artifact: what a sweep measured for others is no part of a run from nothing."""
    return next(inner["seed"] for inner in _inner(spec) if "seed" in inner)


def _own(spec: dict) -> dict:
    """A specification as it stands inside that of a later stage."""
    return {key: value for key, value in spec.items() if key not in OUTERMOST}


def _as_part_of(whole: dict, spec: dict) -> bool:
    """Whether a stage is of the versions that `whole` stands on, not left of an earlier one."""
    return spec.get("versions", {}).items() <= whole.get("versions", {}).items()


def _inner(spec: dict) -> Iterator[dict]:
    for value in spec.values():
        if isinstance(value, dict):
            yield value
            yield from _inner(value)


def write_readmes() -> None:
    """Make the generated parts of both READMEs again. Raises LavaeError without their marks."""
    write_marked(README, generated())
    write_marked(speed.README, speed.generated())


def generated() -> str:
    """The generated part of README.md, in Markdown."""
    notebooks = discover()
    return f"{_gallery(notebooks)}{_table(notebooks)}{_cost()}{_verdicts()}{speed.summary()}"


def _pictures(notebook: Notebook) -> list[str]:
    return [path.name for path in sorted(figures_dir().glob(f"{notebook.output_stem}*.png"))]


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
    minutes = {
        row["notebook"]: f"{_from_nothing(row):.1f}" for row in read_rows(figures_dir() / MINUTES)
    }
    header = ["item", "notebook", "output", "minutes", "published", "here", "verdict"]
    rows = [
        [
            f"**{claim['item']}**: {claim['claim']}",
            f"[{notebook.number}](notebooks/{notebook.path.name})",
            ", ".join(f"[{n}](figures/{n})" for n in _pictures(notebook)),
            minutes.get(notebook.name, ""),  # a new notebook has none yet
            claim["published"],
            claim["here"],
            claim["verdict"],
        ]
        for notebook in notebooks
        for claim in claims_of(notebook.number, figures_dir())
    ]
    return table(header, rows)


def _cost() -> str:
    """What all of it costs, from figures/minutes.csv."""
    rows = read_rows(figures_dir() / MINUTES)
    if not rows:
        return ""
    total = sum(_from_nothing(row) for row in rows)
    training = sum(float(row["training"]) for row in rows)
    memory = max(int(row["peak_mb"]) for row in rows) / 1000
    return (
        f"\nMinutes are of a run from nothing; each notebook has those of the models that it is the "
        f"first to need:\n{total:.0f} in all, {training:.0f} of them training. The largest notebook "
        f"takes {memory:.1f} GB of memory.\n"
    )


def _verdicts() -> str:
    """The claims of figures/claims.csv, a line each with the statistic that decides."""
    rows = read_rows(figures_dir() / CLAIMS)
    header = ["claim", "where", "verdict", "statistic, 95% interval", "rule", "published", "seeds"]
    lines = []
    for claim in dict.fromkeys(row["claim"] for row in rows):
        parts = [row for row in rows if row["claim"] == claim]
        where, verdict = parts[0]["section"], f"**{parts[0]['verdict']}**"
        lines.append([claim, where, verdict, *_statistic(parts)])
    return table(header, lines)


def _statistic(parts: list[dict[str, str]]) -> list[str]:
    """The last four cells of a claim's line: a part, and how many of all hold. The part is the first
    that holds where the claim does, else the first that does not hold."""
    if not parts[0]["part"]:
        return ["by definition", "", "", ""]
    whole = parts[0]["verdict"] == HOLDS
    shown = next(row for row in parts if (row["part verdict"] == HOLDS) == whole)
    if not shown["value"]:
        return [f"{shown['part']}: not measured", shown["rule"], "", "0"]
    value, low, high = (_three_digits(shown[name]) for name in ("value", "low", "high"))
    text = f"{shown['part']}: {value} ({low} to {high})"
    if len(parts) > 1:
        held = sum(row["part verdict"] == HOLDS for row in parts)
        text += f"; {held} of {len(parts)} parts hold"
    published = f"{float(shown['published']):.2f}" if shown["published"] else ""
    return [text, shown["rule"], published, str(int(float(shown["seeds"])))]


def _three_digits(number: str) -> str:
    return f"{float(number):.3f}" if abs(float(number)) < 10 else f"{float(number):.1f}"


def _from_nothing(row: dict[str, str]) -> float:
    return float(row["training"]) + float(row["running"])
