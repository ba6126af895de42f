"""The tables of what benchmarks/ measured, for both READMEs, from its CSVs."""

from lavae_core.companion.files import read_rows
from lavae_core.companion.markdown import table
from lavae_core.paths import CHECKOUT

BENCHMARKS = CHECKOUT / "benchmarks"
README = BENCHMARKS / "README.md"


def summary() -> str:
    """For the front page: ratios and quality on the machines whose time to quality was measured."""
    timed = _by_machine("time_to_quality.csv")
    measured = _by_machine("results.csv")
    return _ratios({m: rows for m, rows in measured.items() if m in timed}) + _quality()


def _ratios(by_machine: dict[str, list[dict[str, str]]]) -> str:
    """What run.py measured against the baseline, on each machine; empty without its results."""
    header = ["work", "baseline, s", "here, s", "ratio"]
    parts = []
    for machine, rows in by_machine.items():
        compared = [
            [row["work"], _digits(row["baseline_s"]), _digits(row["here_s"]),
             f"{float(row['ratio']):.1f}"]
            for row in rows if row["ratio"]
        ]  # fmt: skip
        where = f"\nMeasured on {machine}, {rows[0]['gflop_per_s']} GFLOP/s.\n"
        parts.append(table(header, compared) + where)
    return "".join(parts)


def _by_machine(name: str) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for row in read_rows(BENCHMARKS / name):
        found.setdefault(row["machine"], []).append(row)
    return found


def _quality() -> str:
    """Minutes and BCE of the schedules of time_to_quality.py, and of the paper at the baseline's
    speed, on each machine; empty without its results."""
    columns = ["original", "first", "second", "composed", "total"]
    header = ["flips", "epochs", "minutes", *columns, "times faster than published"]
    parts = []
    for machine, rows in _by_machine("time_to_quality.csv").items():
        shown = [
            [row["who"], f"{float(row['epochs']):g}", f"{float(row['minutes']):,.1f}",
             *(f"{float(row[column]):.2f}" for column in columns), f"{float(row['times_faster']):.1f}"]
            for row in rows
        ]  # fmt: skip
        parts.append(table(header, shown) + f"\nMinutes on {machine}.\n")
    return "".join(parts)


def generated() -> str:
    """The tables of benchmarks/README.md: ratios, limits, where a step's time goes, the search."""
    measured = _by_machine("results.csv")
    limits = [
        [row["work"], _digits(row["here_s"]), machine]
        for machine, rows in measured.items() for row in rows if not row["ratio"]
    ]  # fmt: skip
    return (
        _ratios(measured)
        + table(["beside these", "s (memory: GB)", "machine"], limits)
        + "\nWhere the time of a stage-1 step goes, under the profiler, which adds some:\n"
        + _account()
        + "\nThe search for a schedule:\n"
        + _search()
        + _quality()
    )


def _account() -> str:
    """Milliseconds of a step by kind of work, on each machine; empty without its results."""
    parts = []
    for machine, rows in _by_machine("profile.csv").items():
        shown = [
            [row["work"], *(f"{float(row[who]):.2f}" for who in ("baseline_ms", "here_ms"))]
            for row in rows
        ]
        parts.append(table(["work", "baseline ms", "here ms"], shown) + f"\nOn {machine}.\n")
    return "".join(parts)


def _search() -> str:
    rows = read_rows(BENCHMARKS / "schedule_search.csv")
    if not rows:
        return ""
    header = [column.replace("_", " ") for column in rows[0]]
    return table(header, [list(row.values()) for row in rows])


def _digits(seconds: str) -> str:
    value = float(seconds)
    return f"{value:,.0f}" if value >= 100 else f"{value:#.2g}" if value < 1 else f"{value:.1f}"
