"""Run every notebook with an edited parameter cell, in random order, in an empty store.

    python tests/runner/edited.py

It uses real MNIST, in the smoke profile, and leaves `.lavae` and figures/ as they are. Prints a line
for each notebook; ends with 1 if one failed.
"""

import os
import random
import sys
import tempfile
import time
from pathlib import Path

from lavae_companion.data import home
from lavae_companion.runner.execute import execute
from lavae_companion.runner.notebooks import Notebook, discover
from lavae_core.errors import LavaeError

TURNS, BLURRED = "rotate_cw,rotate_ccw", "gaussian_blur,flip_ud"
EDITS = {
    "00": {"pair": TURNS, "digit": 2, "n_images": 500},
    "01": {"pair": BLURRED, "digit": 8},
    "02": {"latent_dim": 8, "n_maps": 3},
    "03": {"pair": TURNS, "digits": [1, 8]},
    "04": {"pair": TURNS, "digits": [5]},
    "05": {"pair": TURNS, "digits": [2, 7], "word": "L1 L2^-1", "steps": 3},
    "06": {"trained": TURNS, "evaluated": BLURRED, "digits": [0, 1, 2]},
    "07": {"n_pairs": 3, "to_itself": TURNS},
    "08": {"pair": TURNS, "digits": [3, 3]},
    "09": {"pair": BLURRED, "digits": [9]},
    "10": {"pairs": [TURNS], "methods": ["PCA"], "seed": 3},
    "11": {"latent_dim": 4, "n_conditions": 2},
    "12": {"pair": TURNS, "seed": 3},
    "13": {"pair": TURNS, "coverage": 0.5, "ends": [0, 1], "steps": 5},
    "14": {"pairs": [TURNS, BLURRED], "digits": [6]},
    "15": {"trained": TURNS, "n_pairs": 3, "digits": [4]},
    "16": {"pairs": [BLURRED], "methods": ["t-SNE", "ICA"]},
    "17": {"pair": TURNS, "widths": [4, 16]},
    "18": {"pair": "flip_lr,flip_ud"},
    "19": {"n_pairs": 3, "seed": 3},
    "20": {"pair": TURNS, "steps": 4, "n_images": 100},
    "21": {"seeds": [3]},
    "22": {"separability": "neighbours", "seeds": [3]},
    "23": {"n_pairs": 3, "detail": TURNS, "hard": TURNS, "weights": [2.0], "seed": 3},
    "24": {"seeds": [3]},
    "27": {"pair": TURNS, "left_out": [6, 9], "n_labels": [2, 20], "draws": 2, "n_images": 50},
    "25": {"pairs": [BLURRED], "hard": BLURRED, "every": 2},
    "26": {"pairs": [TURNS], "lengths": [1, 3, 8], "n_words": 2, "n_images": 20, "digit": 9},
}


def main() -> int:
    notebooks = discover()
    if {notebook.number for notebook in notebooks} != set(EDITS):
        sys.exit("every notebook needs its line in EDITS")
    random.Random(0).shuffle(notebooks)
    sets = home().absolute() / "data"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LAVAE_HOME"] = folder
        (Path(folder) / "data").symlink_to(sets)
        failed = sum(not _runs(notebook, Path(folder)) for notebook in notebooks)
    print(f"{len(notebooks) - failed} of {len(notebooks)} notebooks ran")
    return int(failed > 0)


def _runs(notebook: Notebook, folder: Path) -> bool:
    started = time.monotonic()
    edit = EDITS[notebook.number] | {"profile": "smoke"}
    try:
        execute(notebook.path, folder / notebook.path.name, edit, folder / "figures")
    except LavaeError as error:
        print(error, flush=True)
        return False
    print(f"{notebook.name}: {time.monotonic() - started:.0f} s", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
