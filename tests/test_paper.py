"""The published numbers and the tables that put ours beside them."""

import numpy as np
import pandas as pd
import pytest

from lavae_core import heatmap, paper


@pytest.mark.parametrize(
    ("parts", "expected"),
    [((True, True), "agrees"), ((True, False), "agrees in part"), ((False,), "does not agree")],
)
def test_verdicts_follow_from_the_parts(parts, expected):
    assert paper.agreement(*parts) == expected


def test_published_totals_are_sums_but_for_the_row_that_is_not():
    columns = ["original", "first", "second", "composed"]
    gap = (paper.TABLE_1[columns].sum(axis=1) - paper.TABLE_1["total"]).abs()
    # 0.1 is beyond what rounding four columns can add up to
    assert (gap > 0.1).to_dict() == {"LAVAE": False, "CVAE": False, "CVAE, LAVAE training": True}
    assert "596.69" in paper.discrepancies()["what"].iloc[0]


def test_table_1_keeps_a_model_that_was_not_published():
    ours = pd.Series(1.0, index=paper.TABLE_1.columns)
    table = paper.table_1({"LAVAE": ours, "VAE": 2 * ours})
    assert table.loc["LAVAE", "published_total"] == 297.10
    assert np.isnan(table.loc["VAE", "published_total"])
    assert list(table.columns) == [*ours.index, *(f"published_{name}" for name in ours.index)]


def _long_table() -> pd.DataFrame:
    pairs = paper.PAIRS[:2]
    rows = [
        {"trained_pair": a, "evaluated_pair": b, "kind": "transfer", "total": 10.0 * i + j}
        for i, a in enumerate(pairs)
        for j, b in enumerate(pairs)
    ]
    rows += [
        {"trained_pair": p, "evaluated_pair": p, "kind": "native", "total": 99.0} for p in pairs
    ]
    return pd.DataFrame(rows).set_index(["trained_pair", "evaluated_pair", "kind"])


def test_the_diagonal_of_the_heatmap_is_native_or_self_transfer():
    assert heatmap.matrix(_long_table(), self_transfer=True).to_numpy().tolist() == [
        [0, 1],
        [10, 11],
    ]
    native = heatmap.matrix(_long_table(), self_transfer=False)
    assert native.to_numpy().tolist() == [[99, 1], [10, 99]]


def test_the_best_transfer_leaves_the_diagonal_out():
    table = heatmap.diagonals(_long_table(), paper.PAIRS[:2])
    assert table["best transfer"].tolist() == [10, 1]
    assert table["from"].tolist() == [paper.PAIRS[1], paper.PAIRS[0]]


def test_published_wins_are_counted_from_the_published_matrix():
    assert heatmap.published_wins(paper.HEATMAP_PAIRS).startswith(
        "in 1 of 4 columns (shear_x,canny)"
    )
