"""`run_all.sh --check`: style, import contract, unit tests, all notebooks in smoke, then nbval on them.

Unit tests and notebooks run at the same time: each keeps little more than one core busy, most of the
time with starting processes and importing. The notebooks run in a fresh LAVAE_HOME, and nbval runs
them again in another fresh one: it compares two trainings, so it tests that training is deterministic
and not that a model can be loaded. In the end weights, tables and pictures of both have equal bytes.
"""

import filecmp
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

from lavae_companion import data
from lavae_companion.data import home
from lavae_companion.paths import CHECKOUT
from lavae_companion.runner.environment import scrubbed
from lavae_companion.runner.execute import kernel_variables
from lavae_companion.runner.notebooks import choose, discover
from lavae_companion.runner.tables import plain
from lavae_core.errors import LavaeError

MINUTES_AT_MOST = 30  # for one part; a dead kernel would otherwise hold nbval up for long
PROGRAMS = ("ruff", "pytest", "nbval", "hypothesis", "xdist", "importlinter")
COMPARED = ("artifacts/*/*.safetensors", "runs/smoke/figures/*")
NBVAL = [
    "-m", "pytest", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "900",
    "-n", "2", "--dist", "loadfile",  # the cells of a notebook belong to one kernel
    "-c", os.devnull, "-p", "no:cacheprovider",  # no configuration from a folder above
]  # fmt: skip


def check() -> int:
    """Run every part, the later ones also after one failed; return 0 if all passed, else 1."""
    missing = [name for name in PROGRAMS if importlib.util.find_spec(name) is None]
    if missing:
        raise LavaeError(f"not installed: {', '.join(missing)}; pip install -e '.[test]'")
    data.load("test")  # fetched once, for all parts
    lint_imports = str(Path(sys.executable).with_name("lint-imports"))
    with tempfile.TemporaryDirectory(prefix="lavae-check-") as folder, ThreadPoolExecutor() as pool:
        first, second = _fresh_home(Path(folder, "first")), _fresh_home(Path(folder, "second"))
        rows = [
            _run("style", ["-m", "ruff", "check", "."]),
            _run("format", ["-m", "ruff", "format", "--check", "."]),
            _run("import contract", [lint_imports, "--no-cache", "--no-logo"]),
        ]
        with tempfile.TemporaryFile("w+") as printed:
            unit_tests = ["-m", "pytest", "tests", "--durations=10"]
            beside = pool.submit(_run, "unit tests", unit_tests, output=printed)
            smoke = ["-m", "lavae_companion.runner", "--profile", "smoke"]
            rows.append(_run("notebooks", smoke, LAVAE_HOME=str(first)))
            rows.insert(-1, beside.result())
            printed.seek(0)
            print(printed.read(), flush=True)
        executed = first / "runs" / "smoke" / "notebooks"
        paths = [str(executed / notebook.path.name) for notebook in choose(discover(), [])]
        variables = kernel_variables(second / "runs" / "smoke" / "figures") | {
            "LAVAE_HOME": str(second), "TQDM_DISABLE": "1",  # a bar would come out as output
        }  # fmt: skip
        rows.append(_run("nbval", [*NBVAL, "--rootdir", str(executed), *paths], **variables))
        rows.append(_compare(first, second))
    print("\n" + plain(rows, ["part", "minutes", "result"]), flush=True)
    return 0 if all(result == "passed" for *_, result in rows) else 1


def _fresh_home(folder: Path) -> Path:
    """An empty LAVAE_HOME but for the data sets."""
    sets = home().absolute() / "data"
    for each in (folder, sets):
        each.mkdir(parents=True, exist_ok=True)
    (folder / "data").symlink_to(sets)
    return folder


def _run(
    name: str, arguments: list[str], output: TextIO | None = None, **variables: str
) -> list[str]:
    """One row of the summary; what the part prints comes at once, or goes to `output`."""
    print(f"\n=== {name}: {' '.join(arguments[:4])} ===", file=output, flush=True)
    start = time.monotonic()
    try:
        code = subprocess.run(
            [sys.executable, *arguments],
            cwd=CHECKOUT,
            # Threads that wait would otherwise spin on the core that the other process needs.
            env=scrubbed(os.environ) | {"OMP_WAIT_POLICY": "passive"} | variables,
            timeout=60 * MINUTES_AT_MOST,
            stdout=output,
            stderr=output,
        ).returncode
        result = "passed" if code == 0 else f"failed (exit {code})"
    except subprocess.TimeoutExpired:
        result = f"failed (not done in {MINUTES_AT_MOST} minutes)"
    return [name, f"{(time.monotonic() - start) / 60:.1f}", result]


def _compare(first: Path, second: Path) -> list[str]:
    print("\n=== same bits: weights, tables and pictures of the two runs ===", flush=True)
    equal, different = same_bits(first, second)
    print(f"{len(equal)} files are equal" + "".join(f"\ndiffers: {name}" for name in different))
    return ["same bits", "0.0", "passed" if equal and not different else "failed"]


def same_bits(first: Path, second: Path) -> tuple[list[str], list[str]]:
    """Names of the weights, tables and pictures that are equal in two folders, and of the others."""
    names = {
        str(path.relative_to(folder))
        for folder in (first, second) for pattern in COMPARED for path in folder.glob(pattern)
        if path.parent.name not in ("checkpoints", "damaged")
    }  # fmt: skip
    equal, other, missing = filecmp.cmpfiles(first, second, sorted(names), shallow=False)
    return equal, sorted(other + missing)
