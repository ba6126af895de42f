"""run_all.sh and what it calls, on tiny notebooks made here."""

import csv
import os
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from lavae_core.companion import cli, running, settings
from lavae_core.companion.check import same_bits
from lavae_core.companion.display import Watch
from lavae_core.companion.execution import execute
from lavae_core.companion.normalise import normalised
from lavae_core.companion.notebooks import choose, discover, output_stem
from lavae_core.companion.report import write_report
from lavae_core.companion.running import run_notebooks
from lavae_core.companion.settings import Settings
from lavae_core.errors import InvalidInputError, LavaeError, StoreError
from lavae_core.paths import CHECKOUT

# A picture of one pixel, so that no kernel here has to import matplotlib.
SAVE_PICTURE = """
import base64, os
from lavae_core.paths import figures_dir
figures = figures_dir(os.environ["LAVAE_PROFILE"])
figures.mkdir(parents=True, exist_ok=True)
pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
(figures / "figure_03.png").write_bytes(base64.b64decode(pixel + "awAAAABJRU5ErkJggg=="))
"""
COUNT_RUNS = """
import os, pathlib
with open(pathlib.Path(os.environ["LAVAE_HOME"]) / "runs.txt", "a") as file:
    print("ran", file=file)
"""
TINY = {
    "01_figure_03_tiny": [
        "# Figure 3: a title\n\nInline $\\hat x_i^2$.\n\n$$\\sum_i L_i z$$\n\n"
        "\\begin{align}a&=b\\\\c&=d\\end{align}",
        SAVE_PICTURE,
        "import sys\nprint('a')\nprint('late', file=sys.stderr)\nprint('b')\n1 + 1",
    ],
    "02_table_01_tiny": ["# Table I", COUNT_RUNS],
}


