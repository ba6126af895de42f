"""Claims: the intervals, the rules, and a verdict that follows from made-up measurements."""

import numpy as np
import pandas as pd
import pytest

from lavae_core import claims, explanation
from lavae_core.claims import FAILS, HOLDS, IN_PART, NOT_MEASURED, NOT_TESTABLE, OPEN, Claim, Part
from lavae_core.errors import InvalidInputError
from lavae_core.paper import FLIPS, HEATMAP_PAIRS, TO_ITSELF


def test_an_interval_holds_the_value_and_narrows_with_the_images():
    rng = np.random.default_rng(1)
    wide, narrow = (claims.interval([rng.normal(3, 1, count)]) for count in (100, 10_000))
    for value, low, high in (wide, narrow):
        assert low < value < high and low < 3 < high
    # The 95% interval of a mean of n normal numbers is 3.92 / sqrt(n) wide.
    assert wide[2] - wide[1] == pytest.approx(0.392, rel=0.25)
    assert narrow[2] - narrow[1] == pytest.approx(0.0392, rel=0.15)


def test_an_interval_covers_the_seeds_as_well_as_the_images():
    seeds = [np.full(50, level) for level in (1.0, 2.0, 3.0)]
    value, low, high = claims.interval(seeds)
    assert value == 2 and low < 1.5 and high > 2.5
    assert claims.interval([seeds[0]]) == pytest.approx((1, 1, 1))


def test_a_ratio_is_of_means_and_its_draws_are_of_the_same_images():
    rng = np.random.default_rng(2)
    difficulty = rng.uniform(1, 100, 500)  # an image that is hard for one model is so for the other
    value, low, high = claims.interval([2 * difficulty], [difficulty])
    assert (value, low, high) == pytest.approx((2, 2, 2))
    value, low, high = claims.interval([rng.normal(4, 1, 300)], [rng.normal(2, 1, 200)])
    assert low < value < high and value == pytest.approx(2, rel=0.1)


def test_the_same_numbers_give_the_same_interval():
    numbers = [np.arange(20.0), np.arange(20.0) ** 2]
    assert claims.interval(numbers) == claims.interval(numbers)


@pytest.mark.parametrize(
    ("side", "low", "high", "verdict"),
    [("below", 0.5, 0.9, HOLDS), ("below", 0.5, 1.0, OPEN), ("below", 1.0, 1.2, FAILS),
     ("above", 1.1, 1.2, HOLDS), ("above", 1.0, 1.2, OPEN), ("above", 0.5, 1.0, FAILS),
     ("below", np.nan, np.nan, NOT_MEASURED)],
)  # fmt: skip
def test_a_part_is_judged_by_its_whole_interval(side, low, high, verdict):
    assert claims._judge(Part("", "x", None, side, 1.0), low, high) == verdict


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [([HOLDS, HOLDS], HOLDS), ([HOLDS, FAILS], IN_PART), ([FAILS], FAILS), ([OPEN, FAILS], OPEN),
     ([OPEN], OPEN), ([OPEN, HOLDS], IN_PART), ([], NOT_TESTABLE), ([NOT_MEASURED], NOT_MEASURED),
     ([FAILS, NOT_MEASURED], OPEN), ([HOLDS, NOT_MEASURED], IN_PART)],
)  # fmt: skip
def test_a_claim_is_judged_by_its_parts(parts, verdict):
    assert claims._together(parts) == verdict


def test_the_transfers_that_are_judged_are_those_that_win_in_the_paper():
    wins = {part.measured: round(part.published, 2) for part in claims._published_wins()}
    assert wins == {
        "transfer/mini_image,edge_detect/shear_x,canny": 0.65,
        "transfer/rotate_cw,flip_lr/shear_x,canny": 0.95,
    }


def test_few_random_regions_are_as_symmetric_as_is_asked():
    rng, differences = np.random.default_rng(0), []
    for _ in range(2000):
        o, f, s, c = rng.standard_normal((4, 16))
        sides = np.linalg.norm([[o - f, s - c], [o - s, f - c]], axis=2)
        differences.append((np.ptp(sides, axis=1) / sides.mean(axis=1)).mean())
    (bound,) = {
        part.bound for c in claims.CLAIMS for part in c.parts if "asymmetry" in part.measured
    }
    assert 0.03 < np.mean(np.array(differences) < bound) < 0.07


