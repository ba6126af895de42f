"""The environment that run_all.sh prepares: with a python3 that is none, and the files it rests on."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

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
  *"version_info[:3]"*) echo {version} ;;
  *"-m venv"*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
esac
"""


def run_all_with(tmp_path, fails, version="", **variables):
    """A checkout, and what its run_all.sh did with a python3 that fails at `fails`."""
    checkout, programs = tmp_path / "a checkout", tmp_path / "bin"
    for folder in (checkout, programs):
        folder.mkdir(exist_ok=True)
    (checkout / "run_all.sh").write_bytes((CHECKOUT / "run_all.sh").read_bytes())
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        (programs / name).write_text(FAKE_PYTHON.format(fails=f'"{fails}"', version=version))
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
        ("ensurepip", "apt-get install python3-venv"),
        ("--pip", "setup.log"),
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
    _, done = run_all_with(tmp_path, "--pip")
    assert done.stderr.startswith("error: the .venv")
    assert theirs.exists()


def test_an_environment_of_somebody_else_that_is_active_is_used(tmp_path):
    theirs = tmp_path / "a checkout" / ".venv" / "bin" / "python"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("#!/bin/sh\necho theirs")
    theirs.chmod(0o755)
    _, done = run_all_with(tmp_path, "--pip", VIRTUAL_ENV=str(theirs.parents[1]))
    assert (done.returncode, done.stdout.split()[-1]) == (0, "theirs")


def test_what_a_killed_installation_left_is_made_again(tmp_path):
    checkout, _ = run_all_with(tmp_path, "--pip")
    left_over = checkout / ".venv" / "left over"
    left_over.touch()
    (checkout / ".venv" / "bin" / "python").unlink()
    _, done = run_all_with(tmp_path, "--pip")
    assert "setup.log" in done.stderr and not left_over.exists()


@pytest.mark.parametrize("version", ["3.10.12", "3.14.0", "2.7.18"])
def test_a_python_that_is_not_supported_is_named_with_a_way_that_works(tmp_path, version):
    _, done = run_all_with(tmp_path, "<= sys.version_info[:2]", version)
    assert re.fullmatch(f"error: .*{re.escape(version)}.*environment.yml.*\n", done.stderr)


