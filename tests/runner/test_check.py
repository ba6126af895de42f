"""`--check` fails with any of its parts, and keeps the lines of two at once apart."""

import sys

import nbformat
import pytest
from tiny import write_notebook

from lavae_companion import data
from lavae_companion.runner import check
from lavae_companion.runner.check import same_bits
from lavae_companion.runner.execute import execute

PARTS = [
    "style", "format", "import contract", "unit tests", "notebooks", "nbval", "same bits",
]  # fmt: skip


@pytest.mark.parametrize("failing", [None, *PARTS])
def test_every_part_runs_and_any_that_fails_fails_the_check(failing, home, monkeypatch, capsys):
    variables = {}

    def part(name, *_, output=None, **own):
        variables[name] = own
        print("quiet" if output else "shown", file=output)
        return [name, "0.0", "failed (exit 1)" if name == failing else "passed"]

    monkeypatch.setattr(data, "load", lambda split: None)
    monkeypatch.setattr(check, "_run", part)
    monkeypatch.setattr(check, "_compare", lambda *_: part("same bits"))
    assert check.check() == (failing is not None)
    assert variables.keys() == set(PARTS)  # of two at once either begins first
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[-7:]] == PARTS
    assert lines.index("quiet") > max(i for i, line in enumerate(lines[:5]) if line == "shown")
    assert variables["notebooks"]["LAVAE_HOME"] != variables["nbval"]["LAVAE_HOME"]
    assert variables["nbval"]["TQDM_DISABLE"] == "1"
    assert variables["nbval"]["LAVAE_OUTPUT"].startswith(variables["nbval"]["LAVAE_HOME"])


@pytest.mark.parametrize(("code", "result"), [(0, "passed"), (3, "failed (exit 3)")])
def test_a_part_passes_by_its_exit_status(code, result, capfd):
    arguments = ["-c", f"import os; print(os.environ['WORD']); raise SystemExit({code})"]
    assert check._run("a part", arguments, WORD="a word")[::2] == ["a part", result]
    assert "a word" in capfd.readouterr().out


def test_same_bits_sees_what_differs_and_what_is_missing(tmp_path):
    weights, picture = "artifacts/stage1-1/model.safetensors", "runs/smoke/figures/a.png"
    ignored = "artifacts/stage1-1/manifest.json"
    for name in ("first", "second"):
        for file in (weights, picture, ignored):
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text("same" if file != ignored else name)
    both = tmp_path / "first", tmp_path / "second"
    assert same_bits(*both) == ([weights, picture], [])
    (both[1] / weights).write_text("samE")
    (both[0] / picture).unlink()
    assert same_bits(*both) == ([], [weights, picture])


def test_nbval_compares_in_this_python_whatever_kernel_the_user_has(tmp_path, monkeypatch, capfd):
    spec = tmp_path / "foreign" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(
        '{"argv": ["/bin/sh", "-c", "exit 1"], "display_name": "", "language": "python"}'
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "foreign"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    source = write_notebook(
        tmp_path, "01_a", "import sys; print(sys.executable, sys.flags.safe_path)"
    )
    notebook, _ = execute(source, tmp_path / "02_a.ipynb", {}, tmp_path)
    notebook.cells[1].metadata["tags"] = ["nbval-check-output"]
    nbformat.write(notebook, tmp_path / "02_a.ipynb")
    arguments = [*check.NBVAL, "--rootdir", str(tmp_path), str(tmp_path / "02_a.ipynb")]
    assert check._run("nbval", arguments)[2] == "passed"
    assert f"{sys.executable} True" in notebook.cells[1].outputs[0].text
