"""What guards the rest: `--check` fails with any of its parts, and nbval compares every cell."""

import re
import subprocess
import sys

import pytest
from edited import EDITS

from lavae_core import data
from lavae_core.companion import check, cli, environment
from lavae_core.companion.notebooks import discover

PARTS = ["style", "format", "unit tests", "notebooks", "nbval", "same bits"]


@pytest.mark.parametrize("failing", [None, *PARTS])
def test_every_part_runs_and_any_that_fails_fails_the_check(failing, home, monkeypatch, capsys):
    ran = []

    def part(name, *_):
        ran.append(name)
        return [name, "0.0", "failed (exit 1)" if name == failing else "passed"]

    monkeypatch.setattr(data, "load", lambda split: None)
    monkeypatch.setattr(check, "_run", part)
    monkeypatch.setattr(check, "_compare", lambda *_: part("same bits"))
    assert check.check() == (failing is not None)
    assert sorted(ran) == sorted(PARTS)  # of two at once either begins first
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()[-6:]] == PARTS


def test_two_parts_at_once_keep_their_lines_apart(capfd):
    def prints(word, code):
        line = f"import sys, time; print({word!r} * 2); time.sleep(0.5); print({word!r}); {code}"
        return word, ["timeit", "-n1", "-r1", line], {}

    rows = check._run_both(prints("quiet", "sys.exit(1)"), prints("shown", ""))
    assert [(name, result) for name, _, result in rows] == [
        ("quiet", "failed (exit 1)"),
        ("shown", "passed"),
    ]
    out = capfd.readouterr().out
    assert out.index("shown") < out.rindex("shown") < out.index("quietquiet") < out.rindex("quiet")


@pytest.mark.parametrize("notebook", discover(), ids=lambda notebook: notebook.name)
def test_nbval_compares_every_cell_but_the_parameters(notebook):
    first, *others = [cell for cell in notebook.cells() if cell["cell_type"] == "code"]
    assert first["metadata"]["tags"] == ["parameters"]
    assert all(cell["metadata"].get("tags") == ["nbval-check-output"] for cell in others)
    parameters = re.findall(r"^(\w+):", "".join(first["source"]), re.MULTILINE)
    assert EDITS[notebook.number].keys() <= set(parameters)  # papermill would add an unknown one


def test_the_notebooks_that_judge_a_sweep_are_there():
    assert set(cli.JUDGING) <= {notebook.output_stem for notebook in discover()}


def test_a_stamp_is_of_todays_lock(tmp_path):
    stamp = tmp_path / "stamp"
    assert environment.main([str(stamp)]) == 1
    environment.main(["--stamp", str(stamp)])
    assert environment.main([str(stamp)]) == 0
    stamp.write_text("of another lock")
    assert environment.main([str(stamp)]) == 1


def test_the_question_can_be_asked_where_nothing_is_installed():
    command = [sys.executable, "-I", "-S", environment.__file__]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
