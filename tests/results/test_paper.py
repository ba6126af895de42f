"""The published numbers, and the tables that put ours beside them."""

import math

import pandas as pd
import pytest

from lavae_companion import paper
from lavae_core.augmentations import AUGMENTATIONS, Family


def test_published_totals_are_sums_but_for_the_row_that_is_not():
    columns = ["original", "first", "second", "composed"]
    gap = (paper.TABLE_1[columns].sum(axis=1) - paper.TABLE_1["total"]).abs()
    # 0.1 is beyond what rounding four columns can add up to
    assert gap[gap > 0.1].index.tolist() == [paper.CVAE_LAVAE]
    assert "596.69" in paper.discrepancies()["what"].iloc[0]


def test_transfers_win_in_two_published_cells():
    (text,) = paper.discrepancies().set_index("where").loc[["Section V-B, Figure 7"], "what"]
    assert "in 2 of its 12 cells" in text


def test_the_two_sources_agree_on_the_flips():
    assert paper.FIGURE_7.iloc[0, 0] == pytest.approx(paper.TABLE_1.loc["LAVAE", "total"], abs=0.01)


def test_the_pairs_are_the_papers():
    names = {name for pair in paper.PAIRS for name in pair.generators}
    assert len(set(paper.PAIRS)) == 7 and names <= set(AUGMENTATIONS)
    assert list(paper.FIGURE_7.index) == [str(pair) for pair in paper.HEATMAP_PAIRS]


@pytest.mark.parametrize(
    ("model", "variant", "pair", "value"),
    [
        ("LAVAE", "composed", "flip_lr,flip_ud", 81.57),
        ("LAVAE", "total", "flip_lr,flip_ud", 297.10),
        ("LAVAE", "total", "shear_x,canny", 516.5421),
        (paper.CVAE, "original", "flip_lr,flip_ud", 98.11),
        ("head on mini_image,edge_detect", "total", "flip_lr,flip_ud", 499.2230),
        ("head on flip_lr,flip_ud", "total", "mini_image,edge_detect", 696.2332),
    ],
)
def test_a_published_value_has_the_name_of_a_measured_vector(model, variant, pair, value):
    assert paper.published(model, variant, Family.parse(pair)) == value


def test_what_was_not_published_is_no_number():
    flips = paper.FLIPS
    assert math.isnan(paper.published("VAE", "total", flips))
    assert math.isnan(paper.published("LAVAE", "first", paper.SHEAR_CANNY))
    assert math.isnan(paper.published("LAVAE", "total", flips, "fashion"))
    assert math.isnan(paper.published("LAVAE", "total", Family.parse("flip_lr,canny")))


def test_our_numbers_stand_beside_the_published_ones():
    ours = pd.DataFrame(1.0, ["LAVAE", "VAE"], [*paper.FLIPS.variants, "total"])
    table = paper.beside_published(ours, paper.FLIPS, "mnist")
    assert table.loc["LAVAE", "paper: total"] == 297.10
    assert math.isnan(table.loc["VAE", "paper: total"])
    assert list(table.columns) == [*ours.columns, *(f"paper: {name}" for name in ours.columns)]
    assert paper.beside_published(ours, paper.FLIPS, "fashion").isna().sum().sum() == 10
