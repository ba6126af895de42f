"""Figure 7: which pair a latent space was trained on against which pair it is evaluated on."""

import pandas as pd

from lavae_core import paper
from lavae_core.evaluation import lavae_scores
from lavae_core.models import NATIVE
from lavae_core.study import Study


def measure(study: Study, pairs: list[str]) -> pd.DataFrame:
    """A row for each (trained, evaluated) pair, in long form; trains what is missing.

    kind: "transfer" is a fresh head on the frozen space of the trained pair (on the diagonal:
    self-transfer, the control; the paper has no number for it); "native" is stage 1's decoder.
    """
    rows = []
    for evaluated in pairs:
        images = study.variants(evaluated)
        for trained in pairs:
            model = study.transfer(trained, evaluated)
            rows.append(_row(model, images, trained, evaluated, "transfer", evaluated))
        rows.append(_row(study.lavae(evaluated), images, evaluated, evaluated, "native", NATIVE))
    table = pd.DataFrame(rows).sort_values(["trained_pair", "evaluated_pair", "kind"])
    return table.set_index(["trained_pair", "evaluated_pair", "kind"])


def matrix(table: pd.DataFrame, self_transfer: bool) -> pd.DataFrame:
    """Total BCE, trained pairs by evaluated pairs, from measure()'s table.

    The diagonal is the native decoder as in the paper, or the self-transfer.
    """
    square = table.xs("transfer", level="kind")["total"].unstack()
    order = [pair for pair in paper.PAIRS if pair in square.index]
    square = square.loc[order, order]
    if not self_transfer:
        native = table.xs("native", level="kind")["total"]
        for pair in order:
            square.loc[pair, pair] = native[pair, pair]
    return square.rename_axis(index=None, columns=None)


def diagonals(table: pd.DataFrame, pairs: list[str]) -> pd.DataFrame:
    """For each evaluated pair: native, self-transfer, and the best head of another trained pair."""
    transfer = matrix(table, self_transfer=True)
    native = matrix(table, self_transfer=False)
    rows = {
        pair: {
            "native": native.loc[pair, pair],
            "self-transfer": transfer.loc[pair, pair],
            "best transfer": transfer[pair].drop(pair).min(),
            "from": transfer[pair].drop(pair).idxmin(),
        }
        for pair in pairs
    }
    return pd.DataFrame(rows).T.infer_objects()


def published_columns(pairs: list[str]) -> list[str]:
    """Those of `pairs` in whose published column a head of another pair beats native training."""
    known = paper.FIGURE_7[[pair for pair in pairs if pair in paper.FIGURE_7.columns]]
    return [pair for pair, column in known.items() if column.drop(pair).min() < column[pair]]


def published_wins(pairs: list[str]) -> str:
    """The same in words."""
    wins, known = published_columns(pairs), sum(pair in paper.FIGURE_7.columns for pair in pairs)
    return f"in {len(wins)} of {known} columns ({'; '.join(wins) or 'none'})"


def _row(model, images, trained: str, evaluated: str, kind: str, head: str) -> dict:
    scores = lavae_scores(model, images, head)
    published = None
    known = trained in paper.FIGURE_7.index and evaluated in paper.FIGURE_7.columns
    # The paper's diagonal is native training; it has no number for a self-transfer.
    if known and (trained != evaluated or kind == "native"):
        published = paper.FIGURE_7.loc[trained, evaluated]
    return {
        "trained_pair": trained, "evaluated_pair": evaluated, "kind": kind, **scores["bce"],
        "sse_total": scores.loc["total", "sse"], "published_total": published,
    }  # fmt: skip
