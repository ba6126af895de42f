"""The command line: what is refused, how errors end, and what a sweep or a data set runs."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from tiny import PARAMETERS, write_notebook

from lavae_companion.paths import CHECKOUT
from lavae_companion.runner import cli, report, sweep
from lavae_companion.runner.notebooks import discover
from lavae_companion.runner.run import Settings
from lavae_core.errors import InvalidInputError, StoreError

REFUSED = [  # arguments, and what the last line on stderr has to name
    (["--profile", "fast"], "fast"),
    (["--profile"], "--profile"),
    (["--prof", "smoke"], "--prof"),
    (["--everything"], "--everything"),
    (["07"], "07"),
    (["--only", "99"], "99"),
    (["--only", "0x1"], "0x1"),
    (["--only", "01,heatmap"], "heatmap"),
    (["--only"], "--only"),
    (["--seed", "-1"], "-1"),
    (["--seed", "4294967296"], "4294967296"),
    (["--seed", "1.5"], "1.5"),
    (["--seeds", "0", "-1"], "-1"),
    (["--seeds", "x"], "x"),
    (["--device", "tpu"], "tpu"),
    (["--device", ""], "''"),
    (["--device", "cuda:63"], "cuda:63"),
    (["--dataset", "cifar10"], "cifar10"),
    (["--dataset", "fashion", "--only", "02"], "02"),
    (["--check", "--force"], "--check"),
    (["--check", "--seeds", "1"], "--check"),
    (["--check", "--list"], "--list"),
    (["--seeds", "0", "--force"], "--force"),
    (["--seeds", "1", "--only", "3"], "--only"),
    (["--seeds", "1", "--seed", "2"], "--seed"),
    (["--seeds", "1", "--dataset", "fashion"], "--dataset"),
    (["--scheduler", "tcp://x:1"], "--scheduler"),
    (["--figure", "12"], "12"),
    (["--figure", "seven"], "seven"),
    (["--figure", "7", "--only", "7"], "--only"),
    (["--figure", "7", "--seeds", "1"], "--figure"),
    (["--shipped", "--commit"], "--commit"),
    (["--shipped", "--profile", "long"], "--profile"),
    (["--shipped", "--seed", "1"], "--seed"),
    (["--shipped", "--device", "cuda"], "--device"),
]


@pytest.mark.parametrize(
    ("arguments", "named"), REFUSED, ids=[" ".join(arguments) for arguments, _ in REFUSED]
)
def test_what_is_not_allowed_is_one_line(home, capsys, arguments, named):
    try:
        status = cli.main(arguments)
    except SystemExit as error:  # argparse: its usage comes before the line
        status = error.code
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert (status, captured.out) == (2, "")
    assert len(lines) == 1 or lines[0].startswith("usage: run_all.sh")
    assert named in lines[-1] and len(lines[-1]) < 400
    assert not home.exists()


@pytest.mark.parametrize(
    ("raised", "status", "named"),
    [
        (InvalidInputError("got 7"), 2, "error: got 7\n"),
        (StoreError("cannot write x"), 1, "error: cannot write x\n"),
        (OSError(28, "No space left on device"), 1, "No space left"),
        (KeyboardInterrupt(), 130, "run again to resume"),
    ],
)
def test_errors_are_one_line_and_an_exit_status(monkeypatch, capsys, raised, status, named):
    def fail(_options):
        raise raised

    monkeypatch.setattr(cli, "_run", fail)
    assert cli.main([]) == status
    assert named in capsys.readouterr().err


@pytest.fixture
def ran(tmp_path, monkeypatch, home):
    """The names of notebooks that were run, with the settings; instead of running them."""
    with_dataset = PARAMETERS + '\ndataset: str = "mnist"'
    write_notebook(tmp_path, "03_figure_03_a", parameters=with_dataset)
    for name in ("02_figure_02_b", "21_claims", "22_transfer_explained", "24_verdicts"):
        write_notebook(tmp_path, name)
    calls = []
    monkeypatch.setenv("LAVAE_SHIPPED", "")  # it is set, and is to be as before
    monkeypatch.setattr(cli, "discover", lambda: discover(tmp_path))
    monkeypatch.setattr(
        cli,
        "run_notebooks",
        lambda chosen, settings: calls.append(([n.name for n in chosen], settings)),
    )
    monkeypatch.setattr(report, "write_report", lambda *_: CHECKOUT / "index.html")
    return calls


def test_seeds_are_measured_and_then_judged(ran, monkeypatch):
    measured = []
    monkeypatch.setattr(sweep, "sweep", lambda *arguments: measured.append(arguments))
    assert cli.main(["--seeds", "2", "0", "2", "--profile", "smoke", "--scheduler", "tcp://x"]) == 0
    settings = Settings("smoke", seeds=(2, 0), force=True)
    assert measured == [(settings, "tcp://x")]
    assert ran == [(["21_claims", "22_transfer_explained"], settings)]


@pytest.mark.parametrize(
    ("options", "seeds"), [([], (0,)), (["--seeds", "3", "1"], (3, 1))], ids=["default", "seeds"]
)
def test_verdicts_are_measured_and_then_judged(ran, monkeypatch, options, seeds):
    measured = []
    monkeypatch.setattr(sweep, "sweep", lambda *arguments: measured.append(arguments))
    assert cli.main(["--verdicts", *options]) == 0
    settings = Settings(seeds=seeds, force=True, verdicts=True)
    assert (measured, ran) == ([(settings, None)], [(["24_verdicts"], settings)])


def test_a_default_run_leaves_out_what_takes_hours(ran):
    assert cli.main([]) == 0
    names = ran[0][0]
    assert "21_claims" in names and "24_verdicts" not in names


def test_another_data_set_runs_the_notebooks_that_have_it_as_a_parameter(
    ran, tmp_path, monkeypatch
):
    assert cli.main(["--dataset", "fashion"]) == 0
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["--dataset", "own", "--only", "3"]) == 0  # kernels run in another folder
    settings = Settings(dataset="fashion")
    assert ran == [
        (["03_figure_03_a"], settings), (["03_figure_03_a"], replace(settings, dataset=str(own))),
    ]  # fmt: skip


def test_versions_unlike_the_lock_are_said(ran, monkeypatch, capsys):
    monkeypatch.setattr(cli.environment, "unlike_the_lock", lambda: "numpy 1 (lock: 2)")
    assert cli.main(["--only", "3"]) == 0
    assert "numpy 1 (lock: 2)" in capsys.readouterr().err
    assert len(ran) == 1


def test_only_takes_numbers_in_any_form(ran):
    assert cli.main(["--only", "2, 3", "21"]) == 0
    assert [name[:2] for name in ran[0][0]] == ["02", "03", "21"]
    assert ran[0][1] == Settings()


def test_a_figure_ends_with_its_pictures(ran, home, capsys):
    for shipped in ([], ["--shipped"]):
        folder = home / "runs" / ("quick-shipped" if shipped else "quick") / "figures"
        folder.mkdir(parents=True)
        for name in ("figure_02.png", "figure_03.png", "figure_03_b.png", "figure_03.csv"):
            (folder / name).touch()
        assert cli.main(["--figure", "3", *shipped]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[-2:] == [str(folder / "figure_03.png"), str(folder / "figure_03_b.png")]
    assert [names for names, _ in ran] == [["03_figure_03_a"]] * 2
    assert [settings.shipped for _, settings in ran] == [False, True]


def test_shipped_weights_draw_the_papers_figures_in_a_folder_of_their_own(ran, capsys):
    assert cli.main(["--shipped"]) == 0
    names, settings = ran[0]
    assert names == ["02_figure_02_b", "03_figure_03_a"]
    assert os.environ["LAVAE_SHIPPED"] and settings.runs.name == "quick-shipped"
    assert cli.main([]) == 0  # whatever was set before
    assert not os.environ["LAVAE_SHIPPED"] and ran[1][1].runs.name == "quick"


def test_list_prints_titles_and_outputs(ran, capsys):
    assert cli.main(["--list", "--only", "21"]) == 0
    assert capsys.readouterr().out == "21  21_claims  [figures/claims*]\n"
    assert ran == []


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_is_no_error(unbuffered):
    """As in --list | head; the exit status is a shell's."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "lavae_companion.runner", "--list"],
        stdout=writer, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