def write_notebook(folder: Path, name: str, cells: list[str]) -> Path:
    """A notebook of `cells`; those that begin with `# ` are markdown."""
    kinds = nbformat.v4
    made = [
        kinds.new_markdown_cell(c) if c.startswith("# ") else kinds.new_code_cell(c) for c in cells
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ipynb"
    nbformat.write(kinds.new_notebook(cells=made), path)
    return path


def smoke(folder: Path, **options) -> Settings:
    return Settings("smoke", notebooks=folder, **options)


def run_all(wanted: Settings) -> None:
    run_notebooks(discover(wanted.notebooks), wanted)


@pytest.fixture
def sources(tmp_path, monkeypatch) -> Path:
    """An empty notebooks folder, and a LAVAE_HOME beside it."""
    monkeypatch.setenv("LAVAE_HOME", str(tmp_path / "home"))
    return tmp_path / "notebooks"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The tiny notebooks after a run in smoke; LAVAE_HOME is theirs as long as this module runs."""
    folder = tmp_path_factory.mktemp("ran")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAVAE_HOME", str(folder / "home"))
        for name, cells in TINY.items():
            write_notebook(folder / "notebooks", name, cells)
        wanted = smoke(folder / "notebooks")
        run_all(wanted)
        yield wanted


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("07_figure_07_transfer_heatmap", "figure_07"),
        ("12_table_01_reconstruction", "table_01"),
        ("13_appendix_d_more_pairs", "appendix_d"),
        ("17_claim_non_linear_maps", "claim_non_linear_maps"),
        ("03_figure_03", "figure_03"),
    ],
)
def test_output_stem(name, stem):
    assert output_stem(name) == stem


def test_discover_sorts_reads_titles_and_refuses_twins(tmp_path):
    for name in ("02_b", "01_a"):
        write_notebook(tmp_path, name, [f"# Title of {name}"])
    found = discover(tmp_path)
    assert [n.title() for n in found] == ["Title of 01_a", "Title of 02_b"]
    assert choose(found, ["2"]) == found[1:]
    with pytest.raises(InvalidInputError, match="no notebook 09; there are: 01, 02"):
        choose(found, ["9"])
    write_notebook(tmp_path, "02_c", [])
    with pytest.raises(LavaeError, match="02_b, 02_c"):
        discover(tmp_path)


def test_no_notebooks_is_one_line(tmp_path):
    with pytest.raises(LavaeError, match="no notebooks"):
        discover(tmp_path)


def test_normaliser_keeps_results_and_drops_the_rest(ran):
    notebook = nbformat.read(ran.executed(discover(ran.notebooks)[0]), as_version=4)
    assert [cell.id for cell in notebook.cells] == ["cell-00", "cell-01", "cell-02"]
    assert [cell.get("execution_count") for cell in notebook.cells] == [None, 1, 2]
    stdout, result = notebook.cells[2].outputs
    assert (stdout.name, stdout.text) == ("stdout", "a\nb\n")
    assert result.data["text/plain"] == "2"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(cell.metadata == {} for cell in notebook.cells)


def test_normalising_twice_gives_identical_bytes(ran):
    text = ran.executed(discover(ran.notebooks)[0]).read_text()
    assert normalised(nbformat.reads(text, as_version=4), "tiny") == text


def test_two_runs_give_identical_bytes(ran):
    path = ran.executed(discover(ran.notebooks)[0])
    before = path.read_bytes()
    run_notebooks(discover(ran.notebooks)[:1], smoke(ran.notebooks, force=True))
    assert path.read_bytes() == before


def test_tags_stay_and_widgets_go():
    cell = nbformat.v4.new_code_cell("x", metadata={"tags": ["parameters"], "papermill": {"a": 1}})
    data = {"application/vnd.jupyter.widget-view+json": {"model_id": "1f"}, "text/plain": "Slider"}
    cell.outputs = [nbformat.v4.new_output("display_data", data)]
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {"state": {}}})
    clean = nbformat.reads(normalised(notebook, "tiny"), as_version=4)
    assert clean.cells[0].metadata == {"tags": ["parameters"]}
    assert clean.cells[0].outputs == []
    assert "widgets" not in clean.metadata


def printing(text: str) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell("x")
    cell.outputs = [nbformat.v4.new_output("stream", text=f"saved {text}\n")]
    return nbformat.v4.new_notebook(cells=[cell])


@pytest.mark.parametrize("folder", [CHECKOUT, "/home/somebody"])
def test_a_path_of_this_machine_in_an_output_is_refused(folder, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    with pytest.raises(LavaeError, match="07_figure_07: cell 1 prints a path"):
        normalised(printing(f"{folder}/x.csv"), "07_figure_07")


def test_a_home_at_the_root_is_in_every_path_and_no_secret(monkeypatch):
    monkeypatch.setenv("HOME", "/")
    assert "/usr/x" in normalised(printing("/usr/x"), "07_figure_07")


def test_done_notebooks_are_skipped_until_something_changes(ran, capfd):
    runs = Path(os.environ["LAVAE_HOME"], "runs.txt")

    def runs_after(change=None, **options) -> int:
        before = len(runs.read_text().splitlines())
        if change:
            change()
        run_all(smoke(ran.notebooks, **options))
        return len(runs.read_text().splitlines()) - before

    second = discover(ran.notebooks)[1]
    assert runs_after() == 0
    assert "02_table_01_tiny done before" in capfd.readouterr().err
    assert runs_after(seed=1) == 1
    assert runs_after() == runs_after(seed=0) == 0  # seed 1 has a place of its own
    assert runs_after(ran.executed(second).unlink) == 1
    edited = [*TINY[second.name], "2"]
    assert runs_after(lambda: write_notebook(ran.notebooks, second.name, edited)) == 1


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("print(1)\nraise ValueError('first\\nsecond')", "cell 2: ValueError: first"),
        (
            "from lavae_core.errors import DataError\nraise DataError('no MNIST')",
            r"cell 2: no MNIST \(",
        ),
        ("import os\nos._exit(9)", "cell 2: the kernel was killed"),
        ("import sys\nsys.exit(0)", "cell 2 did not run to its end"),
    ],
)
def test_a_notebook_that_fails_stops_the_run(sources, cell, said):
    write_notebook(sources, "01_figure_01_good", ["1"])
    write_notebook(sources, "02_figure_02_bad", ["1", cell, "3"])
    write_notebook(sources, "03_figure_03_later", ["1"])
    wanted = smoke(sources)
    with pytest.raises(LavaeError, match=f"^02_figure_02_bad: {said}") as caught:
        run_all(wanted)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (wanted.runs / "records").iterdir()] == ["01.json"]
    kept = sorted(path.name for path in (wanted.runs / "notebooks").iterdir())
    assert kept == ["01_figure_01_good.ipynb", "02_figure_02_bad.failed.ipynb"]


def test_ctrl_c_ends_the_kernel(sources, tmp_path, monkeypatch):
    source = write_notebook(sources, "01_figure_01_long", ["import time\ntime.sleep(60)"])
    children = psutil.Process().children

    before = set(children(recursive=True))  # of another test: loky's tracker outlives its workers

    def interrupt(_watch):
        if set(children(recursive=True)) - before:
            raise KeyboardInterrupt

    monkeypatch.setattr(Watch, "tick", interrupt)
    with pytest.raises(KeyboardInterrupt):
        execute(source, tmp_path / "out.ipynb", Watch(tmp_path / "progress.json"))
    assert not set(children(recursive=True)) - before


def test_quick_replaces_the_source_only_by_default(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "figures_dir", lambda *_: tmp_path / "figures")
    source = write_notebook(sources, "01_figure_01_tiny", ["1 + 1"])
    run_all(Settings(notebooks=sources, seed=3))
    assert nbformat.read(source, as_version=4).cells[0].execution_count is None
    run_all(Settings(notebooks=sources))
    assert nbformat.read(source, as_version=4).cells[0].execution_count == 1


def test_a_notebook_that_changed_while_it_ran_is_not_done(sources, monkeypatch):
    write_notebook(sources, "01_figure_01_tiny", ["1"])
    keys = iter("ab")
    monkeypatch.setattr(running, "record_key", lambda *_: next(keys))
    with pytest.raises(LavaeError, match="01_figure_01_tiny or lavae_core was changed while it"):
        run_all(smoke(sources))
    assert not (smoke(sources).runs / "records").exists()


def test_two_runs_at_once_are_one_too_many(sources):
    write_notebook(sources, "01_figure_01_tiny", ["1"])
    wanted = smoke(sources)
    wanted.runs.mkdir(parents=True)
    hold = f"from filelock import FileLock\nwith FileLock({str(wanted.runs / 'run.lock')!r}):\n"
    hold += "    print('held', flush=True)\n    input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="another run is at work in"):
            run_all(wanted)
        holder.communicate("\n")


def test_kernels_get_the_settings_and_not_the_users_shell(sources, monkeypatch):
    monkeypatch.setenv("LAVAE_SEED", "7")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names = ["LAVAE_PROFILE", "LAVAE_SEED", "LAVAE_DEVICE", "PYTHONHASHSEED"]
    show = f"import os\nprint([os.environ.get(n) for n in {names}], 'Agg' in os.environ.values())"
    write_notebook(sources, "01_figure_01_tiny", [show])
    wanted = smoke(sources, device="cpu")
    run_all(wanted)
    assert "['smoke', None, 'cpu', '0'] False" in wanted.executed(discover(sources)[0]).read_text()
    assert os.environ["LAVAE_SEED"] == "7"


def test_a_folder_that_cannot_be_written_is_one_line(sources, tmp_path):
    write_notebook(sources, "01_figure_01_tiny", [])
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"cannot write to the folder .*home"):
        run_all(smoke(sources))


class _Loaded(HTMLParser):
    """Collects what a page makes the browser load."""

    def __init__(self):
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        wanted = ("href",) if tag == "link" else () if tag == "a" else ("src", "srcset", "data")
        self.addresses += [value for name, value in attrs if name in wanted and value]


def loaded(page: Path) -> list[str]:
    """Addresses of all that `page` loads, whether by a tag, by a style or by a script."""
    parser, text = _Loaded(), page.read_text()
    parser.feed(text)
    by_name = re.findall(r"""(?:url\(|import\(?|\.src\s*=\s*)\s*["']?(https?:[^"')\s]+)""", text)
    return parser.addresses + by_name


def test_report_opens_without_a_network(ran):
    with (ran.figures / "paper_vs_here.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["item", "claim", "published", "here", "verdict", "notebook"])
        rows.writerow(["Figure 3", "MSE < 1 & so on", "0.1", "0.2", "differs", "01"])
    front = write_report(discover(ran.notebooks), ran)
    pages = sorted(front.parent.glob("*.html"))
    assert [p.name for p in pages] == [*(f"{name}.html" for name in TINY), "index.html"]
    for page in pages:
        assert [a for a in loaded(page) if not a.startswith(("data:", "pictures/"))] == []
        assert "mathjax" not in page.read_text().lower()
    assert (front.parent / "pictures" / "figure_03.png").is_file()
    text = front.read_text()
    assert "Figure 3: a title" in text and "MSE &lt; 1 &amp; so on" in text and "differs" in text
    assert pages[0].read_text().count("<math") == 3


def test_the_search_for_remote_resources_finds_them(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        '<script src="https://a/x.js"></script><link href="https://b/x.css">'
        "<style>a { background: url(https://c/x.png) }</style><a href='https://d'>link</a>"
    )
    assert loaded(page) == ["https://a/x.js", "https://b/x.css", "https://c/x.png"]


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (StoreError("cannot write"), 1, "error: cannot write"),
        (OSError(28, "No space left on device"), 1, "No space left"),
        (KeyboardInterrupt(), 130, "interrupted; the next call goes on here"),
    ],
)
def test_errors_are_one_line_and_an_exit_status(monkeypatch, capsys, raised, code, said):
    def fail(_options):
        raise raised

    monkeypatch.setattr(cli, "_run", fail)
    assert cli.main([]) == code
    assert said in capsys.readouterr().err


def test_list_imports_nothing_heavy(tmp_path):
    write_notebook(tmp_path, "07_figure_07_heatmap", ["# Figure 7"])
    code = (
        "import sys, pathlib; from lavae_core.companion import cli, notebooks\n"
        f"cli.discover = lambda: notebooks.discover(pathlib.Path({str(tmp_path)!r}))\n"
        "print(cli.main(['--list']), {'torch', 'papermill', 'nbconvert'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "07  Figure 7  [figures/figure_07*]\n0 set()\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_is_no_error(unbuffered):
    """As in --list | head; the exit status is a shell's."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "lavae_core.companion", "--list"],
        stdout=writer, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def lock() -> dict[str, str]:
    lines = [line for line in (CHECKOUT / "requirements.lock").read_text().splitlines() if line]
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_lock_pyproject_and_environment_agree():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    locked = {canonicalize_name(name): version for name, version in lock().items()}
    for line in (*project["dependencies"], *project["optional-dependencies"]["test"]):
        wanted = Requirement(line)
        assert locked[canonicalize_name(wanted.name)] in wanted.specifier
    conda = yaml.safe_load((CHECKOUT / "environment.yml").read_text())
    assert conda["channels"] == ["conda-forge", "nodefaults"]
    python, pip, packages = conda["dependencies"]
    assert Version(python.removeprefix("python=")) in SpecifierSet(project["requires-python"])
    assert (pip, packages) == ("pip", {"pip": ["-c requirements.lock", "-e .[test]"]})


def test_lock_is_for_every_platform():
    names = [canonicalize_name(name) for name in lock()]
    assert len(names) == len(set(names))
    assert not [n for n in names if n.startswith(("nvidia", "cuda", "triton", "setuptools"))]
    assert "://" not in (CHECKOUT / "requirements.lock").read_text()


# A python3 that fails at FAILS, and else does as if; `-m venv` makes an environment of itself.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
  *{fails}*) echo "what went wrong" >&2; exit 1 ;;
  *"-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
esac
"""


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        ("version_info", "error: found no Python 3.11 to 3.13; .*apt-get install python3 python3-"),
        ("ensurepip", "error: this Python has no venv; .*apt-get install python3 python3-venv"),
        ("-m pip", "error: pip could not install the packages; see .*setup.log"),
    ],
)
def test_run_all_says_in_one_line_what_is_missing(tmp_path, fails, said):
    checkout, done = run_all_with(tmp_path, fails)
    assert done.returncode == 1
    assert re.match(said, done.stderr.splitlines()[-1])
    assert not (checkout / ".venv" / "lavae-stamp").exists()


def test_an_environment_of_somebody_else_is_never_removed(tmp_path):
    theirs = tmp_path / "a checkout" / ".venv" / "kept"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    _, done = run_all_with(tmp_path, "-m pip")
    assert done.stderr.startswith("error: the .venv here was not made by run_all.sh; move it away")
    assert theirs.exists()


def test_an_environment_of_somebody_else_that_is_active_is_used(tmp_path):
    theirs = tmp_path / "a checkout" / ".venv" / "bin" / "python"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("#!/bin/sh\necho theirs")
    theirs.chmod(0o755)
    _, done = run_all_with(tmp_path, "-m pip", VIRTUAL_ENV=str(theirs.parents[1]))
    assert (done.returncode, done.stdout.split()[-1]) == (0, "theirs")


def test_what_a_killed_installation_left_is_made_anew(tmp_path):
    checkout, _ = run_all_with(tmp_path, "-m pip")
    left_over = checkout / ".venv" / "left over"
    left_over.touch()
    (checkout / ".venv" / "bin" / "python").unlink()
    _, done = run_all_with(tmp_path, "-m pip")
    assert "pip could not install" in done.stderr and not left_over.exists()


def run_all_with(tmp_path, fails, **variables):
    """A checkout, and what its run_all.sh did with a python3 that fails at `fails`."""
    checkout, programs = tmp_path / "a checkout", tmp_path / "bin"
    for folder in (checkout, programs):
        folder.mkdir(exist_ok=True)
    (checkout / "run_all.sh").write_bytes((CHECKOUT / "run_all.sh").read_bytes())
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        (programs / name).write_text(FAKE_PYTHON.format(fails=f'"{fails}"'))
        (programs / name).chmod(0o755)
    shell = {"PATH": f"{programs}:/usr/bin:/bin"} | variables
    done = subprocess.run(
        ["bash", checkout / "run_all.sh"], capture_output=True, text=True, env=shell, cwd=tmp_path
    )
    return checkout, done


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
