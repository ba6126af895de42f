"""The environment that run_all.sh prepares: with a python3 that is none, and the files it rests on."""

import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from lavae_companion.paths import CHECKOUT
from lavae_companion.runner import environment

# A python3 that fails at FAILS, and else does as if; `-m venv` makes an environment of itself.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
  *{fails}*) echo "what went wrong" >&2; exit 1 ;;
  *"-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
esac
"""


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


@pytest.mark.parametrize(
    ("fails", "named"),
    [
        ("version_info", "apt-get install python3 python3-venv"),
        ("ensurepip", "apt-get install python3 python3-venv"),
        ("-m pip", "setup.log"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, fails, named):
    checkout, done = run_all_with(tmp_path, fails)
    assert done.returncode == 1
    assert re.match(f"error: .*{named}", done.stderr.splitlines()[-1])
    assert not (checkout / ".venv" / "lavae-stamp").exists()


def test_an_environment_of_somebody_else_is_never_removed(tmp_path):
    theirs = tmp_path / "a checkout" / ".venv" / "theirs"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    _, done = run_all_with(tmp_path, "-m pip")
    assert done.stderr.startswith("error: the .venv")
    assert theirs.exists()


def test_an_environment_of_somebody_else_that_is_active_is_used(tmp_path):
    theirs = tmp_path / "a checkout" / ".venv" / "bin" / "python"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("#!/bin/sh\necho theirs")
    theirs.chmod(0o755)
    _, done = run_all_with(tmp_path, "-m pip", VIRTUAL_ENV=str(theirs.parents[1]))
    assert (done.returncode, done.stdout.split()[-1]) == (0, "theirs")


def test_what_a_killed_installation_left_is_made_again(tmp_path):
    checkout, _ = run_all_with(tmp_path, "-m pip")
    left_over = checkout / ".venv" / "left over"
    left_over.touch()
    (checkout / ".venv" / "bin" / "python").unlink()
    _, done = run_all_with(tmp_path, "-m pip")
    assert "setup.log" in done.stderr and not left_over.exists()


def test_run_all_hands_the_line_and_the_exit_status_on(tmp_path):
    # In the checkout itself it would make a .venv without a stamp again, under the running tests.
    for name in ("run_all.sh", "lavae_core", "lavae_companion", "requirements.lock"):
        (tmp_path / name).symlink_to(CHECKOUT / name)
    done = subprocess.run(
        ["bash", tmp_path / "run_all.sh", "--only", "99"],
        env={**os.environ, "VIRTUAL_ENV": sys.prefix}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch("error: .*99.*\n", done.stderr)


# -- environment.py ------------------------------------------------------------------------------


def test_a_stamp_is_of_todays_lock(tmp_path):
    stamp = tmp_path / "stamp"
    assert environment.main([str(stamp)]) == 1
    environment.main(["--stamp", str(stamp)])
    assert environment.main([str(stamp)]) == 0
    stamp.write_text("of another lock")
    assert environment.main([str(stamp)]) == 1


def test_packages_of_another_checkout_are_not_ours(tmp_path, monkeypatch):
    assert environment.ready()
    monkeypatch.setattr(environment, "CHECKOUT", tmp_path)
    assert not environment.ready()


def test_the_question_can_be_asked_where_nothing_is_installed():
    command = [sys.executable, "-I", "-S", environment.__file__]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")


# -- pyproject.toml, requirements.lock, environment.yml ------------------------------------------


def lock() -> dict[str, str]:
    lines = [line for line in (CHECKOUT / "requirements.lock").read_text().splitlines() if line]
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_lock_pyproject_and_environment_agree():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    locked = {canonicalize_name(name): version for name, version in lock().items()}
    for line in (*project["dependencies"], *project["optional-dependencies"]["test"]):
        needed = Requirement(line)
        assert locked.get(canonicalize_name(needed.name), "") in needed.specifier, line
    conda = yaml.safe_load((CHECKOUT / "environment.yml").read_text())
    assert conda["channels"] == ["conda-forge", "nodefaults"]
    python, pip, packages = conda["dependencies"]
    assert Version(python.removeprefix("python=")) in SpecifierSet(project["requires-python"])
    assert (pip, packages) == ("pip", {"pip": ["-c requirements.lock", "-e .[test]"]})


def test_packages_and_their_files_are_all_installed():
    setuptools = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for package in ("lavae_core", "lavae_companion"):
        for folder in (CHECKOUT / package).rglob("__init__.py"):
            name = ".".join(folder.parent.relative_to(CHECKOUT).parts)
            assert name in setuptools["packages"]
            patterns = setuptools["package-data"].get(name, [])
            others = {p for p in folder.parent.iterdir() if p.is_file() and p.suffix != ".py"}
            assert others == {p for pattern in patterns for p in folder.parent.glob(pattern)}


def test_lock_is_for_every_platform():
    names = [canonicalize_name(name) for name in lock()]
    assert len(names) == len(set(names))
    assert not [n for n in names if n.startswith(("nvidia", "cuda", "triton", "setuptools"))]
    assert "://" not in (CHECKOUT / "requirements.lock").read_text()
