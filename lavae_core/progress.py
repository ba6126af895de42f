"""Progress of long work, shown where a person looks and never stored in a notebook's output."""

import json
import os
import sys
from pathlib import Path

from tqdm.std import tqdm


class Progress:
    """A counter of steps with losses by name and an estimate of the time left.

    Inside run_all.sh (LAVAE_PROGRESS_FILE is set) the state goes to that file, which the runner
    shows; on a terminal or in JupyterLab it is a bar that vanishes when done; elsewhere nothing.
    """

    def __init__(self, label: str, total: int, done: int = 0):
        self._label, self._total = label, total
        path = os.environ.get("LAVAE_PROGRESS_FILE")
        self._file = Path(path) if path else None
        shown = self._file is None and (sys.stderr.isatty() or "ipykernel" in sys.modules)
        self._bar = tqdm(total=total, initial=done, desc=label, leave=False, disable=not shown)
        self._done = done
        self._write({})

    def update(self, steps: int, losses: dict[str, float]) -> None:
        """Count `steps` more and show the `losses`."""
        self._done += steps
        self._bar.set_postfix(
            {name: f"{value:.4g}" for name, value in losses.items()}, refresh=False
        )
        self._bar.update(steps)
        self._write(losses)

    def close(self) -> None:
        self._bar.close()

    def _write(self, losses: dict[str, float]) -> None:
        if self._file is None:
            return
        writer = os.getpid()  # a sweep has several
        state = {
            "writer": writer, "label": self._label, "done": self._done, "total": self._total,
            "losses": losses,
        }  # fmt: skip
        partial = self._file.with_suffix(f".{writer}")
        partial.write_text(json.dumps(state))
        partial.replace(self._file)
