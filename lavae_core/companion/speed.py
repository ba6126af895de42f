"""The tables of what benchmarks/ measured, for both READMEs, from its CSVs."""

from collections.abc import Callable

from lavae_core.companion.files import read_rows
from lavae_core.companion.markdown import table
from lavae_core.paths import CHECKOUT

BENCHMARKS = CHECKOUT / "benchmarks"
README = BENCHMARKS / "README.md"

Row = dict[str, str]
ByMachine = dict[str, list[Row]]


def summary() -> str:
    """For the front page: ratios and quality on the machines whose time to quality was measured."""
    timed = _by_machine("time_to_quality.csv")
    measured = _by_machine("results.csv")
    return _ratios({m: rows for m, rows in measured.items() if m in timed}) + _quality()


def _ratios(by_machine: ByMachine) -> str:
    """What run.py measured against the baseline, on each machine; empty without its results."""
    compared = {m: [row for row in rows if row["ratio"]] for m, rows in by_machine.items()}
    return _tables(
        compared,
        ["work", "baseline, s", "here, s", "ratio"],
        lambda row: [row["work"], _digits(row["baseline_s"]), _digits(row["here_s"]),
                     f"{float(row['ratio']):.1f}"],
        "Measured on {machine}, {gflop_per_s} GFLOP/s.",
    )  # fmt: skip


def _quality() -> str:
    """Minutes and BCE of the schedules of time_to_quality.py, and of the paper at the baseline's
    speed, on each machine; empty without its results."""
    columns = ["original", "first", "second", "composed", "total"]
    return _tables(
        _by_machine("time_to_quality.csv"),
        ["flips", "epochs", "minutes", *columns, "times faster than published"],
        lambda row: [row["who"], f"{float(row['epochs']):g}", f"{float(row['minutes']):,.1f}",
                     *(f"{float(row[column]):.2f}" for column in columns),
                     f"{float(row['times_faster']):.1f}"],
        "Minutes on {machine}.",
    )  # fmt: skip


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
    columns = ["baseline_ms", "here_ms"]
    return _tables(
        _by_machine("profile.csv"),
        ["work", "baseline ms", "here ms"],
        lambda row: [row["work"], *(f"{float(row[column]):.2f}" for column in columns)],
        "On {machine}.",
    )


def _search() -> str:
    rows = read_rows(BENCHMARKS / "schedule_search.csv")
    if not rows:
        return ""
    header = [column.replace("_", " ") for column in rows[0]]
    return table(header, [list(row.values()) for row in rows])


def _by_machine(name: str) -> ByMachine:
    found: ByMachine = {}
    for row in read_rows(BENCHMARKS / name):
        found.setdefault(row["machine"], []).append(row)
    return found


def _tables(
    by_machine: ByMachine, header: list[str], cells: Callable[[Row], list[str]], caption: str
) -> str:
    """A table for each machine, a line for each of its rows, and below it the caption, whose
    {names} are columns of the first row."""
    return "".join(
        table(header, map(cells, rows)) + f"\n{caption.format(**rows[0])}\n"
        for rows in by_machine.values()
    )


def _digits(seconds: str) -> str:
    value = float(seconds)
    return f"{value:,.0f}" if value >= 100 else f"{value:#.2g}" if value < 1 else f"{value:.1f}"
