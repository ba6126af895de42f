"""`run_all.sh --check`: style, unit tests, all notebooks in the smoke profile, then nbval on them.

Unit tests and notebooks run at the same time: each keeps little more than one core busy, most of the
time with starting processes and importing. The notebooks run in a fresh LAVAE_HOME, and nbval runs
them again in another fresh one: it compares two trainings, so it tests that training is deterministic
and not that a model can be loaded. In the end the two folders are compared file by file: weights,
tables and pictures have the same bytes.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

from lavae_core import data
from lavae_core.companion.display import table
from lavae_core.companion.notebooks import discover
from lavae_core.companion.settings import Settings, changed_environment
from lavae_core.errors import LavaeError
from lavae_core.paths import CHECKOUT, home

MINUTES_AT_MOST = 30  # for one part; a dead kernel would otherwise hold nbval up for long
PROGRAMS = ("ruff", "pytest", "nbval", "hypothesis", "xdist")
Part = tuple[str, list[str], dict[str, str | None]]  # its name, the module to run, the environment


def check() -> int:
    """Run every part, the later ones also after one failed; return 0 if all passed, else 1."""
    missing = [name for name in PROGRAMS if importlib.util.find_spec(name) is None]
    if missing:
        raise LavaeError(f"not installed: {', '.join(missing)}; pip install -e '.[test]'")
    data.load("test")  # fetched once, for all parts
    names = [notebook.path.name for notebook in discover()]
    with tempfile.TemporaryDirectory(prefix="lavae-check-") as folder:
        first, second = _fresh_home(Path(folder, "first")), _fresh_home(Path(folder, "second"))
        executed = Path(first["LAVAE_HOME"], "runs", "smoke", "notebooks")
        results = [_run("style", ["ruff", "check", "."], {})]
        results.append(_run("format", ["ruff", "format", "--check", "."], {}))
        results += _run_both(
            ("unit tests", ["pytest", "tests", "--durations=10"], {}),
            ("notebooks", ["lavae_core.companion", "--profile", "smoke"], first),
        )
        nbval = _nbval([executed / name for name in names])
        results.append(_run("nbval", nbval, _nbval_variables(second)))
        results.append(_compare(Path(first["LAVAE_HOME"]), Path(second["LAVAE_HOME"])))
    print("\n" + table([["part", "minutes", "result"], *results]), flush=True)
    return 0 if all(result == "passed" for *_, result in results) else 1


def _fresh_home(folder: Path) -> dict[str, str | None]:
    """An empty LAVAE_HOME but for the data sets."""
    folder.mkdir()
    sets = home().absolute() / "data"
    sets.mkdir(parents=True, exist_ok=True)
    (folder / "data").symlink_to(sets)
    return {"LAVAE_HOME": str(folder)}


def _nbval(executed: list[Path]) -> list[str]:
    options = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "300"]
    options += ["-n", "2", "--dist", "loadfile"]  # the cells of a notebook belong to one kernel
    # Their folder has no configuration of pytest, and must not look for one above it.
    own = ["-c", os.devnull, "--rootdir", str(executed[0].parent), "-p", "no:cacheprovider"]
    return ["pytest", *options, *own, *map(str, executed)]


def _nbval_variables(variables: dict[str, str | None]) -> dict[str, str | None]:
    """As in running.py, but for another LAVAE_HOME."""
    progress = str(Path(variables["LAVAE_HOME"], "progress.json"))  # else bars come out as output
    own = {"LAVAE_PROGRESS_FILE": progress, "LAVAE_USED_FILE": None}
    return Settings("smoke").variables() | variables | own


def same_bits(first: Path, second: Path) -> tuple[list[str], list[str]]:
    """Names of the weights, tables and pictures that are equal in two folders, and of the others."""
    patterns = ("artifacts/*/*.safetensors", "runs/smoke/figures/*")
    names = {
        str(path.relative_to(folder))
        for folder in (first, second)
        for pattern in patterns
        for path in folder.glob(pattern)
        if path.parent.name not in ("checkpoints", "damaged")
    }
    equal = [name for name in sorted(names) if _content(first / name) == _content(second / name)]
    return equal, sorted(names.difference(equal))


def _content(path: Path) -> object:
    """The bytes of a file; for one that is not there something that equals nothing."""
    return path.read_bytes() if path.is_file() else object()


def _compare(first: Path, second: Path) -> list[str]:
    print("\n=== same bits: weights, tables and pictures of the two runs ===", flush=True)
    equal, different = same_bits(first, second)
    print(f"{len(equal)} files are equal" + "".join(f"\ndiffers: {name}" for name in different))
    result = "passed" if equal and not different else "failed"
    return ["same bits", "0.0", result]


def _run_both(quiet: Part, shown: Part) -> list[list[str]]:
    """A row for each of two parts that run at once; what the first prints comes when both ended."""
    with tempfile.TemporaryFile("w+") as printed, ThreadPoolExecutor(max_workers=1) as pool:
        beside = pool.submit(_run, *quiet, printed)
        second = _run(*shown)
        first = beside.result()
        printed.seek(0)
        print(printed.read(), flush=True)
    return [first, second]


def _run(
    name: str, module: list[str], variables: dict[str, str | None], output: TextIO | None = None
) -> list[str]:
    """One row of the summary; everything that the part prints comes at once, or goes to `output`."""
    print(f"\n=== {name}: {' '.join(module[:3])} ===", file=output, flush=True)
    start = time.monotonic()
    try:
        code = subprocess.run(
            [sys.executable, "-m", *module],
            cwd=CHECKOUT,
            # Threads that wait would otherwise spin on the core that the other process needs.
            env=changed_environment({"OMP_WAIT_POLICY": "passive"} | variables),
            timeout=60 * MINUTES_AT_MOST,
            stdout=output,
            stderr=output,
        ).returncode
        result = "passed" if code == 0 else f"failed (exit {code})"
    except subprocess.TimeoutExpired:
        result = f"failed (not done in {MINUTES_AT_MOST} minutes)"
    return [name, f"{(time.monotonic() - start) / 60:.1f}", result]
