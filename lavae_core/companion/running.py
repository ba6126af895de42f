"""Run the notebooks in their order, skip what is done, and sum up."""

import time

from lavae_core.companion.comparison import COLUMNS, read_claims
from lavae_core.companion.display import Watch, say, table
from lavae_core.companion.execution import execute
from lavae_core.companion.files import only_run, require_writable, shown, write_whole
from lavae_core.companion.normalise import normalised
from lavae_core.companion.notebooks import NOTEBOOKS, Notebook, discover
from lavae_core.companion.readme import write_minutes, write_readmes
from lavae_core.companion.records import read_record, record_key, write_record
from lavae_core.companion.settings import Settings, environment
from lavae_core.errors import LavaeError
from lavae_core.paths import home


def run_notebooks(notebooks: list[Notebook], settings: Settings) -> None:
    """Execute those of `notebooks` that are not done; at the end print minutes and verdicts.

    Raises LavaeError at the first notebook that fails; what was finished before it is kept.
    """
    for folder in (home(), settings.figures, settings.runs / "notebooks"):
        require_writable(folder)
    with only_run(settings.runs):
        rows = [
            _run_or_skip(notebook, settings, f"[{position}/{len(notebooks)}]")
            for position, notebook in enumerate(notebooks, 1)
        ]
    _sum_up(rows, settings)
    if settings.commits:
        write_minutes(discover(settings.notebooks), settings)
        if settings.notebooks == NOTEBOOKS:
            write_readmes()


def _run_or_skip(notebook: Notebook, settings: Settings, position: str) -> list[str]:
    """One row of the summary."""
    record = None if settings.force else read_record(notebook, settings)
    note = "done before"
    if record is None:
        say(f"{position} {notebook.name} ...")
        record = _run(notebook, settings)
        note = ""
        say(f"{position} {notebook.name} done in {record['minutes']:.1f} min")
    else:
        say(f"{position} {notebook.name} done before")
    return [notebook.name, f"{record['minutes']:.1f}", str(record["peak_mb"]), note]


def _run(notebook: Notebook, settings: Settings) -> dict:
    key = record_key(notebook, settings)
    partial = settings.runs / "notebooks" / f"{notebook.name}.partial.ipynb"
    failed = partial.with_name(f"{notebook.name}.failed.ipynb")  # keeps the traceback
    for left_over in (partial, failed, settings.used_file):
        left_over.unlink(missing_ok=True)
    watch = Watch(settings.progress_file)
    started = time.time()
    try:
        with environment(settings.variables()):
            executed = execute(notebook.path, partial, watch)
        text = normalised(executed, notebook.name)
    except LavaeError as error:
        if partial.is_file():
            partial.replace(failed)
            error = LavaeError(f"{error} (all of it: {shown(failed)})")
        raise error from error.__cause__
    finally:
        watch.close()
    if record_key(notebook, settings) != key:
        raise LavaeError(f"{notebook.name} or lavae_core was changed while it ran; run it again")
    write_whole(settings.executed(notebook), text)
    partial.unlink()
    return write_record(notebook, settings, key, started, watch.peak_mb)


def _sum_up(rows: list[list[str]], settings: Settings) -> None:
    total = sum(float(row[1]) for row in rows)
    heading = ["notebook", "minutes", "peak MB", ""]
    print("\n" + table([heading, *rows, ["together", f"{total:.1f}", "", ""]]))
    claims = read_claims(settings.figures)
    if claims:
        lines = [[row[column] for column in COLUMNS] for row in claims]
        print("\nthe paper and here:\n" + table([list(COLUMNS), *lines]))
