"""A notebook in a kernel: how it can fail, what the kernel gets, and what a person sees meanwhile."""

import io
import json
import os
import sys
from pathlib import Path

import psutil
import pytest
from tiny import write_notebook

from lavae_companion.paths import CHECKOUT
from lavae_companion.runner import execute as module
from lavae_companion.runner import kernel
from lavae_companion.runner.execute import Progress, execute
from lavae_core.errors import LavaeError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_has_a_line_of_a_progress_bar_now_and_then(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    progress = Progress()
    for seconds, text in (
        (10, "\rstage 1:  1%"),
        (20, "a warning\n"),
        (31, "\rstage 1: 30%\rstage 1: 31%"),
        (35, "\rstage 1: 35%"),
        (70, "\r            \r"),  # it is done, and takes its bar away
        (71, "\rstage 3:  0%"),
    ):
        now[0] = float(seconds)
        progress.write(text)
    assert capsys.readouterr().err == "a warning\n    stage 1: 31%\n    stage 3:  0%\n"


def test_a_terminal_shows_a_progress_bar_as_it_is(monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    Progress().write("\rstage 1:  1%")
    assert module.sys.stderr.getvalue() == "\rstage 1:  1%"


def test_a_kernel_gets_parameters_a_folder_and_not_the_users_shell(sources, tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    source = write_notebook(
        sources,
        "01_a",
        "import os, sys\nfrom tqdm.std import tqdm\nprint(profile, seed, device)\n"
        "for name in ('LAVAE_OUTPUT', 'LAVAE_LOADED', 'PYTHONHASHSEED', 'MPLBACKEND'):\n"
        "    print(os.environ.get(name))",
        "import time\nmegabytes = bytearray(300 * 2**20)\ntime.sleep(1)\nfor _ in tqdm(range(3)): pass",
    )
    wide = []
    monkeypatch.setattr(Progress, "write", lambda _, text: wide.append(text))
    parameters = {"profile": "smoke", "seed": 3}
    notebook, peak_mb = execute(source, tmp_path / "out.ipynb", parameters, tmp_path / "figures")
    printed = "".join(output.text for output in notebook.cells[2].outputs).splitlines()
    backend = "module://matplotlib_inline.backend_inline"
    lists = [str(tmp_path / "figures"), str(tmp_path / "01_a.loaded")]
    assert printed == ["smoke 3 cpu", *lists, "0", backend]
    assert any("3/3" in text or "0/3" in text for text in wide)
    assert 300 < peak_mb < 2000
    assert os.environ["MPLBACKEND"] == "Agg" and "LAVAE_OUTPUT" not in os.environ


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("print(1)\nraise ValueError('first\\nsecond')", "cell 3: ValueError: first"),
        (
            "from lavae_companion.data import DataError\nraise DataError('no MNIST')",
            "cell 3: no MNIST",
        ),
        ("import os\nos._exit(9)", "cell 3: the kernel was killed"),
        ("import sys\nsys.exit(0)", "cell 3 did not run"),
    ],
)
def test_a_cell_that_fails_is_named_in_one_line(sources, tmp_path, cell, said):
    source = write_notebook(sources, "01_a", "1", cell, "3")
    with pytest.raises(LavaeError, match=f"^01_a: {said}") as caught:
        execute(source, tmp_path / "out.ipynb", {}, tmp_path)
    assert "\n" not in str(caught.value)


def test_ctrl_c_ends_the_kernel(sources, tmp_path, monkeypatch):
    source = write_notebook(sources, "01_a", "import time\ntime.sleep(60)")
    children = psutil.Process().children
    before = set(children(recursive=True))

    def interrupt():
        if set(children(recursive=True)) - before:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(module, "_children_mb", interrupt)
    with pytest.raises(KeyboardInterrupt):
        execute(source, tmp_path / "out.ipynb", {}, tmp_path)
    assert not set(children(recursive=True)) - before


# -- the user's surroundings ----------------------------------------------------------------------

FOREIGN = ["/bin/sh", "-c", "exit 1"]  # a kernel that never answers
WHERE = "import os, sys, lavae_core\nprint(sys.executable, lavae_core.__file__, os.getcwd() in sys.path)"


def foreign_kernel(folder: Path) -> str:
    """Register a kernel named python3 below `folder`, as `ipykernel install` does."""
    spec = folder / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": FOREIGN, "display_name": "x", "language": "python"}))
    return str(folder)


def foreign_package(folder: Path) -> str:
    (folder / "lavae_core").mkdir(parents=True)
    (folder / "lavae_core" / "__init__.py").write_text("__version__ = 'of another checkout'")
    return str(folder)


def foreign_startup(folder: Path) -> str:
    startup = folder / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("raise SystemExit(1)")
    return str(folder)


@pytest.mark.parametrize(
    ("variable", "make"),
    [
        ("JUPYTER_PATH", foreign_kernel),
        ("JUPYTER_DATA_DIR", foreign_kernel),
        ("PYTHONPATH", foreign_package),
        ("IPYTHONDIR", foreign_startup),
    ],
)
def test_another_installation_does_not_compute(sources, tmp_path, monkeypatch, variable, make):
    monkeypatch.setenv(variable, make(tmp_path / "foreign"))
    source = write_notebook(sources, "01_a", WHERE)
    notebook, _ = execute(source, tmp_path / "out.ipynb", {}, tmp_path)
    ours = CHECKOUT / "lavae_core" / "__init__.py"
    assert notebook.cells[1].outputs[0].text == f"{sys.executable} {ours} False\n"
    assert os.environ[variable] == str(tmp_path / "foreign")  # of this process


@pytest.mark.parametrize("change", ["sys.executable = {!r}", "sys.path.insert(0, {!r})"])
def test_a_kernel_of_another_installation_is_refused(sources, tmp_path, monkeypatch, change):
    foreign = foreign_package(tmp_path / "foreign")
    start = f"import sys, ipykernel.kernelapp as app; {change.format(foreign)}; "
    command = [sys.executable, "-c", start + "app.launch_new_instance()", "-f", "{connection_file}"]
    spec = kernel.get_kernel_dict() | {"argv": command}
    monkeypatch.setattr(kernel, "get_kernel_dict", lambda: spec)
    source = write_notebook(sources, "01_a", "print(1)")
    with pytest.raises(LavaeError, match=foreign) as caught:
        execute(source, tmp_path / "out.ipynb", {}, tmp_path)
    assert "\n" not in str(caught.value)