def link(checkout: Path, tmp_path: Path) -> list:
    """A relative link to a link to the script."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "absolute").symlink_to(checkout / "run_all.sh")
    (tmp_path / "bin" / "run").symlink_to("absolute")
    return [tmp_path / "bin" / "run"]


def crlf(checkout: Path, tmp_path: Path) -> list:
    script = checkout / "run_all.sh"
    script.write_bytes(script.read_bytes().replace(b"\n", b"\r\n"))
    return ["bash", script]


STARTS = {
    "as it is": lambda checkout, _: [checkout / "run_all.sh"],
    "through links": link,
    "sh": lambda checkout, _: ["sh", checkout / "run_all.sh"],
    "bash in posix mode": lambda checkout, _: ["bash", "--posix", checkout / "run_all.sh"],
    "CRLF line ends": crlf,
}


SHELLS = {  # variables of a user's shell that bash acts on
    "plain": {},
    "the string that bash -c runs": {"BASH_EXECUTION_STRING": "exported"},
    "a function": {"BASH_FUNC_cd%%": "() { echo moved; builtin cd /; }"},
    "a file that bash reads": {"BASH_ENV": "moving"},
    "options": {"SHELLOPTS": "noglob:nounset", "BASHOPTS": "failglob"},
    "other folders": {"CDPATH": "/usr:/"},
    "posix": {"POSIXLY_CORRECT": "1"},
}


@pytest.mark.parametrize("variables", SHELLS.values(), ids=list(SHELLS))
@pytest.mark.parametrize("start", STARTS.values(), ids=list(STARTS))
def test_however_it_is_started_it_finds_its_folder(tmp_path, start, variables):
    (tmp_path / "moving").write_text("set -f -u; tr() { echo lost; }; PATH=/bin")
    checkout = tmp_path / "a checkout"
    (checkout / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(CHECKOUT / "run_all.sh", checkout)
    python = checkout / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nfor word; do echo "[$word]"; done')
    python.chmod(0o755)
    command = [*start(checkout, tmp_path), "--only", "9  8", ""]
    done = subprocess.run(
        command,
        env={"PATH": "/usr/bin:/bin"} | variables,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("[lavae_companion.runner]\n[--only]\n[9  8]\n[]\n")


def test_run_all_hands_the_exit_status_on(tmp_path):
    # In the checkout itself it would make a .venv without a stamp again, under the running tests.
    for name in ("lavae_core", "lavae_companion", "requirements.lock"):
        (tmp_path / name).symlink_to(CHECKOUT / name)
    shutil.copy(CHECKOUT / "run_all.sh", tmp_path)
    done = subprocess.run(
        [tmp_path / "run_all.sh", "--only", "99"],
        env={**os.environ, "VIRTUAL_ENV": sys.prefix}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch("error: .*99.*\n", done.stderr)


def test_the_second_of_two_first_calls_waits_and_uses_what_the_first_made(tmp_path):
    checkout, _ = run_all_with(tmp_path, "--pip")  # writes the fake programs
    shutil.rmtree(checkout / ".venv")
    probe = f'exec "{sys.executable}" -I "{environment.__file__}" --lock 9'
    fake = (tmp_path / "bin" / "python3").read_text().replace("--pip", "no such thing")
    actions = {
        "--lock": probe,
        "--pip": f"echo once >> '{tmp_path}/installed'; sleep 8",
        "--stamp": 'touch "${0%/bin/python}/lavae-stamp"',
        "--ready": 'for last; do :; done; test "${last#*stamp}" = "$last" -o -e "$last"',
    }
    lines = "".join(f'  *"{word}"*) {action} ;;\n' for word, action in actions.items())
    (tmp_path / "bin" / "python3").write_text(fake.replace("in\n", f"in\n{lines}", 1))
    run = {"args": ["bash", checkout / "run_all.sh"], "env": {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
           "stderr": subprocess.PIPE, "text": True}  # fmt: skip
    with subprocess.Popen(**run) as first, subprocess.Popen(**run) as second:
        said = [each.communicate()[1] for each in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), said
    assert (tmp_path / "installed").read_text() == "once\n"
    named = [re.findall(r"waiting for process (\d+)", text) for text in said]
    assert named in ([[], [str(first.pid)]], [[str(second.pid)], []])


# -- environment.py ------------------------------------------------------------------------------


def test_a_stamp_is_of_todays_lock(tmp_path):
    stamp = tmp_path / "stamp"
    assert environment.main(["--ready", str(stamp)]) == 1
    environment.main(["--stamp", str(stamp)])
    assert environment.main(["--ready", str(stamp)]) == 0
    stamp.write_text("of another lock")
    assert environment.main(["--ready", str(stamp)]) == 1


def test_packages_of_another_checkout_are_not_ours(tmp_path, monkeypatch):
    assert environment.ready()
    monkeypatch.setattr(environment, "CHECKOUT", tmp_path)
    assert not environment.ready()


def test_the_question_can_be_asked_where_nothing_is_installed():
    command = [sys.executable, "-I", "-S", environment.__file__, "--ready"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_copy_inside_the_checkout_is_not_ours(tmp_path, monkeypatch):
    """`pip install .` into the .venv here, or into any other environment in this folder."""
    site = tmp_path / ".venv" / "lib" / "python3" / "site-packages"
    for name in environment.PACKAGES:
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").touch()
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(environment, "CHECKOUT", tmp_path)
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    assert not environment.ready()


def test_versions_unlike_the_lock_are_named(tmp_path, monkeypatch):
    text = f"# a==b\npytest==0.1\nnumpy=={version('numpy')}\nnot-installed==1\nRuamel.Yaml==1\n"
    (tmp_path / "requirements.lock").write_text(text + f"torch=={version('torch')}+other\n")
    monkeypatch.setattr(environment, "CHECKOUT", tmp_path)
    assert environment.unlike_the_lock() == f"pytest {version('pytest')} (lock: 0.1)"


PASSES = {
    "PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "https_proxy": "p", "ALL_PROXY": "p",
    "REQUESTS_CA_BUNDLE": "/c", "PIP_INDEX_URL": "i", "PIP_CERT": "/c", "PIP_TRUSTED_HOST": "t",
    "CUDA_VISIBLE_DEVICES": "", "LAVAE_HOME": "/l", "DASK_CONFIG": "/d", "TMPDIR": "/t",
}  # fmt: skip
STAYS_OUT = [
    "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONHASHSEED", "JUPYTER_PATH", "IPYTHONDIR",
    "MPLBACKEND", "MATPLOTLIBRC", "OMP_THREAD_LIMIT", "OMP_DYNAMIC", "OMP_NUM_THREADS",
    "MKL_NUM_THREADS", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "LD_PRELOAD",
    "GLIBC_TUNABLES", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_HASHES", "GIT_DIR",
    "PYTORCH_CUDA_ALLOC_CONF", "TQDM_DISABLE", "CONDA_PREFIX", "MYPATH", "XPATH", "PATH_", "path",
]  # fmt: skip


def test_what_may_pass_is_listed():
    shell = PASSES | dict.fromkeys(STAYS_OUT, "1")
    assert environment.scrubbed(shell) == PASSES | environment.OWN
    assert environment.scrubbed(environment.scrubbed(shell)) == PASSES | environment.OWN


def test_the_runner_starts_in_the_scrubbed_environment(tmp_path):
    """Also a user's sitecustomize, which sets a variable at every start, ends in no loop."""
    started = """
import json, os, sys
os.execve = lambda program, command, variables: print(json.dumps([program, command, variables]))
sys.argv[1:] = ["--list"]
from lavae_companion.runner import environment
environment.start_scrubbed()
sys._xoptions["lavae"] = True
os.execve = None
environment.start_scrubbed()
"""
    shell = PASSES | dict.fromkeys(STAYS_OUT[4:], "1")
    shell.pop("LD_PRELOAD", None)
    done = subprocess.run(
        [sys.executable, "-c", started], env=shell, capture_output=True, text=True, check=True
    )
    program, command, variables = json.loads(done.stdout)
    assert program == command[0] == sys.executable
    assert command[-3:] == ["-m", "lavae_companion.runner", "--list"]
    assert variables == PASSES | environment.OWN


