"""A notebook in a person's hands: JupyterLab shows what runs, and what failed, wherever they look.

It imports nothing slow, so that it works before PyTorch is loaded.
"""

import os
import sys
from pathlib import Path
from typing import Any


def shell() -> Any:
    """IPython's shell of this kernel; None where no kernel runs this, and in a run of run_all.sh."""
    found = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return found if hasattr(found, "kernel") and not os.environ.get("LAVAE_OUTPUT") else None


def keep_in_view() -> None:
    """In a person's notebook, say at the foot of JupyterLab's panel what runs and for how long, and
    scroll to a cell that fails. After Run All they look at the last cell, not at these."""
    if shell() is not None:
        _run_script(Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))
        shell().events.register("post_run_cell", _scroll_to_failure)


def _scroll_to_failure(result: Any) -> None:
    if not result.success:
        _run_script('setTimeout(() => element.scrollIntoView({block: "center"}), 100);')


def _run_script(code: str) -> None:
    from IPython.display import display

    display({"application/javascript": code}, raw=True)
