"""Run one notebook in a kernel of its own; say in one line what went wrong, and where."""

import contextlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import nbformat
import psutil
from jupyter_core.utils import ensure_event_loop

from lavae_companion import data
from lavae_companion.runner.environment import scrubbed
from lavae_companion.runner.files import write_whole
from lavae_core import errors
from lavae_core.errors import LavaeError

LOADED = ".loaded"  # beside an executed notebook: names of the artifacts that it asked for
SECONDS_PER_TICK = 0.5
SECONDS_PER_LINE = 30
# ipykernel warns on every start about its TCP ports. Modules beside the notebooks are not ours.
KERNEL_CONFIG = """c.Application.log_level = "ERROR"
c.InteractiveShellApp.ignore_cwd = True
"""


class Progress:
    """A file for a kernel's stderr: on a terminal as it is; in a log, of its progress bars a line
    about every 30 seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def write(self, text: str) -> None:
        if "\r" not in text or sys.stderr.isatty():
            sys.stderr.write(text)
            return
        line = text.rpartition("\r")[2].strip()
        if line and time.monotonic() - self._last >= SECONDS_PER_LINE:
            self._last = time.monotonic()
            sys.stderr.write(f"    {line}\n")

    def flush(self) -> None:
        sys.stderr.flush()


def kernel_variables(figures: Path) -> dict[str, str]:
    """Environment variables of a kernel whose pictures and tables go to `figures`.

    The IPYTHONDIR of our own also keeps a user's start-up files out of the results.
    """
    profile = data.home().absolute() / "ipython" / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    write_whole(profile / "ipython_kernel_config.py", KERNEL_CONFIG)
    return {
        "LAVAE_OUTPUT": str(figures),
        "TQDM_MININTERVAL": "0.5" if sys.stderr.isatty() else "10",
        "TQDM_NCOLS": str(shutil.get_terminal_size((100, 24)).columns - 5),
        "PYTHONHASHSEED": "0",
        "IPYTHONDIR": str(profile.parent),
    }


def execute(
    source: Path, output: Path, parameters: dict[str, Any], figures: Path
) -> tuple[nbformat.NotebookNode, int]:
    """The notebook `source` after every cell ran, and the peak memory of its kernel in MB.

    Its state is in `output` all along. parameters: passed by papermill; none: as it is. figures:
    folder of its pictures and tables.
    Raises LavaeError with the notebook's name, the cell's number (its `In [n]`) and one line.
    papermill runs in a thread, so that a Ctrl-C comes to us and not to its own signal handler.
    """
    peak_mb = 0
    variables = kernel_variables(figures) | {
        "LAVAE_LOADED": str(output.with_name(f"{source.stem}{LOADED}").absolute())
    }
    with _environment(variables), ThreadPoolExecutor(max_workers=1) as pool:
        task = pool.submit(_papermill, source, output, parameters)
        try:
            while not task.done():
                peak_mb = max(peak_mb, _children_mb())
                wait([task], timeout=SECONDS_PER_TICK)
        except BaseException:
            while not task.done():
                _kill_children()
                wait([task], timeout=SECONDS_PER_TICK)
            raise
    try:
        notebook = task.result()
    except Exception as error:  # whatever it was: the user gets one line
        raise LavaeError(f"{source.stem}: {_reason(error, output)}") from error
    _require_complete(notebook, source.stem)
    return notebook, peak_mb


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """What the kernels started meanwhile inherit: what may pass of our environment, and `variables`."""
    before = dict(os.environ)
    _replace_environment(scrubbed(before) | variables)
    try:
        yield
    finally:
        _replace_environment(before)


def _replace_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def _papermill(source: Path, output: Path, parameters: dict[str, Any]) -> nbformat.NotebookNode:
    import papermill  # a second of imports that --list does without

    from lavae_companion.runner.kernel import ENGINE

    for name in ("papermill", "traitlets"):  # they say on stderr what we say in our own line
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return papermill.execute_notebook(
            source, output, parameters, kernel_name="python3", language="python",
            cwd=source.parent, progress_bar=False, stderr_file=Progress(), engine_name=ENGINE,
        )  # fmt: skip
    finally:
        ensure_event_loop().close()  # jupyter made one for this thread


def _children_mb() -> int:
    """Resident memory of the kernel and its own children. RUSAGE_CHILDREN would be the maximum of
    all kernels so far."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended since it was listed
            total += process.memory_info().rss
    return total // 2**20


def _kill_children() -> None:
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.kill()


def _require_complete(notebook: nbformat.NotebookNode, name: str) -> None:
    """Raise LavaeError unless every code cell ran; papermill accepts a `sys.exit(0)` half-way."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    for number, cell in enumerate(cells, 1):
        failed = any(output.output_type == "error" for output in cell.outputs)
        if failed or cell.execution_count is None or cell.metadata.papermill.status != "completed":
            raise LavaeError(f"{name}: cell {number} did not run to its end")


def _reason(error: Exception, output: Path) -> str:
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, PapermillExecutionError):
        ours = any(hasattr(module, error.ename) for module in (errors, data))
        line = first_line(error.evalue)
        return f"cell {error.exec_count}: {line if ours else f'{error.ename}: {line}'}"
    if isinstance(error, DeadKernelError):
        return f"cell {_last_started(output)}: the kernel was killed (out of memory?)"
    return f"{type(error).__name__}: {first_line(str(error))}"


def _last_started(output: Path) -> int:
    """Number of the code cell that was running; papermill marks it and all after it completed."""
    cells = [c for c in nbformat.read(output, as_version=4).cells if c.cell_type == "code"]
    started = [n for n, c in enumerate(cells, 1) if c.metadata.papermill.get("start_time")]
    return started[-1] if started else 1


def first_line(text: str) -> str:
    """The first line of `text` that is not blank."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
