"""What a person sees while a notebook runs: a bar on a terminal, a line now and then elsewhere."""

import json
import sys
import time
from pathlib import Path

import psutil
from tqdm.std import tqdm

SECONDS_PER_LINE = 30
LINE = "{desc}: {n_fmt}/{total_fmt}, {elapsed} so far, {remaining} left{postfix}"


def say(text: str) -> None:
    """A line on stderr, at once."""
    print(text, file=sys.stderr, flush=True)


class Watch:
    """Shows what a notebook reports in `progress_file`; measures its kernel's memory."""

    def __init__(self, progress_file: Path):
        self.peak_mb = 0
        self._file = progress_file
        self._file.unlink(missing_ok=True)  # of the notebook before
        self._bar: tqdm | None = None
        self._shown: tuple[int, str] | None = None  # writer and label
        self._begun: dict[tuple[int, str], tuple[float, int]] = {}  # when, and at which step
        self._said = time.monotonic()

    def tick(self) -> None:
        """Look at the kernel and its progress once; call it a few times a second."""
        self.peak_mb = max(self.peak_mb, _children_mb())
        try:
            state = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return
        if state["done"] >= state["total"]:  # a next training may have the same label
            self.close()
            self._begun.pop((state["writer"], state["label"]), None)
            return
        training = state["writer"], state["label"]  # a sweep has several at once
        self._begun.setdefault(training, (time.monotonic(), state["done"]))
        if training != self._shown:
            self.close()
            self._shown = training
        if sys.stderr.isatty():
            self._show_bar(state)
        elif time.monotonic() - self._said >= SECONDS_PER_LINE:
            self._said = time.monotonic()
            say(f"    {self._line(state)}")

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show_bar(self, state: dict) -> None:
        if self._bar is None:
            self._bar = tqdm(
                total=state["total"],
                initial=state["done"],
                desc=state["label"],
                leave=False,
                dynamic_ncols=True,
            )
        self._bar.set_postfix_str(_losses(state), refresh=False)
        self._bar.update(state["done"] - self._bar.n)

    def _line(self, state: dict) -> str:
        since, done_before = self._begun[state["writer"], state["label"]]
        return tqdm.format_meter(
            n=state["done"],
            total=state["total"],
            elapsed=time.monotonic() - since,
            initial=done_before,
            prefix=state["label"],
            postfix=_losses(state),
            bar_format=LINE,
        )


def _losses(state: dict) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in state["losses"].items())


def _children_mb() -> int:
    """Resident memory of the kernel and its own children, in MB."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        try:
            total += process.memory_info().rss
        except psutil.Error:  # it ended since it was listed
            continue
    return total // 2**20


def table(rows: list[list[str]]) -> str:
    """`rows`, the first of them the heading, with aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
