"""Run every notebook with an edited parameter cell, in random order, in an empty store.

    python tests/runner/edited.py [NUMBER ...]

Once through papermill, as `papermill -p` does, and once as Jupyter does, from a cell that was edited.
It uses real MNIST, in the smoke profile. Prints a line for each notebook; ends with 1 if one failed,
changed anything that git tracks, or judged or showed what the paper published of another pair.
"""

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbclient
import nbformat
import papermill

from lavae_companion.data import home
from lavae_companion.paths import CHECKOUT, NOTEBOOKS
from lavae_companion.runner.notebooks import Notebook, choose, discover

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
    "28": {
        "generators": TURNS,
        "more_generators": "rotate_ccw,rotate_cw",
        "n_words": 2,
        "length": 3,
        "n_images": 20,
        "digit": 9,
    },
    "29": {"pairs": [TURNS], "learned_only": [BLURRED]},
    "26": {"pairs": [TURNS], "lengths": [1, 3, 8], "n_words": 2, "n_images": 20, "digit": 9},
    "30": {"n_angles": 12, "most": 60, "n_images": 50, "digit": 7},
    "31": {"pair": "flip_ud,flip_lr", "dims": [3, 16], "digit": 7},
    "34": {"pair": "rotate_cw,gaussian_blur", "digit": 2, "word": "L1 L2 L1^-1"},
    "32": {"bodies": ["tilt"], "digits": [7, 7], "n_images": 20},
    "33": {"datasets": ["mnist"], "pair": TURNS, "n_labels": [2], "draws": 2, "n_images": 50},
}


def main(numbers: list[str]) -> int:
    notebooks = discover()
    if {notebook.number for notebook in notebooks} != set(EDITS):
        sys.exit("every notebook needs its line in EDITS")
    chosen = choose(notebooks, numbers or list(EDITS))
    random.Random(0).shuffle(chosen)
    sets = home().absolute() / "data"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LAVAE_HOME"] = folder
        os.environ.pop("LAVAE_OUTPUT", None)
        (Path(folder) / "data").symlink_to(sets)
        failed = sum(bool(_said_of(notebook)) for notebook in chosen)
    print(f"{len(chosen) - failed} of {len(chosen)} notebooks ran")
    return int(failed > 0)


def _said_of(notebook: Notebook) -> list[str]:
    started = time.monotonic()
    faults = faults_of(notebook, EDITS[notebook.number] | {"profile": "smoke"})
    print(f"{notebook.name}: {time.monotonic() - started:.0f} s", *faults, sep="\n  ", flush=True)
    return faults


def faults_of(notebook: Notebook, edit: dict[str, object]) -> list[str]:
    """What is wrong after a notebook ran with these parameters, by papermill and as in Jupyter."""
    before, faults = tracked(), []
    for way in (by_papermill, as_in_jupyter):
        try:
            executed = way(notebook, edit)
        except Exception as error:  # of one notebook: the others go on
            faults.append(f"{way.__name__}: {str(error).strip().splitlines()[-1]}")
            continue
        faults += [f"{way.__name__}: {line}" for line in _of_the_paper(executed, edit)]
    return faults + [f"changed: {name}" for name, each in tracked().items() if before[name] != each]


def tracked() -> dict[str, bytes | None]:
    """The files that git tracks, with their content (None: it is missing)."""
    names = subprocess.run(
        ["git", "-C", CHECKOUT, "ls-files", "-z"], capture_output=True, text=True, check=True
    ).stdout.split("\0")[:-1]
    paths = {name: CHECKOUT / name for name in names}
    return {name: path.read_bytes() if path.is_file() else None for name, path in paths.items()}


def by_papermill(notebook: Notebook, edit: dict[str, object]) -> nbformat.NotebookNode:
    return papermill.execute_notebook(
        notebook.path, None, edit, cwd=NOTEBOOKS, kernel_name="python3", progress_bar=False
    )


def as_in_jupyter(notebook: Notebook, edit: dict[str, object]) -> nbformat.NotebookNode:
    content = nbformat.read(notebook.path, as_version=4)
    (cell,) = [c for c in content.cells if "parameters" in c.metadata.get("tags", [])]
    cell.source += "".join(f"\n{name} = {value!r}" for name, value in edit.items())
    client = nbclient.NotebookClient(
        content, timeout=None, kernel_name="python3", resources={"metadata": {"path": NOTEBOOKS}}
    )
    return client.execute()


def _of_the_paper(executed: nbformat.NotebookNode, edit: dict[str, object]) -> list[str]:
    """Published numbers and verdicts of the flips, whose place another pair took; those that name
    the pair that they are about were measured on it."""
    if not {"pair", "trained"} & edit.keys():
        return []
    text = "".join(
        output.text
        for cell in executed.cells if ".check(" in cell.source
        for output in cell.outputs if output.get("name") == "stdout"
    )  # fmt: skip
    parts = re.findall(r"^  (\S.*(?:\n  \S.*)*)\n      (\S.*)$", text, re.MULTILINE)
    return [f"{what}: {value}" for what, value in parts if not re.search(r"\w,\w", what)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
