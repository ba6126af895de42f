"""Figure 7 and what explains it, on made-up means."""

import pytest

from lavae_companion.paper import (
    FIGURE_7,
    FLIPS,
    HEATMAP_PAIRS,
    MINI_EDGE,
    ROTATE_FLIP,
    SHEAR_CANNY,
    head_on,
)  # fmt: skip
from lavae_companion.results import transfer
from lavae_core.errors import InvalidInputError

PAIRS = HEATMAP_PAIRS
SECOND, LAST = PAIRS[1], PAIRS[3]


@pytest.fixture
def means():
    """Means in which a space that separates its variants better transfers better."""
    made = {}
    for place, trained in enumerate(PAIRS):
        made[f"probe/{trained}"] = 0.5 + 0.1 * place
        made[f"neighbours/{trained}"] = 0.9 - 0.1 * place
        made[f"LAVAE/total/{trained}"] = 250.0
        for evaluated in PAIRS:
            made[f"{head_on(trained)}/total/{evaluated}"] = 400.0 - 60 * place
    made[f"LAVAE/total/{LAST}"] = made[f"{head_on(LAST)}/total/{LAST}"] = 1.0
    return made


def test_the_diagonal_of_the_heatmap_is_native_or_self_transfer(means):
    native = transfer.matrix(means, PAIRS[:2], self_transfer=False)
    assert native.to_numpy().tolist() == [[250, 400], [340, 250]]
    heads = transfer.matrix(means, PAIRS[:2], self_transfer=True)
    assert heads.to_numpy().tolist() == [[400, 400], [340, 340]]
    assert list(heads.index) == list(heads.columns) == [str(pair) for pair in PAIRS[:2]]


def test_the_best_transfer_leaves_the_diagonal_out(means):
    table = transfer.comparison(means, PAIRS)
    assert table.loc[str(LAST)].tolist() == [1, 1, 280, str(PAIRS[2])]
    assert table.loc[str(FLIPS), ["self-transfer", "best transfer", "from"]].tolist() == [
        400, 220, str(LAST),
    ]  # fmt: skip


def test_agreement_is_with_the_published_cells_off_the_diagonal(means):
    for trained in PAIRS:
        for evaluated in PAIRS:
            published = float(FIGURE_7.loc[str(trained), str(evaluated)])
            means[f"{head_on(trained)}/total/{evaluated}"] = 2 * published + 1
        means[f"LAVAE/total/{trained}"] = 1e6
    assert transfer.agreement(transfer.cells(means, PAIRS)) == pytest.approx(1)
    for name in means:
        means[name] *= -1
    assert transfer.agreement(transfer.cells(means, PAIRS)) == pytest.approx(-1)


def test_published_wins_are_the_cells_below_their_native_training():
    assert transfer.published_wins() == [(MINI_EDGE, SHEAR_CANNY), (ROTATE_FLIP, SHEAR_CANNY)]


def test_a_cell_is_of_a_trained_and_an_evaluated_pair(means):
    table = transfer.cells(means, PAIRS)
    assert len(table) == 16 and len(transfer.off_diagonal(table)) == 12
    cell = table.iloc[1]
    assert (cell["trained"], cell["evaluated"]) == (str(FLIPS), str(SECOND))
    assert (cell["transfer"], cell["native"], cell["self_transfer"]) == (400, 250, 340)
    assert (cell["probe"], cell["neighbours"]) == (0.5, 0.9)
    assert cell["excess"] == pytest.approx(400 / 340)


def test_shares_of_the_heads_that_win(means):
    assert transfer.shares(transfer.cells(means, PAIRS)).to_dict() == {
        "self-transfer beats native": 0.0,
        "transfer beats native": 0.25,
        "transfer beats self-transfer": 0.5,
    }


def test_the_error_falls_with_separability(means):
    table = transfer.cells(means, PAIRS)
    rho = transfer.rank_correlation(table, "probe")
    assert -1 <= rho < -0.5
    assert transfer.rank_correlation(table, "neighbours") == pytest.approx(-rho)


def test_a_correlation_needs_a_known_separability_and_cells_that_differ(means):
    with pytest.raises(InvalidInputError, match="'accuracy'"):
        transfer.rank_correlation(transfer.cells(means, PAIRS), "accuracy")
    alike = {name: 0.5 if name.startswith("probe") else 1.0 for name in means}
    with pytest.raises(InvalidInputError):
        transfer.rank_correlation(transfer.cells(alike, PAIRS), "probe")
