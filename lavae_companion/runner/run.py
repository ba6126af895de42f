"""Run the notebooks in their order, skip those that are up to date, and sum up."""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lavae_companion import store
from lavae_companion.data import home
from lavae_companion.paths import CHECKOUT, FIGURES, NOTEBOOKS, runs_dir
from lavae_companion.runner import tables
from lavae_companion.runner.compare import differences, summary
from lavae_companion.runner.execute import LOADED, execute
from lavae_companion.runner.files import only_run, require_writable, say, shown, write_whole
from lavae_companion.runner.normalise import normalised
from lavae_companion.runner.notebooks import Notebook, choose, discover
from lavae_companion.runner.readme import readme
from lavae_core.errors import LavaeError
from lavae_core.pretrained import shipped_list

# Of these packages, only those files can change what a notebook shows or writes.
OUTSIDE = ("runner", "explorer")
RESULT_FILES = ("environment.py", "execute.py", "kernel.py", "normalise.py")


@dataclass(frozen=True)
class Settings:
    """What a run was asked for. seeds: those that the claims are judged on; (): `seed` alone.

    verdicts: with the fair controls (results/controls.py), hours of training.
    shipped: with the weights of the checkout (LAVAE_SHIPPED is set).
    commit: results of notebooks at their committed values replace those in git, which are in the
    folders notebooks and committed (pictures and tables).
    """

    profile: str = "quick"
    seed: int = 0
    device: str = "cpu"
    dataset: str = "mnist"
    seeds: tuple[int, ...] = ()
    force: bool = False
    verdicts: bool = False
    commit: bool = False
    shipped: bool = False
    notebooks: Path = NOTEBOOKS
    committed: Path = FIGURES

    @property
    def runs(self) -> Path:
        """Folder of this run."""
        return runs_dir(self.profile, self.seed, self.device, self.dataset)

    def parameters(self, notebook: Notebook) -> dict[str, Any]:
        """What papermill passes to a notebook: nothing where every value is the committed one.

        Raises LavaeError for a notebook without a parameter that every run sets.
        """
        values = {
            "profile": self.profile, "device": self.device, "dataset": self.dataset,
            "seed": self.seed, "seeds": list(self.seeds or [self.seed]),
        }  # fmt: skip
        literals = notebook.parameters()
        for names in ({"profile"}, {"device"}, {"seed", "seeds"}):
            if not names & literals.keys():
                raise LavaeError(f"the parameter cell of {notebook.name} has no {min(names)}")
        passed = {name: value for name, value in values.items() if name in literals}
        return {} if passed.items() <= literals.items() else passed

    def commits(self, notebook: Notebook) -> bool:
        """Whether the results of a notebook replace those in git."""
        return self.commit and not self.parameters(notebook)

    def figures(self, notebook: Notebook) -> Path:
        """Folder of a notebook's pictures and tables."""
        return self.committed if self.commits(notebook) else self.runs / "figures"

    def executed(self, notebook: Notebook) -> Path:
        """Where the executed notebook is kept."""
        if self.commits(notebook):
            return notebook.path
        return self.runs / "notebooks" / notebook.path.name

    def claims_file(self, notebooks: list[Notebook]) -> Path | None:
        """The table of claims, where one of `notebooks` writes it; that with the controls first."""
        tables = {
            each.output_stem: self.figures(each) / f"{each.output_stem}.csv" for each in notebooks
        }
        return tables.get("verdicts") or tables.get("claims")


def run_notebooks(notebooks: list[Notebook], settings: Settings) -> None:
    """Execute those of `notebooks` that are not up to date; print minutes and verdicts.

    Raises LavaeError at the first notebook that fails; what was finished before it is kept.
    """
    own = [notebook for notebook in notebooks if not settings.commits(notebook)]
    committed = [settings.committed] if len(own) < len(notebooks) else []
    for folder in (home(), settings.runs / "figures", settings.runs / "notebooks", *committed):
        require_writable(folder)
    if own:
        say(f"results of {len(own)} notebooks go to {shown(settings.runs)}; what is in git stays")
    with only_run(settings.runs):
        records = {
            notebook: _run_or_skip(notebook, settings, f"[{position}/{len(notebooks)}]")
            for position, notebook in enumerate(notebooks, 1)
        }
        if committed:
            _write_gallery(settings)
    print("\n" + tables.minutes(records))
    if not any(settings.parameters(notebook) for notebook in notebooks) and not committed:
        rows = differences(settings.runs / "figures", settings.committed)
        print("\n" + tables.plain(summary(rows), ["file", "beside the committed one"]))
    executed = [Notebook(settings.executed(notebook)) for notebook in notebooks]
    print("\n" + (tables.verdicts(settings.claims_file(notebooks)) or tables.checks(executed)))