PIP_CONF = """[global]
index-url = https://from.the/file
extra-index-url =
    https://one.more/
    https://and.more/
cert = /a/certificate
user = true
require-virtualenv = true
[install]
target = /elsewhere
no-deps = true
index-url = https://for.install/
"""


@pytest.mark.parametrize(
    "layout", ["USER", "TARGET", "PREFIX", "ROOT", "DRY_RUN", "REQUIRE_HASHES"]
)
def test_pip_keeps_the_index_and_loses_the_layout(tmp_path, layout):
    (tmp_path / "pip.conf").write_text(PIP_CONF)
    shell = {
        f"PIP_{layout}": "1",
        "PIP_CERT": "/mine",
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
    }
    command = [sys.executable, "-I", environment.__file__, "--pip", "config", "list"]
    done = subprocess.run(
        command, env=shell | {"HOME": str(tmp_path)}, capture_output=True, text=True
    )
    said = {line.partition(".")[2] for line in done.stdout.splitlines()}
    assert {line.partition("=")[0]: line.partition("=")[2] for line in said} == {
        "cert": "'/mine'", "config-file": "'/dev/null'", "index-url": "'https://for.install/'",
        "extra-index-url": "'https://one.more/ https://and.more/'",
    }  # fmt: skip


def wheel(index: Path, version: str, *needed: str) -> None:
    """A package index whose only package is an empty torch."""
    (index / "torch").mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
    text += "".join(f"Requires-Dist: {name}\n" for name in needed)
    with zipfile.ZipFile(index / "torch" / f"torch-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"torch-{version}.dist-info/METADATA", text)
        file.writestr(f"torch-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"torch-{version}.dist-info/RECORD", "")
    name = f"torch-{version}-py3-none-any.whl"
    (index / "torch" / "index.html").write_text(f'<a href="{name}">{name}</a>')


def test_with_an_index_of_cpu_wheels_torch_brings_no_cuda_libraries(tmp_path):
    wheel(tmp_path / "usual", lock()["torch"], "cuda-toolkit")
    wheel(tmp_path / "cpu", f"{lock()['torch']}+cpu")
    shell = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_FIND_LINKS": "",
        "PIP_INDEX_URL": (tmp_path / "usual").as_uri(),
        "PIP_EXTRA_INDEX_URL": (tmp_path / "cpu").as_uri(),
    }  # fmt: skip
    command = [sys.executable, "-I", environment.__file__, "--pip", "install", "--dry-run"]
    command += [
        "--ignore-installed",
        "--quiet",
        "--report",
        "-",
        "-c",
        "requirements.lock",
        "torch",
    ]
    done = subprocess.run(command, env=shell, capture_output=True, text=True, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    packages = [each["metadata"]["version"] for each in json.loads(done.stdout)["install"]]
    assert packages == [f"{lock()['torch']}+cpu"]


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
