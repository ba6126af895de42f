"""How the tables and pictures of a run differ from the committed ones."""

import filecmp
from pathlib import Path

import pandas as pd

from lavae_companion.runner.files import PICTURES, listed

SAME = "same bits"


def differences(own: Path, committed: Path) -> list[list[str]]:
    """A row (file, difference) for each table and picture that both folders hold, by name.

    A difference of numbers is the largest of the table, relative to the committed number; numbers
    below a hundredth of their column's largest are compared with that hundredth.
    """
    paths = [path for path in listed(own) if (committed / path.name).is_file()]
    return [[path.name, _difference(path, committed / path.name)] for path in paths]


def summary(rows: list[list[str]]) -> list[list[str]]:
    """The rows of files that differ, then how many have the same bits."""
    changed = [row for row in rows if row[1] != SAME]
    return [*changed, [f"{len(rows) - len(changed)} of {len(rows)} files", SAME]]


def _difference(own: Path, committed: Path) -> str:
    if filecmp.cmp(own, committed, shallow=False):
        return SAME
    if own.suffix in PICTURES:
        return "another picture"
    ours, theirs = pd.read_csv(own), pd.read_csv(committed)
    if ours.shape != theirs.shape or list(ours) != list(theirs):
        return "other rows or columns"
    if (ours.isna() != theirs.isna()).any(axis=None):
        return "other empty cells"
    numeric = [name for name in theirs if pd.api.types.is_numeric_dtype(theirs[name])]
    scale = theirs[numeric].abs()
    relative = (ours[numeric] - theirs[numeric]).abs() / scale.clip(lower=scale.max() / 100, axis=1)
    texts = ours.drop(columns=numeric).fillna("") != theirs.drop(columns=numeric).fillna("")
    changed = int(texts.to_numpy().sum())
    within = f"numbers within {relative.max().max():.2%}" if len(numeric) else "no numbers"
    return f"{within}, {changed} of {texts.size} texts differ" if changed else within
