"""Run one notebook in a kernel of its own; say in one line what went wrong, and where."""

import logging
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import nbformat
import psutil
from jupyter_core.utils import ensure_event_loop

from lavae_core import errors
from lavae_core.companion.display import Watch
from lavae_core.errors import LavaeError

SECONDS_PER_TICK = 0.5


def execute(source: Path, output: Path, watch: Watch) -> nbformat.NotebookNode:
    """The notebook `source` after every one of its cells ran; its state is in `output` all along.

    Raises LavaeError with the notebook's name, the cell's number (its `In [n]`) and one line.
    papermill runs in a thread, so that a Ctrl-C comes to us and not to its own signal handler.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        task = pool.submit(_papermill, source, output)
        try:
            while not task.done():
                watch.tick()
                wait([task], timeout=SECONDS_PER_TICK)
        except BaseException:
            while not task.done():
                kill_children()
                wait([task], timeout=SECONDS_PER_TICK)
            raise
    try:
        notebook = task.result()
    except Exception as error:  # whatever it was: the user gets one line
        raise LavaeError(f"{source.stem}: {_reason(error, output)}") from error
    require_complete(notebook, source.stem)
    return notebook


def require_complete(notebook: nbformat.NotebookNode, name: str) -> None:
    """Raise LavaeError unless every code cell ran; papermill accepts a `sys.exit(0)` half-way."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    for number, cell in enumerate(cells, 1):
        ran = cell.execution_count is not None and not any(
            output.output_type == "error" for output in cell.outputs
        )
        if not ran or cell.metadata.papermill.status != "completed":
            raise LavaeError(f"{name}: cell {number} did not run to its end")


def _papermill(source: Path, output: Path) -> nbformat.NotebookNode:
    import papermill  # a second of imports that --list does without

    for name in ("papermill", "traitlets"):  # they say on stderr what we say in our own line
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return papermill.execute_notebook(
            source, output, kernel_name="python3", cwd=source.parent, progress_bar=False
        )
    finally:
        ensure_event_loop().close()  # jupyter made one for this thread


def kill_children() -> None:
    """Kill every process that this one started: a kernel or workers that nobody waits for."""
    for process in psutil.Process().children(recursive=True):
        try:
            process.kill()
        except psutil.Error:  # it ended since it was listed
            continue


def _reason(error: Exception, output: Path) -> str:
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, PapermillExecutionError):
        ours = isinstance(getattr(errors, error.ename, None), type)
        line = _first_line(error.evalue)
        message = line if ours else f"{error.ename}: {line}"
        return f"cell {error.exec_count}: {message}"
    if isinstance(error, DeadKernelError):
        return f"cell {_last_started(output)}: the kernel was killed (out of memory?)"
    return f"{type(error).__name__}: {_first_line(str(error))}"


def _last_started(output: Path) -> int:
    """Number of the code cell that was running; papermill marks it and all after it completed."""
    cells = [c for c in nbformat.read(output, as_version=4).cells if c.cell_type == "code"]
    started = [n for n, c in enumerate(cells, 1) if c.metadata.papermill.get("start_time")]
    return started[-1] if started else 1


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
