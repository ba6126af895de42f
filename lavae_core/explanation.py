"""Why some transfers of Figure 7 win: two explanations, each as a number over all cells.

(a) A native decoder never saw mapped latents and a head did: then the head for the *same* pair
(self-transfer) beats the native decoder as well. (b) A head can only be as good as the variants are
distinguishable in the frozen space: then the transfer error falls with their separability.
"""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from lavae_core.errors import InvalidInputError, require_known

DRAWS = 2000  # of the bootstrap
SEPARABILITIES = ("probe", "neighbours")


def cells(seeds: Mapping[int, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """A row for each (seed, trained, evaluated) of Figure 7: total BCE of transfer, native and
    self_transfer; excess = transfer / self_transfer; and the separabilities (0 to 1) of the trained
    space. A pair whose space was not probed is not one of the figure's.

    seeds: the vectors of measurements.heatmap by seed. Raises InvalidInputError without a cell.
    """
    rows = []
    for seed, vectors in seeds.items():
        means = {name: float(vector.mean()) for name, vector in vectors.items()}
        pairs = [name.removeprefix("probe/") for name in means if name.startswith("probe/")]
        for trained, evaluated in product(pairs, repeat=2):
            rows.append({
                "seed": seed, "trained": trained, "evaluated": evaluated,
                "transfer": means[f"transfer/{trained}/{evaluated}"],
                "native": means[f"native/{evaluated}"],
                "self_transfer": means[f"transfer/{evaluated}/{evaluated}"],
                **{kind: means[f"{kind}/{trained}"] for kind in SEPARABILITIES},
            })  # fmt: skip
    if not rows:
        raise InvalidInputError("no transfer was measured; ask for the seeds of a heatmap")
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


def correlation(table: pd.DataFrame, separability: str) -> tuple[float, float, float]:
    """Explanation (b): Spearman's rho between a separability of the trained space and the excess
    of its transfers, with a 95% bootstrap interval over (trained, evaluated) cells.

    Raises InvalidInputError for a separability that is not in SEPARABILITIES, or where all cells
    have the same one or the same excess.
    """
    require_known("separability", separability, SEPARABILITIES)
    chosen = off_diagonal(table)
    # Seeds of one cell are not independent: their means are what is drawn.
    points = chosen.groupby(["trained", "evaluated"])[[separability, "excess"]].mean().to_numpy()
    if min(len(np.unique(column)) for column in points.T) < 2:
        raise InvalidInputError(
            "all transfers are alike, so nothing goes with anything; ask for more pairs"
        )
    rng = np.random.default_rng(0)
    draws = []
    while len(draws) < DRAWS:
        drawn = points[rng.integers(len(points), size=len(points))]
        if len(np.unique(drawn[:, 0])) > 1 and len(np.unique(drawn[:, 1])) > 1:
            draws.append(spearmanr(*drawn.T).statistic)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(spearmanr(*points.T).statistic), float(low), float(high)