@pytest.fixture
def vectors():
    """Made-up measurements of one seed, with every name that a claim asks for."""
    made = {}
    for claim in claims.CLAIMS:
        for part in claim.parts:
            made[part.measured] = np.full(10, 1.0)
            if part.against:
                made.setdefault(part.against, np.full(10, 2.0))
    return made


def test_every_claim_has_its_rows(vectors):
    table = claims.table([vectors])
    assert list(dict.fromkeys(table["claim"])) == [claim.text for claim in claims.CLAIMS]
    assert len(table) == sum(max(1, len(claim.parts)) for claim in claims.CLAIMS)
    untested = table[table["verdict"] == NOT_TESTABLE]
    assert untested["claim"].tolist() == ["non-linear maps are not simple to invert"]
    assert table["published"].dropna().iloc[0] == pytest.approx(297.10 / 989.84)


def test_the_verdict_follows_the_numbers(monkeypatch):
    monkeypatch.setattr(claims, "CLAIMS", (
        Claim("better", "I", (Part("ratio", "ours", "theirs", "below", 1.0),)),
    ))  # fmt: skip
    better, worse = {"ours": np.full(5, 1.0)}, {"ours": np.full(5, 3.0)}
    for seeds, verdict in (([better], HOLDS), ([worse], FAILS), ([better, worse], OPEN)):
        row = claims.table([seed | {"theirs": np.full(5, 2.0)} for seed in seeds]).iloc[0]
        assert (row["verdict"], row["seeds"]) == (verdict, len(seeds))
    row = claims.table([{}]).iloc[0]  # a group that was not measured for any seed
    assert (row["verdict"], row["seeds"]) == (NOT_MEASURED, 0)


def test_no_seed():
    with pytest.raises(InvalidInputError, match="no seed was measured"):
        claims.table([])


# -- the explanation of Figure 7 -----------------------------------------------------------------


@pytest.fixture
def heatmaps():
    """Two seeds in which a space that separates its variants better transfers better."""
    made = {}
    for seed in (0, 1):
        vectors = {}
        for place, trained in enumerate(HEATMAP_PAIRS):
            vectors[f"probe/{trained}"] = np.array([0.5 + 0.1 * place])
            vectors[f"neighbours/{trained}"] = np.array([0.9 - 0.1 * place])
            vectors[f"native/{trained}"] = np.full(4, 250.0)
            for evaluated in HEATMAP_PAIRS:
                vectors[f"transfer/{trained}/{evaluated}"] = np.full(4, 400.0 - 60 * place + seed)
        vectors[f"native/{TO_ITSELF}"] = vectors[f"transfer/{TO_ITSELF}/{TO_ITSELF}"] = np.ones(4)
        made[seed] = vectors
    return made


def test_cells_shares_and_correlation(heatmaps):
    cells = explanation.cells(heatmaps)
    assert len(cells) == 2 * 16 and len(explanation.off_diagonal(cells)) == 2 * 12
    first = cells.iloc[1]
    assert (first["trained"], first["evaluated"]) == (FLIPS, HEATMAP_PAIRS[1])
    assert (first["transfer"], first["self_transfer"], first["probe"]) == (400, 340, 0.5)
    assert first["excess"] == pytest.approx(400 / 340)
    assert explanation.shares(cells).to_dict() == {
        "self-transfer beats native": 0.25, "transfer beats native": 0.25,
        "transfer beats self-transfer": 0.5,
    }  # fmt: skip
    rho, low, high = explanation.correlation(cells, "probe")
    assert -1 <= low <= rho <= high < 0
    assert high - low > 0.4  # half of the resampled cells would lie within 0.2
    assert explanation.correlation(cells, "neighbours")[0] == pytest.approx(-rho)


def test_transfers_that_are_all_alike_are_one_line():
    cells = pd.DataFrame(
        {"trained": ["a", "b"], "evaluated": ["b", "a"], "probe": 0.5, "excess": 1.0}
    )
    with pytest.raises(InvalidInputError, match="all transfers are alike"):
        explanation.correlation(cells, "probe")


def test_no_cell():
    with pytest.raises(InvalidInputError, match="no transfer was measured"):
        explanation.cells({0: {"stable": np.ones(3)}})
