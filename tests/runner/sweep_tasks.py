"""Tasks of no cost for test_sweep.py, in a module that the workers of a cluster can import."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Square:
    """The square of a number. fate: "fail", or "die" or "die once" with its process."""

    number: int
    fate: str = ""
    KIND = "square"

    @property
    def label(self) -> str:
        return f"square of {self.number}"

    def spec(self) -> dict[str, Any]:
        return {"number": self.number, "fate": self.fate}

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        if self.fate == "fail":
            raise ValueError(f"{self.number} is odd\nand more")
        marker = Path(os.environ["LAVAE_HOME"], "died")
        if self.fate == "die" or self.fate == "die once" and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        (folder / "square").write_text(str(self.number**2))
        return {}

    def load(self, folder: Path) -> int:
        return int((folder / "square").read_text())
