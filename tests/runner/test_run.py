"""A run of notebooks: what goes where, what is skipped, and what stops it."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from tiny import PARAMETERS, SAVE_PICTURE, settings_of, write_notebook

from lavae_companion import store
from lavae_companion.runner import run
from lavae_companion.runner.notebooks import discover
from lavae_companion.runner.run import read_record, record_key, run_notebooks
from lavae_core.errors import LavaeError, StoreError

COUNT_RUNS = """
import os, pathlib
with open(pathlib.Path(os.environ["LAVAE_HOME"]) / "runs.txt", "a") as file:
    print("ran", file=file)
"""


def run_all(settings) -> None:
    run_notebooks(discover(settings.notebooks), settings)


def is_executed(path: Path) -> bool:
    return bool(nbformat.read(path, as_version=4).cells[0].execution_count)


@pytest.fixture
def no_kernel(monkeypatch):
    """Notebooks execute at once; the list of (name, parameters, folder of figures)."""
    calls = []

    def execute(source, output, parameters, figures):
        calls.append((source.stem, parameters, figures))
        notebook = nbformat.read(source, as_version=4)
        for number, cell in enumerate(notebook.cells, 1):
            cell["execution_count"] = number
        shutil.copyfile(source, output)
        return notebook, 100

    monkeypatch.setattr(run, "execute", execute)
    return calls


@pytest.mark.parametrize("options", [{}, {"seed": 3}, {"seed": 3, "commit": True}])
def test_what_is_in_git_stays(sources, no_kernel, capsys, options):
    source = write_notebook(sources, "01_figure_01_a")
    settings = settings_of(sources, "quick", **options)
    run_all(settings)
    assert not is_executed(source) and not settings.committed.exists()
    assert settings.runs.name in capsys.readouterr().err
    assert is_executed(settings.runs / "notebooks" / source.name)
    assert no_kernel[0][2] == settings.runs / "figures"


def test_a_committing_run_replaces_what_is_in_git(sources, no_kernel):
    source = write_notebook(sources, "01_figure_01_a")
    settings = settings_of(sources, "quick", commit=True)
    run_all(settings)
    assert is_executed(source)
    assert [path.name for path in sorted(settings.committed.iterdir())] == [
        "README.md", "minutes.csv"
    ]  # fmt: skip
    assert no_kernel == [("01_figure_01_a", {}, settings.committed)]


def test_a_default_run_ends_with_a_comparison_with_git(sources, no_kernel, capsys):
    write_notebook(sources, "01_figure_01_a")
    for options in ({"seed": 1}, {}):
        settings = settings_of(sources, "quick", **options)
        for folder, value in ((settings.runs / "figures", "1.02"), (settings.committed, "1")):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "figure_01.csv").write_text(f"a\n{value}\n")
        run_all(settings)
    assert capsys.readouterr().out.count("2.00%") == 1


def test_a_notebook_gets_the_parameters_that_its_cell_has(sources, no_kernel):
    cell = PARAMETERS.replace("seed: int = 0", "seeds: list = [0, 1]") + '\ndataset: str = "mnist"'
    write_notebook(sources, "21_claims", parameters=cell)
    run_all(settings_of(sources, "quick", seed=1, dataset="fashion"))
    run_all(settings_of(sources, "quick", seeds=(1, 2)))
    run_all(settings_of(sources, "quick", seeds=(0, 1)))
    common = {"profile": "quick", "device": "cpu"}
    assert [parameters for _, parameters, _ in no_kernel] == [
        common | {"dataset": "fashion", "seeds": [1]},
        common | {"dataset": "mnist", "seeds": [1, 2]},
        {},
    ]


def test_notebooks_are_skipped_until_something_changes(sources, home, capfd):
    write_notebook(sources, "01_figure_03_a", SAVE_PICTURE)
    counted = write_notebook(sources, "02_table_01_b", COUNT_RUNS)
    home.mkdir()

    def runs_after(change=None, **options) -> int:
        before = (home / "runs.txt").read_text().count("ran") if (home / "runs.txt").exists() else 0
        if change:
            change()
        run_all(settings_of(sources, **options))
        return (home / "runs.txt").read_text().count("ran") - before

    settings = settings_of(sources)
    executed = settings.executed(discover(sources)[1])
    assert runs_after() == 1
    bytes_before = executed.read_bytes()
    assert runs_after() == 0
    assert capfd.readouterr().err.count("02_table_01_b is up to date") == 1
    assert runs_after(force=True) == 1
    assert executed.read_bytes() == bytes_before
    assert runs_after(executed.unlink) == 1
    assert runs_after(lambda: write_notebook(sources, counted.stem, COUNT_RUNS, "2")) == 1
    (settings.runs / "figures" / "figure_03.png").write_bytes(b"another picture")
    assert read_record(discover(sources)[0], settings) is None


@pytest.mark.parametrize(
    ("file", "matters"),
    [
        ("lavae_core/models.py", True),
        ("lavae_companion/results/claims.py", True),
        ("lavae_companion/figures/companion.mplstyle", True),
        ("lavae_companion/runner/normalise.py", True),
        ("lavae_companion/runner/report.py", False),
        ("requirements.lock", True),
        ("README.md", False),
    ],
)
def test_a_change_that_can_change_a_result_is_noticed(
    sources, tmp_path, monkeypatch, file, matters
):
    for name in ("lavae_core", "lavae_companion", "requirements.lock"):
        copy = shutil.copytree if (run.CHECKOUT / name).is_dir() else shutil.copyfile
        copy(run.CHECKOUT / name, tmp_path / name)
    monkeypatch.setattr(run, "CHECKOUT", tmp_path)
    notebook = discover(write_notebook(sources, "01_a").parent)[0]
    before = record_key(notebook, settings_of(sources))
    with (tmp_path / file).open("a") as changed:
        changed.write("\n# changed\n")
    assert (record_key(notebook, settings_of(sources)) != before) == matters


def test_a_notebook_that_changed_while_it_ran_has_no_record(sources, no_kernel, monkeypatch):
    write_notebook(sources, "01_figure_01_a")
    keys = iter("0ab")
    monkeypatch.setattr(run, "record_key", lambda *_: next(keys))
    with pytest.raises(LavaeError, match="01_figure_01_a"):
        run_all(settings_of(sources))
    assert not (settings_of(sources).runs / "records").exists()


def test_minutes_of_training_are_apart_and_are_not_forgotten(sources, no_kernel, monkeypatch):
    write_notebook(sources, "01_figure_01_a")
    settings = settings_of(sources)
    trained = {"stage1-a": 2.0, "maps-b": 0.5}
    monkeypatch.setattr(store, "made_since", lambda started: trained)
    monkeypatch.setattr(store, "minutes", lambda name: trained[name])
    clock = iter(range(0, 10**6, 180))
    monkeypatch.setattr(run.time, "time", lambda: next(clock))
    run_all(settings)
    record = read_record(discover(sources)[0], settings)
    assert (record["minutes"], record["running"], record["training"]) == (3.0, 0.5, 2.5)
    trained.clear()
    run_all(settings_of(sources, force=True))
    record = read_record(discover(sources)[0], settings)
    assert (record["running"], record["training"]) == (3.0, 2.5)


def test_made_since_are_the_artifacts_of_now(home):
    def make(name: str) -> None:
        store.get_or_make("kind", {"name": name}, lambda *_: {}, lambda folder: folder)

    make("before")
    (old,) = store.made_since(0)
    os.utime(home / "artifacts" / old / store.MANIFEST, (1, 1))
    make("now")
    assert set(store.made_since(0)) - {old} == set(store.made_since(time.time() - 60))


def test_a_notebook_that_fails_stops_the_run_and_the_others_are_kept(sources):
    write_notebook(sources, "01_figure_01_good", "1")
    write_notebook(sources, "02_figure_02_bad", "1 / 0")
    write_notebook(sources, "03_figure_03_later", "1")
    settings = settings_of(sources)
    with pytest.raises(LavaeError, match="02_figure_02_bad.*ZeroDivisionError.*failed.ipynb"):
        run_all(settings)
    assert [path.name for path in (settings.runs / "records").iterdir()] == ["01.json"]
    executed = sorted(path.name for path in (settings.runs / "notebooks").iterdir())
    assert executed == ["01_figure_01_good.ipynb", "02_figure_02_bad.failed.ipynb"]


def test_the_last_lines_are_what_notebooks_say_about_claims(sources, monkeypatch, capsys):
    check = "print('the claim: holds')  # study.check('Figure 1')"
    write_notebook(sources, "01_figure_01_a", "print('no claim')", check)
    run_all(settings_of(sources))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "the claim: holds" and "no claim" not in lines


def test_two_runs_at_once_are_one_too_many(sources, no_kernel):
    write_notebook(sources, "01_figure_01_a")
    settings = settings_of(sources)
    settings.runs.mkdir(parents=True)
    hold = (
        "import sys\nfrom pathlib import Path\nfrom lavae_companion.runner.files import only_run\n"
    )
    hold += "with only_run(Path(sys.argv[1])):\n    print('held', flush=True)\n    input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, settings.runs],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"runs/smoke.*process {holder.pid} "):
            run_all(settings)
        holder.communicate("\n")
    assert no_kernel == []


@pytest.mark.parametrize("file", ["home", "home/runs/smoke/figures"])
def test_a_folder_that_cannot_be_written_is_one_line(sources, tmp_path, file):
    write_notebook(sources, "01_figure_01_a")
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=file):
        run_all(settings_of(sources))


def test_a_damaged_record_is_none(sources, no_kernel):
    write_notebook(sources, "01_figure_01_a")
    settings = settings_of(sources)
    run_all(settings)
    record = settings.runs / "records" / "01.json"
    assert json.loads(record.read_text())["peak_mb"] == 100
    record.write_text(record.read_text()[:-9])
    run_all(settings)
    assert len(no_kernel) == 2
