"""Claims: their criteria on the paper's own numbers, intervals, verdicts, tables and reports."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from lavae_companion.paper import FLIPS, HEATMAP_PAIRS
from lavae_companion.results import claims, scores
from lavae_companion.results.claims import (
    CLAIMS,
    EQUIVALENT,
    FAILS,
    HOLDS,
    IN_PART,
    INCONCLUSIVE,
    NOT_MEASURED,
    NOT_TESTABLE,
    Claim,
    Part,
)
from lavae_core.augmentations import variants
from lavae_core.errors import InvalidInputError

PARTS = [part for claim in CLAIMS for part in claim.parts]
ITEMS = sorted({item for claim in CLAIMS for item in claim.items})


def part(side="below", threshold=1.0, margin=None, against="theirs") -> Part:
    return Part("ours over theirs", "ours", against, side, threshold, "a reason", margin)


def around(value: float, count: int = 50) -> np.ndarray:
    """Numbers of `count` images that hardly differ, with exactly this mean."""
    return value + 1e-6 * np.linspace(-1, 1, count)


def claim_of(*parts: Part, scope="all") -> Claim:
    return Claim("ours is better", "Section I", ("Figure 1",), parts, scope)


@pytest.fixture
def only(monkeypatch):
    """A function that replaces all claims by one."""
    return lambda claim: monkeypatch.setattr(claims, "CLAIMS", (claim,))


# --- the criteria --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mean_images(mnist):
    """The error of the mean image of each variant of the real test images, and their totals."""
    images, training, vectors = mnist("test").images, mnist("train").images[:10_000], {}
    for pair in HEATMAP_PAIRS:
        made = variants(images, pair, split="test", seed=0)
        means = variants(training, pair, split="train", seed=0).double().div(255).mean(1)
        bce = {name: each[0] for name, each in scores.mean_image(pair, made, means).items()}
        bce["total"] = torch.stack(list(bce.values())).sum(0)
        vectors |= {f"mean image/{name}/{pair}": each for name, each in bce.items()}
    return vectors


def test_the_papers_own_numbers_pass_every_rule_that_has_one(mean_images):
    published = {part: part.published(mean_images) for part in PARTS}
    judged = {part: value for part, value in published.items() if not math.isnan(value)}
    verdicts = {part.what: claims.judge(part, value, value) for part, value in judged.items()}
    assert set(verdicts.values()) == {HOLDS}, verdicts
    assert len(judged) == 18  # a misspelt name would silently have no published value


def test_the_mean_image_of_a_published_ratio_is_that_of_the_data(mean_images):
    ratio = Part("", f"LAVAE/total/{FLIPS}", f"mean image/total/{FLIPS}", "below", 0.8, "a reason")
    expected = 297.10 / mean_images[f"mean image/total/{FLIPS}"].double().mean().item()
    assert ratio.published(mean_images) == pytest.approx(expected)
    assert math.isnan(ratio.published({}))


@pytest.mark.parametrize(
    ("options", "value"),
    [({"reason": ""}, "0.5"), ({"reason": " "}, "0.5"), ({"side": "beneath"}, "'beneath'"),
     ({"threshold": float("nan")}, "nan"), ({"threshold": "1"}, "'1'"),
     ({"threshold": float("inf")}, "inf"), ({"threshold": None}, "None")],
    ids=str,
)  # fmt: skip
def test_parts_that_are_refused(options, value):
    fields = {"side": "below", "threshold": 0.5, "reason": "half"}
    with pytest.raises(InvalidInputError, match=value):
        Part("a ratio", "ours", "theirs", **fields | options)


def test_a_scope_that_is_refused():
    with pytest.raises(InvalidInputError, match="'most'"):
        claim_of(part(), scope="most")


def test_the_parts_of_a_claim_have_names_of_their_own_and_claims_their_texts():
    assert len({claim.text for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert len({part.what for part in claim.parts}) == len(claim.parts)
        assert claim.parts or claim.note  # why it is not testable
        assert claim.items and claim.section


# --- intervals -----------------------------------------------------------------------------------


def test_a_single_number_has_an_interval_over_seeds_and_none_for_one_seed(only):
    only(claim_of(part(against=None)))
    row = claims.table({0: {"ours": np.array([0.5])}}).iloc[0]
    assert (row["value"], row["verdict"]) == (0.5, INCONCLUSIVE)
    assert math.isnan(row["low"]) and math.isnan(row["high"])
    seeds = {seed: {"ours": np.array([each])} for seed, each in enumerate((0.5, 0.6, 0.7))}
    row = claims.table(seeds).iloc[0]
    expected = stats.t.interval(0.95, df=2, loc=0.6, scale=stats.sem([0.5, 0.6, 0.7]))
    assert (row["low"], row["high"]) == pytest.approx(expected) and row["verdict"] == HOLDS


def test_the_standard_error_is_that_of_the_mean_and_of_the_ratio_of_means(only):
    """Checked against the spread of the statistic over many samples of images."""
    rng = np.random.default_rng(1)
    rows, n = [], 400
    for _ in range(300):
        difficulty = rng.uniform(1, 3, n)  # an image that is hard for one is so for the other
        ours = difficulty + rng.normal(0, 0.3, n)
        rows.append({"ours": ours, "theirs": 2 * difficulty + rng.normal(0, 0.2, n)})
    only(claim_of(part()))
    ratios = claims.seed_values(dict(enumerate(rows)))
    assert ratios["standard_error"].mean() == pytest.approx(ratios["value"].std(), rel=0.1)
    only(claim_of(part(against=None)))
    means = claims.seed_values(dict(enumerate(rows)))
    assert means["standard_error"].mean() == pytest.approx(means["value"].std(), rel=0.1)
    assert means["against"].isna().all() and (means["images"] == n).all()


def test_a_ratio_of_different_images_has_the_errors_of_both(only):
    rng = np.random.default_rng(2)
    only(claim_of(part()))
    seeds = {
        seed: {"ours": rng.normal(4, 1, 300), "theirs": rng.normal(2, 1, 200)}
        for seed in range(300)
    }
    ratios = claims.seed_values(seeds)
    assert ratios["value"].mean() == pytest.approx(2, rel=0.02)
    assert ratios["standard_error"].mean() == pytest.approx(ratios["value"].std(), rel=0.12)


def test_proportional_vectors_have_an_exact_ratio(only):
    only(claim_of(part()))
    theirs = np.random.default_rng(3).uniform(1, 100, 500)
    values = claims.seed_values({0: {"ours": 2 * theirs, "theirs": theirs}}).iloc[0]
    assert values["value"] == pytest.approx(2) and values["standard_error"] < 1e-12
    assert (values["measured"], values["against"]) == pytest.approx(
        (2 * theirs.mean(), theirs.mean())
    )


# --- verdicts ------------------------------------------------------------------------------------

NAN = float("nan")


@pytest.mark.parametrize(
    ("side", "low", "high", "verdict"),
    [("below", 0.5, 0.9, HOLDS), ("below", 0.5, 1.1, INCONCLUSIVE), ("below", 1.1, 1.2, FAILS),
     ("below", 0.5, 1.0, INCONCLUSIVE), ("below", 1.0, 1.2, INCONCLUSIVE),
     ("above", 1.1, 1.2, HOLDS), ("above", 0.9, 1.2, INCONCLUSIVE), ("above", 0.5, 0.9, FAILS),
     ("below", NAN, NAN, INCONCLUSIVE), ("above", NAN, NAN, INCONCLUSIVE),
     ("below", 0.9, 0.9, HOLDS), ("below", 1.0, 1.0, FAILS), ("above", 0.9, 0.9, FAILS),
     ("equal to", 1.0, 1.0, HOLDS), ("equal to", 0.9, 1.1, FAILS), ("equal to", 2.0, 2.0, FAILS)],
)  # fmt: skip
def test_a_part_is_judged_by_its_whole_interval(side, low, high, verdict):
    assert claims.judge(part(side), low, high) == verdict


@pytest.mark.parametrize("side", ["below", "above"])
@pytest.mark.parametrize(
    ("low", "high", "equivalent"),
    [(0.995, 1.005, True), (0.992, 0.998, True), (1.002, 1.008, True), (0.98, 1.005, False),
     (0.995, 1.02, False), (0.95, 0.98, False), (1.02, 1.05, False)],
)  # fmt: skip
def test_an_interval_within_the_margin_is_no_difference(side, low, high, equivalent):
    verdict = claims.judge(part(side, margin=1.01), low, high)
    assert (verdict == EQUIVALENT) == equivalent
    assert claims.judge(part(side), low, high) != EQUIVALENT  # without a margin


OURS = {HOLDS: 1.0, FAILS: 3.0, EQUIVALENT: 2.001}  # where theirs is 2


def measured(verdicts: list[str]) -> tuple[tuple[Part, ...], dict]:
    """Parts, and the vectors of one seed that lead to these verdicts."""
    parts, vectors = [], {"theirs": around(2.0)}
    for place, verdict in enumerate(verdicts):
        parts.append(Part(str(place), str(place), "theirs", "below", 1.0, "a reason", 1.01))
        if verdict == INCONCLUSIVE:
            vectors[str(place)] = np.linspace(0, 4, 50)
        elif verdict != NOT_MEASURED:
            vectors[str(place)] = around(OURS[verdict])
    return tuple(parts), vectors


@pytest.mark.parametrize(
    ("verdicts", "of_all", "of_some"),
    [
        ([HOLDS, HOLDS], HOLDS, HOLDS),
        ([HOLDS, FAILS], IN_PART, HOLDS),
        ([HOLDS, INCONCLUSIVE], IN_PART, HOLDS),
        ([HOLDS, EQUIVALENT], IN_PART, HOLDS),
        ([HOLDS, NOT_MEASURED], INCONCLUSIVE, HOLDS),
        ([FAILS, FAILS], FAILS, FAILS),
        ([FAILS, EQUIVALENT], FAILS, FAILS),
        ([FAILS, NOT_MEASURED], FAILS, INCONCLUSIVE),
        ([HOLDS, FAILS, NOT_MEASURED], IN_PART, HOLDS),
        ([EQUIVALENT, EQUIVALENT], EQUIVALENT, EQUIVALENT),
        ([INCONCLUSIVE, FAILS], INCONCLUSIVE, INCONCLUSIVE),
        ([NOT_MEASURED, NOT_MEASURED], NOT_MEASURED, NOT_MEASURED),
        ([], NOT_TESTABLE, NOT_TESTABLE),
    ],
    ids=str,
)
def test_a_claim_is_judged_by_all_of_its_parts_or_by_some(verdicts, of_all, of_some, only):
    parts, vectors = measured(verdicts)
    for scope, expected in (("all", of_all), ("some", of_some)):
        only(claim_of(*parts, scope=scope))
        table = claims.table({0: vectors})
        assert set(table["verdict"]) == {expected}
        if parts:
            assert table["part_verdict"].tolist() == verdicts


def test_the_verdict_follows_the_seeds(only):
    only(claim_of(part()))
    seeds = {0: {"ours": around(1.0)}, 1: {"ours": around(3.0)}, 2: {"ours": around(1.1)}}
    for chosen, verdict in (([0], HOLDS), ([1], FAILS), ([0, 2], HOLDS), ([0, 1, 2], INCONCLUSIVE)):
        row = claims.table({seed: seeds[seed] | {"theirs": around(2.0)} for seed in chosen}).iloc[0]
        assert (row["verdict"], row["seeds"]) == (verdict, len(chosen))


def test_a_part_near_its_threshold_is_descriptive_and_has_a_sign_test(only):
    only(claim_of(part()))
    for ours, described in ((1.99, "descriptive"), (1.5, "")):
        seeds = {seed: {"ours": around(ours), "theirs": around(2.0)} for seed in range(5)}
        row = claims.table(seeds).iloc[0]
        assert (row["verdict"], row["descriptive"]) == (HOLDS, described)
        assert row["sign_p"] == pytest.approx(1 / 32)


def test_a_number_that_no_sampling_touches_has_to_be_equal_for_every_seed(only):
    only(claim_of(Part("size", "ours", None, "equal to", 256, "the authors' code")))
    for values, verdict in (([256, 256], HOLDS), ([256, 257], FAILS), ([255, 257], FAILS)):
        seeds = {seed: {"ours": np.array([value])} for seed, value in enumerate(values)}
        row = claims.table(seeds).iloc[0]
        assert (row["verdict"], row["low"], row["high"]) == (verdict, min(values), max(values))


def test_a_part_is_followed_over_training_length(only):
    only(claim_of(part()))
    lengths = {
        epochs: {
            seed: {"ours": around(value + 0.1 * seed), "theirs": around(2.0)} for seed in range(2)
        }
        for epochs, value in ((4, 1.15), (1, 1.0), (2, 1.1))
    }
    lengths[1][0]["theirs"] = around(4.0)
    table = claims.over_length(lengths)
    assert table.loc[("ours is better", "ours over theirs"), [1, 2, 4]].tolist() == pytest.approx(
        [(0.25 + 0.55) / 2, 0.575, 0.6]
    )
    assert table["threshold"].tolist() == [1.0] and table["length"].tolist() == [
        "depends on training length"
    ]
    with pytest.raises(InvalidInputError):
        claims.over_length({})


# --- the table -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three_seeds():
    """Made-up measurements of three seeds, with every name that a claim asks for."""
    rng, names = np.random.default_rng(5), {}
    for each in PARTS:
        names |= {name: None for name in (each.measured, each.against) if name}
    single = (
        "probe/", "neighbours/", "asymmetry/", "region sizes/", "rho/", "parameters/",
        "order residual", "test over training/",
    )  # fmt: skip
    return {
        seed: {
            name: torch.from_numpy(rng.uniform(0.5, 2, 1 if name.startswith(single) else 40))
            for name in names
        }
        for seed in range(3)
    }


def test_every_claim_has_its_rows(three_seeds):
    table = claims.table(three_seeds)
    assert list(dict.fromkeys(table["claim"])) == [claim.text for claim in CLAIMS]
    assert len(table) == sum(max(1, len(claim.parts)) for claim in CLAIMS)
    untested = table[table["verdict"] == NOT_TESTABLE]
    assert untested["claim"].tolist() == [claim.text for claim in CLAIMS if not claim.parts]
    assert (untested["note"] != "").all() and untested["part"].isna().all()
    judged = table.dropna(subset="part")
    assert (judged["reason"] != "").all() and (judged["seeds"] == 3).all()
    assert judged["criterion"].tolist() == [part.criterion for part in PARTS]


def test_every_interval_can_be_recomputed_from_the_values_of_the_seeds(three_seeds):
    """claims_seeds.csv is enough to check claims.csv: an independent computation agrees."""
    table = claims.table(three_seeds).dropna(subset="part").set_index(["claim", "part"])
    values = claims.seed_values(three_seeds)
    assert len(values) == 3 * len(table)
    for key, rows in values.groupby(["claim", "part"], sort=False):
        row = table.loc[key]
        ratio = rows["measured"] / rows["against"].fillna(1)
        assert rows["value"].tolist() == pytest.approx(ratio.tolist())
        assert row["value"] == pytest.approx(rows["value"].mean())
        if row["side"] == "equal to":
            continue
        seeds = stats.t.ppf(0.975, 2) * rows["value"].std() / 3**0.5
        half = (seeds**2 + (1.96 * rows["standard_error"].mean()) ** 2) ** 0.5
        assert (row["value"] - row["low"], row["high"] - row["value"]) == pytest.approx(
            (half, half)
        )


def test_the_published_values_are_in_the_table(three_seeds):
    table = claims.table(three_seeds).set_index("part")
    assert table.loc["composed over the single map L1", "published"] == pytest.approx(81.57 / 75.89)
    (rival,) = [part.what for part in PARTS if part.against == f"VAE, output flipped/total/{FLIPS}"]
    assert math.isnan(table.loc[rival, "published"])


def test_what_some_seeds_did_not_measure_is_judged_on_the_others(only):
    only(claim_of(part()))
    seeds = {0: {"ours": around(1.0), "theirs": around(2.0)}, 1: {"ours": around(1.0)}, 2: {}}
    row = claims.table(seeds).iloc[0]
    assert (row["verdict"], row["seeds"]) == (HOLDS, 1)
    row = claims.table({0: {}}).iloc[0]
    assert (row["verdict"], row["seeds"]) == (NOT_MEASURED, 0)


def test_no_seed():
    with pytest.raises(InvalidInputError):
        claims.table({})


# --- what a notebook prints ----------------------------------------------------------------------


@pytest.mark.parametrize("item", ITEMS)
@pytest.mark.parametrize("dataset", ["mnist", "fashion", "/data/" + "letters " * 20, 200 * "x"])
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_a_report_is_at_most_100_columns_wide(item, dataset, scale, three_seeds):
    vectors = {name: scale * each for name, each in three_seeds[0].items()}
    lines = claims.report(item, vectors, 2**32 - 1, dataset).splitlines()
    assert max(map(len, lines)) <= 100
    texts = [claim.text for claim in CLAIMS if item in claim.items]
    assert sum(line.startswith(text[:60]) for line in lines for text in texts) == len(texts)


def test_a_report_has_value_criterion_published_value_and_verdict(only):
    only(Claim("ours is better", "Section I", ("Figure 1",), (
        Part("composed over first", f"LAVAE/composed/{FLIPS}", f"LAVAE/first/{FLIPS}", "below", 1.1,
             "a reason"),
    )))  # fmt: skip
    vectors = {
        f"LAVAE/composed/{FLIPS}": around(3.0),
        f"LAVAE/first/{FLIPS}": around(4.0),
    }
    text = claims.report("Figure 1", vectors, 7, "mnist")
    for expected in ("ours is better", "Section I", "0.7500", "below 1.1", "1.0748", "seed 7"):
        assert expected in text
    assert text.count(HOLDS) == 2  # of the part and of the claim


def test_a_report_says_how_many_parts_were_measured(only):
    parts, vectors = measured([HOLDS, NOT_MEASURED, FAILS])
    only(claim_of(*parts))
    assert "2 of 3" in claims.report("Figure 1", vectors, 0, "mnist")


def test_another_pair_has_no_verdict(three_seeds):
    vectors = {
        name.replace(str(FLIPS), "flip_lr,canny"): each
        for name, each in three_seeds[0].items()
        if name.endswith(str(FLIPS))
    }
    text = claims.report("Figure 3", vectors, 0, "mnist")
    assert "no verdict" in text and HOLDS not in text and FAILS not in text


@pytest.mark.parametrize("dataset", ["fashion", "letters.npz"])
def test_another_data_set_has_no_verdict_and_no_published_value(dataset, three_seeds):
    vectors = {name: around(1.0 if "LAVAE/" in name else 2.0) for name in three_seeds[0]}
    here = claims.report("Table 1", vectors, 0, "mnist")
    assert "seed 0: holds" in here and "0.3001" in here  # 297.10 / 989.84
    elsewhere = claims.report("Table 1", vectors, 0, dataset)
    assert "no verdict" in elsewhere and dataset in elsewhere and "0.5000" in elsewhere
    assert HOLDS not in elsewhere and FAILS not in elsewhere and "0.3001" not in elsewhere


def test_a_claim_without_parts_is_reported_as_not_testable():
    (claim,) = [claim for claim in CLAIMS if "Figure 11" in claim.items]
    text = claims.report("Figure 11", {}, 0, "mnist")
    assert NOT_TESTABLE in text and claim.note in text


def test_an_unknown_item():
    with pytest.raises(InvalidInputError, match="'Figure 99'"):
        claims.report("Figure 99", {}, 0, "mnist")


def test_a_number_keeps_its_distance_from_one(only):
    shown = {1.0004: "1.0004", 0.99996: "0.99996", 1.000004: "1.000004", 98.11: "98.11", 1.0: "1.0000",
             571_809: "571,809", 0.00004: "0.0000400", 0.0: "0.0000", -0.73: "-0.7300", 1234.5: "1,234.50",
             99.999: "99.999"}  # fmt: skip
    assert {value: claims.number(value) for value in shown} == shown
    only(claim_of(part()))
    vectors = {"ours": around(1.0004), "theirs": around(1.0)}
    text = claims.report("Figure 1", vectors, 0, "mnist")
    assert "1.0004" in text and FAILS in text


def test_what_is_reported_is_what_the_table_says(three_seeds):
    table = claims.table({0: three_seeds[0]}).drop_duplicates("claim").set_index("claim")
    for claim in CLAIMS:
        if claim.parts:
            text = claims.report(claim.items[0], three_seeds[0], 0, "mnist")
            assert f"seed 0: {table.loc[claim.text, 'verdict']}" in text
