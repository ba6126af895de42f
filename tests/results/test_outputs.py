"""Where pictures, tables and their provenance go, and what is in them."""

import json
import subprocess

import pandas as pd
import pytest
import torch
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure

from lavae_companion import notebook, outputs, paths
from lavae_companion.experiments import Setting
from lavae_companion.study import Study
from lavae_core.errors import InvalidInputError, StoreError
from lavae_core.runtime import Runtime

SETTING = Setting(3, Runtime("cpu", "fp32"))
WRITTEN = {"figure_01.png", "figure_01.pdf", "figure_00.gif", "table_01.csv", "claims.json"}


def picture() -> Figure:
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([1, 2])
    return figure


def animation() -> FuncAnimation:
    figure = picture()
    (line,) = figure.axes[0].lines
    return FuncAnimation(figure, lambda frame: line.set_ydata([frame, 2]), 3, init_func=int)


def write_everything(study: Study) -> None:
    study.save_figure(picture(), "figure_01")
    study.save_animation(animation(), "figure_00")
    study.save_table(pd.DataFrame({"x": [1.23456]}), "table_01")
    study.save_provenance([1, 0], "claims")


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_notebook_outside_of_run_all_writes_to_a_folder_for_play(home):
    write_everything(Study())
    assert names(home / "play") == WRITTEN and paths.play_dir() == home / "play"


def test_run_all_says_where_a_notebook_writes(home, tmp_path, monkeypatch):
    monkeypatch.setenv("LAVAE_OUTPUT", str(tmp_path / "of" / "this run"))
    write_everything(Study("smoke", seed=1))
    folder = tmp_path / "of" / "this run"
    assert names(folder) == WRITTEN and not home.exists()
    assert (folder / "table_01.csv").read_text() == ",x\n0,1.2346\n"


def test_a_table_has_the_decimals_that_it_is_asked_for(home):
    outputs.save_table(pd.DataFrame({"x": [1.23456, 2.0]}), "t", decimals=1)
    assert (home / "play" / "t.csv").read_text() == ",x\n0,1.2\n1,2.0\n"


def test_an_empty_table_is_refused(home):
    with pytest.raises(InvalidInputError, match="table_01"):
        Study().save_table(pd.DataFrame({"x": []}), "table_01")
    assert not list(home.rglob("*.csv"))


def test_the_same_picture_is_the_same_bytes(home):
    def written() -> list[bytes]:
        outputs.save_figure(picture(), "figure_01")
        return [(home / f"play/figure_01.{kind}").read_bytes() for kind in ("png", "pdf")]

    png, pdf = written()
    assert [png, pdf] == written()
    # A second later, or with another matplotlib, they would differ.
    assert b"Software" not in png and b"/CreationDate" not in pdf


def test_the_same_animation_is_the_same_bytes(home):
    first = outputs.save_animation(animation(), "figure_00")
    assert first == outputs.save_animation(animation(), "figure_00")
    assert first == (home / "play" / "figure_00.gif").read_bytes() and first[:3] == b"GIF"


def test_provenance_is_of_the_setting_and_names_no_machine(home):
    content = outputs.provenance("smoke", SETTING, [2, 0, 1])
    assert (content["profile"], content["seeds"], content["device"]) == ("smoke", [0, 1, 2], "cpu")
    assert content["precision"] == "fp32" and content["torch"] == torch.__version__
    assert json.loads(json.dumps(content)) == content
    text = json.dumps(content)
    assert str(home) not in text and str(paths.CHECKOUT) not in text
    outputs.save_provenance("smoke", SETTING, {1}, "claims")
    assert json.loads((home / "play" / "claims.json").read_text()) == content | {"seeds": [1]}


def test_the_commit_is_that_of_this_projects_own_repository(tmp_path, monkeypatch):
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            [*command, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit() -> str | None:
        return outputs.provenance("smoke", SETTING, [0])["commit"]

    git("init", "-q")
    (tmp_path / "lavae_core").mkdir()
    (tmp_path / "lavae_core" / "code.py").write_text("1")
    git("add", ".")
    git("commit", "-qm", "code")
    monkeypatch.setattr(outputs, "CHECKOUT", tmp_path.resolve())
    assert commit() == git("rev-parse", "HEAD")
    (tmp_path / "README.md").write_text("text")
    assert commit() == git("rev-parse", "HEAD")
    (tmp_path / "lavae_core" / "code.py").write_text("2")
    assert commit() == git("rev-parse", "HEAD") + "+"
    monkeypatch.setattr(outputs, "CHECKOUT", (tmp_path / "lavae_core").resolve())
    assert commit() is None  # the repository of somebody else, in which a copy lies


def test_the_commit_is_not_that_of_another_repository_in_the_environment(tmp_path, monkeypatch):
    before = outputs.provenance("smoke", SETTING, [0])["commit"]
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))  # as in a hook of that repository
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert outputs.provenance("smoke", SETTING, [0])["commit"] == before
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no git
    assert outputs.provenance("smoke", SETTING, [0])["commit"] is None


def test_a_notebook_says_that_its_code_is_of_another_checkout(home, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("LAVAE_OUTPUT", raising=False)
    monkeypatch.setattr(notebook, "shell", object)
    for folder in ("other/lavae_core", "other/notebooks", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    said = []
    for folder in (tmp_path / "other" / "notebooks", tmp_path / "elsewhere", paths.NOTEBOOKS):
        monkeypatch.chdir(folder)
        outputs.announce()
        said.append(str(tmp_path / "other") in capsys.readouterr().out)
    assert said == [True, False, False]


def test_every_run_has_a_folder_of_its_own(home):
    folders = [
        paths.runs_dir("quick"),
        paths.runs_dir("quick", 1),
        paths.runs_dir("quick", 0, "cuda"),
        paths.runs_dir("long", 1, "cuda:1"),
        paths.runs_dir("quick", dataset="fashion"),
        paths.runs_dir("quick", dataset=str(home / "letters.npz")),
    ]
    assert [folder.name for folder in folders] == [
        "quick", "quick-seed1", "quick-cuda", "long-seed1-cuda1", "quick-fashion", "quick-letters",
    ]  # fmt: skip
    assert {folder.parent for folder in folders} == {home / "runs"}


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("LAVAE_OUTPUT", str(tmp_path / "file"))
    for write in (
        lambda: outputs.save_figure(Figure(), "x"),
        lambda: outputs.save_table(pd.DataFrame({"x": [1]}), "x"),
        lambda: outputs.save_provenance("smoke", SETTING, [0], "x"),
    ):
        with pytest.raises(StoreError, match="file") as caught:
            write()
        assert "\n" not in str(caught.value)


def test_files_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("LAVAE_OUTPUT", str(tmp_path))
    for name in WRITTEN:
        (tmp_path / name).mkdir()  # a folder in place of each file
    for write, name in (
        (lambda: outputs.save_figure(picture(), "figure_01"), "figure_01"),
        (lambda: outputs.save_animation(animation(), "figure_00"), "figure_00"),
        (lambda: outputs.save_table(pd.DataFrame({"x": [1]}), "table_01"), "table_01"),
        (lambda: outputs.save_provenance("smoke", SETTING, [0], "claims"), "claims"),
    ):
        with pytest.raises(StoreError, match=name):
            write()
