"""Figure 7: the pair a latent space was trained on against the pair it is evaluated on; and what
explains which transfers win.

Two explanations, each as a number over all cells. (a) A native decoder never saw mapped latents and
a head did: then the head for the same pair (self-transfer) beats the native decoder as well. So it
would if only the noise of stage 1 were missing, which controls.heads tells apart. (b) A
head can only be as good as the variants are distinguishable in the frozen latent space: then the
transfer error falls with their separability.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lavae_companion.paper import FIGURE_7, head_on
from lavae_core.augmentations import Family
from lavae_core.errors import InvalidInputError, require_known

Means = Mapping[str, float]  # of measured vectors, by name
SEPARABILITIES = {"probe": "linear probe", "neighbours": "15 neighbours"}


def matrix(means: Means, pairs: Sequence[Family], self_transfer: bool) -> pd.DataFrame:
    """Total BCE, trained pairs (rows) by evaluated pairs (columns).

    The diagonal is the native decoder as in the paper, or the self-transfer.
    """
    names = [str(pair) for pair in pairs]
    cells = {
        str(evaluated): [
            _native(means, evaluated)
            if trained == evaluated and not self_transfer
            else _head(means, trained, evaluated)
            for trained in pairs
        ]
        for evaluated in pairs
    }
    return pd.DataFrame(cells, index=names)


def comparison(means: Means, pairs: Sequence[Family]) -> pd.DataFrame:
    """For each evaluated pair: native, self-transfer, and the best head of another trained pair."""
    heads = matrix(means, pairs, self_transfer=True)
    rows = {
        str(pair): {
            "native": _native(means, pair),
            "self-transfer": heads.loc[str(pair), str(pair)],
            "best transfer": heads[str(pair)].drop(str(pair)).min(),
            "from": heads[str(pair)].drop(str(pair)).idxmin(),
        }
        for pair in pairs
    }
    return pd.DataFrame(rows).T.infer_objects()


def published_wins() -> list[tuple[Family, Family]]:
    """The (trained, evaluated) cells in which the paper's transfer beats its native training."""
    return [
        (Family.parse(trained), Family.parse(evaluated))
        for evaluated, column in FIGURE_7.items()
        for trained, total in column.items()
        if total < column[evaluated]
    ]


def cells(means: Means, pairs: Sequence[Family]) -> pd.DataFrame:
    """A row for each (trained, evaluated) cell of Figure 7: total BCE of transfer, native and
    self_transfer; excess = transfer / self_transfer; separabilities (0 to 1) of the trained space."""
    rows = [
        {
            "trained": str(trained), "evaluated": str(evaluated),
            "transfer": _head(means, trained, evaluated),
            "native": _native(means, evaluated),
            "self_transfer": _head(means, evaluated, evaluated),
            **{n: means[key] for n in SEPARABILITIES if (key := f"{n}/{trained}") in means},
        }
        for trained in pairs for evaluated in pairs
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    return table.assign(excess=table["transfer"] / table["self_transfer"])


def off_diagonal(table: pd.DataFrame) -> pd.DataFrame:
    """The cells in which the trained pair is another one than the evaluated pair."""
    return table[table["trained"] != table["evaluated"]]


def shares(table: pd.DataFrame) -> pd.Series:
    """Explanation (a), as shares of cells (0 to 1): how often each kind of head beats native
    training, and how often a transfer still beats the self-transfer."""
    diagonal, rest = table[table["trained"] == table["evaluated"]], off_diagonal(table)
    return pd.Series({
        "self-transfer beats native": (diagonal["transfer"] < diagonal["native"]).mean(),
        "transfer beats native": (rest["transfer"] < rest["native"]).mean(),
        "transfer beats self-transfer": (rest["transfer"] < rest["self_transfer"]).mean(),
    })  # fmt: skip


def rank_correlation(table: pd.DataFrame, separability: str) -> float:
    """Explanation (b): Spearman's rho between a separability of the trained space and the excess
    of its transfers, over the cells off the diagonal of one seed.

    Raises InvalidInputError for a separability that is not in SEPARABILITIES, or where all cells
    have the same one or the same excess.
    """
    require_known("separability", separability, SEPARABILITIES)
    points = off_diagonal(table)[[separability, "excess"]].to_numpy()
    if min(len(np.unique(column)) for column in points.T) < 2:
        raise InvalidInputError("all transfers are alike: no correlation; ask for more pairs")
    return _spearman(*points.T)


def agreement(table: pd.DataFrame) -> float:
    """Spearman's rho of the transfers of one seed and the published ones, over the cells off the
    diagonal of the paper's four pairs (Figure 7)."""
    rest = off_diagonal(table)
    cells = zip(rest["trained"], rest["evaluated"], strict=True)
    published = [FIGURE_7.loc[trained, evaluated] for trained, evaluated in cells]
    return _spearman(rest["transfer"], published)


def _spearman(one: Sequence[float], other: Sequence[float]) -> float:
    from scipy.stats import spearmanr  # takes a second to import

    return float(spearmanr(one, other).statistic)


def _native(means: Means, evaluated: Family) -> float:
    return means[f"LAVAE/total/{evaluated}"]


def _head(means: Means, trained: Family, evaluated: Family) -> float:
    return means[f"{head_on(trained)}/total/{evaluated}"]