def _write_gallery(settings: Settings) -> None:
    """README.md, figures/README.md; figures/minutes.csv too, once every notebook of this run is up to date."""
    notebooks, folder = discover(settings.notebooks), settings.committed
    records = {notebook: read_record(notebook, settings) for notebook in choose(notebooks, [])}
    if all(records.values()) and not settings.seeds:
        write_whole(folder / "minutes.csv", tables.minutes_csv(records))
    write_whole(folder / "README.md", tables.gallery(notebooks, folder))
    if folder == FIGURES:
        write_whole(CHECKOUT / "README.md", readme(folder, notebooks))


def _run_or_skip(notebook: Notebook, settings: Settings, position: str) -> dict[str, Any]:
    """The record of a notebook, with a "note" if it was up to date."""
    record = None if settings.force else read_record(notebook, settings)
    if record is not None:
        say(f"{position} {notebook.name} is up to date")
        return record | {"note": "up to date"}
    say(f"{position} {notebook.name} ...")
    record = _run(notebook, settings)
    say(f"{position} {notebook.name} done in {record['minutes']:.1f} min")
    return record


def _run(notebook: Notebook, settings: Settings) -> dict[str, Any]:
    key, started = record_key(notebook, settings), time.time()
    partial = settings.runs / "notebooks" / f"{notebook.name}.partial.ipynb"
    failed = partial.with_name(f"{notebook.name}.failed.ipynb")  # keeps the traceback
    for left_over in (partial, failed, partial.with_name(f"{notebook.name}{LOADED}")):
        left_over.unlink(missing_ok=True)
    parameters, figures = settings.parameters(notebook), settings.figures(notebook)
    try:
        executed, peak_mb = execute(notebook.path, partial, parameters, figures)
        text = normalised(executed, notebook.name)
    except LavaeError as error:
        if partial.is_file():
            partial.replace(failed)
            error = LavaeError(f"{error} (all of it: {shown(failed)})")
        raise error from error.__cause__
    if record_key(notebook, settings) != key:
        raise LavaeError(f"{notebook.name} or its packages changed while it ran; run it again")
    write_whole(settings.executed(notebook), text)
    partial.unlink()
    return _write_record(notebook, settings, key, started, peak_mb)


# -- records: what is up to date -----------------------------------------------------------------


def record_key(notebook: Notebook, settings: Settings) -> str:
    """Hash of all that determines a notebook's result: its sources, its parameters, the code of both
    packages and the versions of the others."""
    files = [
        path for package in ("lavae_core", "lavae_companion")
        for path in sorted((CHECKOUT / package).rglob("*"))
        if path.suffix in (".py", ".mplstyle")
        and (path.parent.name not in OUTSIDE or path.name in RESULT_FILES)
    ]  # fmt: skip
    parts = [
        [(cell["cell_type"], "".join(cell["source"])) for cell in notebook.cells()],
        settings.parameters(notebook),
        [(str(path.relative_to(CHECKOUT)), path.read_text(encoding="utf-8")) for path in files],
        (CHECKOUT / "requirements.lock").read_text(encoding="utf-8"),
        shipped_list() if settings.shipped else None,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def read_record(notebook: Notebook, settings: Settings) -> dict[str, Any] | None:
    """The record, if the notebook is up to date and all that it wrote is still as it left it."""
    record = _read(_record_file(notebook, settings))
    expected = {"key": record_key(notebook, settings), "wrote": _wrote(notebook, settings)}
    return record if expected.items() <= record.items() else None


def _write_record(
    notebook: Notebook, settings: Settings, key: str, started: float, peak_mb: int
) -> dict[str, Any]:
    """The record is written last: a notebook without one runs again. training: minutes of the models
    that were trained while it ran, or in a run before that loaded them."""
    path = _record_file(notebook, settings)
    now = sum(store.minutes(name) for name in store.made_since(started))
    minutes = (time.time() - started) / 60
    record = {
        "key": key,
        "minutes": round(minutes, 2),
        "running": round(max(minutes - now, 0), 2),
        "training": round(max(now, _read(path).get("training", 0)), 2),
        "peak_mb": peak_mb,
        "wrote": _wrote(notebook, settings),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(record, indent=1))
    return record


def _record_file(notebook: Notebook, settings: Settings) -> Path:
    folder = "committed" if settings.commits(notebook) else "records"
    return settings.runs / folder / f"{notebook.number}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _wrote(notebook: Notebook, settings: Settings) -> dict[str, str]:
    """Hashes of the executed notebook and its pictures and tables."""
    outputs = sorted(settings.figures(notebook).glob(f"{notebook.output_stem}*"))
    files = [path for path in (settings.executed(notebook), *outputs) if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
