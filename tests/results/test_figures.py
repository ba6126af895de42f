"""Figures are the same bytes each time, labelled and legible; wrong input raises one error."""

import io
import os
import subprocess
import sys
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from made_up import float_images, uint8_images
from matplotlib.colors import to_hex
from seaborn.utils import relative_luminance

from lavae_companion import figures, paper
from lavae_companion.comparisons import CVAE
from lavae_companion.figures import latent, style
from lavae_core.augmentations import PAIR_VARIANTS
from lavae_core.errors import InvalidInputError
from lavae_core.models import LAVAE

EIGHT = ["original", "A1", "A1^2", "A1^3", "A2", "A1 A2", "A1^2 A2", "A1^3 A2"]
LABELS = {"first": "f", "second": "s"}
ROWS = {"x": uint8_images(3), "y": uint8_images(3)}
PAIR = dict(zip(PAIR_VARIANTS, uint8_images(4), strict=True))
FAMILY = dict(zip(EIGHT, uint8_images(8), strict=True))
STYLE = (
    "savefig.bbox: tight\ntext.usetex: True\nfont.size: 20\naxes.grid: True\nlines.linewidth: 5\n"
)
DRAW = """import sys; from lavae_companion import figures; from test_figures import ROWS
figures.digit_rows(ROWS, "t").savefig(sys.argv[1], metadata={"Software": None})"""


@pytest.fixture(autouse=True)
def close_figures():
    with plt.rc_context({"figure.max_open_warning": 0}):  # every kind of figure is open at once
        yield
    plt.close("all")


def _walk() -> figures.Walk:
    z = torch.linspace(-1, 1, 48).view(3, 16)
    return figures.Walk(["", "L1", "L1 L1^-1"], "xyx", uint8_images(3), z, float_images(3)[:, 0])


def _figures() -> dict[str, plt.Figure]:
    rng = np.random.default_rng(0)
    points, variants = rng.normal(size=(40, 2)), list(PAIR_VARIANTS) * 10
    table = pd.DataFrame([[1.0, 2.0], [3.0, 4.0]], ["a,b", "c,d"], ["a,b", "c,d"])
    long = pd.DataFrame({"x": [1, 10, 5], "y": [3.0, 2.0, 1.0], "who": ["a,b", "a,b", "c,d"]})
    trainings = long.assign(pair=long["who"], training=["one", "other", "one"])
    curves = {word: rng.random((6, 30)) for word in ("L1", "L2")}
    falls = pd.Series([3.0, 4.0, 1.0], ["samples", "means", "direct"])
    spectra = long.assign(pair=long["who"], fit=["one", "other", "one"])
    lengths = long.assign(panel="p", maps=["one", "one", "other"], length=[1, 8, 1], cost=long["y"])
    return {
        "rows": figures.digit_rows(ROWS, "title", ["1", "2", "3"]),
        "graph": figures.augmentation_graph(PAIR, LABELS),
        "heatmap": figures.heatmap({"1": table, "2": table}, "t", "BCE", "trained", "evaluated"),
        "projections": figures.projections({"PCA": points, "ICA": points}, variants, "t"),
        "paths": figures.recursion_paths(points, {"a 2": points[:5]}, variants, "t"),
        "bands": figures.bands(_banded(), "n", "arm", "by", "t", "labels", "accuracy"),
        "bars": figures.bars(table, "t", "BCE"),
        "curves": figures.curves(long, "x", "y", "who", "t", "minutes", "BCE"),
        "scatter": figures.scatter_by_pair(long, "x", "y", "who", "t", "accuracy", "excess"),
        "frontier": figures.frontier(trainings, "x", "y", "t", "direct", "cost"),
        "waterfall": figures.waterfall({"a": falls, "b": falls, "c": falls}, "t", "BCE"),
        "spectra": figures.spectra(spectra, "x", "y", "t", "kept"),
        "lengths": figures.by_length(lengths.assign(predicted=np.nan), "t", "BCE"),
        "groups": figures.cayley_graphs({"p": (["", "L1", "L2", "L1 L2"], uint8_images(4), _edges())}, "t", "BCE"),
        "integers": figures.on_integers({"p": table.rename({"c,d": "whole numbers"})}, "t"),
        "quartiles": figures.quartile_curves(curves, "t", "step", "change"),
        "dots": figures.dots(table, "t", "BCE"),
        "layers": figures.architecture({"E": figures.layers(LAVAE().encoder)}, "t"),
        "intervals": figures.intervals(_claims(), "t"),
        "matrices": figures.matrices({"L1": torch.eye(4), "L2": -torch.eye(4)}, "t"),
        "stations": figures.stations(_walk(), "t"),
        "levels": figures.with_levels(table.set_axis([0, 2]), {"one-hot": 370.0}, "t", "k", "BCE"),
        "angles": figures.by_angle(pd.DataFrame({"a": [1.0, 2], "b": [1.0, np.nan]}, [0, 90]), "t", "cost"),
        "frequencies": figures.frequencies(
            {"free": torch.tensor([1j, -1j, 0])}, pd.DataFrame({"VAE": [1.0, 1]}), "t"),
    }  # fmt: skip


def _banded(n_arms: int = 2) -> pd.DataFrame:
    """A line of two points for each arm in both panels; that of arm i rises from i."""
    rows = [(by, f"arm {i}", n, i + n, i + n - 1, i + n + 1)
            for by in ("linear", "nearest") for i in range(n_arms) for n in (1, 10)]  # fmt: skip
    return pd.DataFrame(rows, columns=["by", "arm", "n", "value", "low", "high"])


def _edges() -> pd.DataFrame:
    """Of the group of two flips: each letter leads to the element with it or without it."""
    rows = [(start, name, start ^ step, 70.0 + start)
            for start in range(4) for name, step in (("L1", 1), ("L2", 2))]  # fmt: skip
    return pd.DataFrame(rows, columns=["start", "generator", "end", "cost"])


def _claims() -> pd.DataFrame:
    """A half twice, on the right and the wrong side; a share of 0; no interval; no factor."""
    none = np.nan
    return pd.DataFrame(
        [("A", "half", 0.5, 0.4, 0.6, "below", 1.0, "holds", none),
         ("B", "also half", 0.5, 0.4, 0.6, "above", 1.0, "does not hold", 2.0),
         ("B", "none at all", 0.0, -0.1, 0.1, "below", 0.5, "holds", none),
         ("C", "equal", 1.0, 0.999, 1.001, "below", 1.0, "equivalent", none),
         ("D", "not measured", none, none, none, "below", 1.0, "not measured", none),
         ("E", "without an interval", 0.5, none, none, "below", 1.0, "inconclusive", none),
         ("F", "correlation", -0.5, -0.6, -0.4, "below", 0.0, "holds", none)],
        columns=["claim", "part", "value", "low", "high", "side", "threshold", "part_verdict",
                 "published"],
    )  # fmt: skip


def _bytes(figure: plt.Figure) -> tuple[bytes, bytes]:
    png, pdf = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
    return png.getvalue(), pdf.getvalue()


def test_the_same_figure_twice_has_the_same_bytes():
    first = {name: _bytes(figure) for name, figure in _figures().items()}
    plt.close("all")
    second = {name: _bytes(figure) for name, figure in _figures().items()}
    assert [name for name in first if first[name] != second[name]] == []


def test_a_users_matplotlibrc_changes_no_figure(tmp_path):
    rc, picture = tmp_path / "matplotlibrc", tmp_path / "a.png"
    rc.write_text(STYLE)
    environment = os.environ | {"MATPLOTLIBRC": str(rc), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", DRAW, picture], env=environment, check=True)
    assert picture.read_bytes() == _bytes(figures.digit_rows(ROWS, "t"))[0]


def test_every_axis_of_a_chart_has_a_name():
    names = {name: [(a.get_xlabel(), a.get_ylabel()) for a in figure.axes]
             for name, figure in _figures().items()}  # fmt: skip
    for name in ("projections", "paths", "curves", "scatter", "frontier"):
        assert all(x and y for x, y in names[name]), name
    assert names["quartiles"] == [("step", "change"), ("step", "")]
    assert names["bands"] == [("labels", "accuracy"), ("labels", "")]
    assert [x for x, _ in names["waterfall"]] == ["BCE"] * 3 + [""]
    assert names["spectra"] == [("kept", "y"), ("kept", "")]
    assert names["lengths"] == [("letters", "BCE")]
    assert names["levels"] == [("k", "BCE")]
    assert names["angles"] == [("angle in degrees", "cost")]
    assert all(x and y for x, y in names["frequencies"])
    assert names["heatmap"][0] == ("evaluated", "trained")
    assert names["dots"][0][0] == names["bars"][0][1] == "BCE"
    assert names["intervals"][0][0]


def test_the_stations_of_a_walk_are_labelled_in_both_spaces():
    figure = figures.stations(_walk(), "t")
    titles = [[axis.get_title() for axis in row] for row in np.reshape(figure.axes, (3, 3))]
    assert titles[:2] == [["x", "y", "x"], ["z", "z L1", "z L1 L1$^{-1}$"]]
    arrows = [text.get_text() for text in figure.texts]
    assert {"L1", "L1$^{-1}$", "A1", "undo A1", "encode", "decode"} <= {*arrows}


def test_a_path_stops_at_its_stations_and_goes_straight_between_them():
    path = figures.latent_path(torch.tensor([[0.0], [1.0], [0.0]])).flatten()
    hold, move = latent.HOLD, latent.MOVE
    assert len(path) == 3 * hold + 2 * move
    assert (path[:hold] == 0).all() and (path[hold + move : 2 * hold + move] == 1).all()
    steps = path[hold - 1 : hold + move + 1].diff()
    assert torch.allclose(steps, torch.full_like(steps, 1 / (move + 1)))


def test_an_animation_shows_each_station_while_it_is_there(tmp_path):
    walk = _walk()
    path = figures.latent_path(walk.z)
    plane, cloud = np.zeros((len(path), 2)), np.ones((2, 2))
    frames = float_images(len(path))[:, 0]
    made = figures.animation(walk, frames, plane, cloud, ["original", "first"])
    made.save(tmp_path / "a.gif", writer="pillow", dpi=30)
    last = made._fig  # as the last frame leaves it
    assert last.texts[0].get_text() == "z L1 L1$^{-1}$"
    assert np.allclose(last.axes[0].images[0].get_array(), frames[-1])
    assert np.allclose(last.axes[1].images[0].get_array(), walk.truth[-1] / 255)


def test_a_turning_digit_and_its_eigenvalues_turn_together(tmp_path):
    frames = uint8_images(4)
    made = figures.turning({"truth": frames}, torch.tensor([[0.0, 1], [-1, 0]]), "t")
    made.save(tmp_path / "a.gif", writer="pillow", dpi=30)
    digit, circle = made._fig.axes
    assert np.allclose(digit.images[0].get_array(), frames[3] / 255)
    placed = np.asarray(circle.collections[0].get_offsets())
    assert np.allclose(placed, [[0, 1], [0, -1]]) or np.allclose(placed, [[0, -1], [0, 1]])


@pytest.mark.parametrize("count", [2, 4, 7])
def test_slanted_labels_of_a_heatmap_do_not_overlap(count):
    pairs = paper.PAIRS[:count]
    table = pd.DataFrame(np.eye(count), pairs, pairs)
    figure = figures.heatmap(dict.fromkeys("abc", table), "t", "BCE", "trained", "evaluated")
    figure.draw_without_rendering()
    for axis in figure.axes[:3]:
        left, right = axis.transData.transform([(0, 0), (1, 0)])[:, 0]
        labels = axis.get_xticklabels()
        room = (right - left) * np.sin(np.radians(labels[0].get_rotation()))  # between two lines
        for label in labels:
            label.set_rotation(0)
            assert label.get_window_extent().height < room


def test_numbers_of_a_heatmap_contrast_with_their_cells():
    table = pd.DataFrame(np.linspace(0, 1, 16).reshape(4, 4))
    axis = figures.heatmap({"a": table}, "t", "BCE", "trained", "evaluated").axes[0]
    for text, cell in zip(axis.texts, axis.collections[0].get_facecolors(), strict=True):
        light, dark = sorted(map(relative_luminance, (text.get_color(), cell)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, level AA


def test_styles_of_variants_are_distinct_and_those_of_a_pair_are_fixed():
    pair = style.variant_styles(PAIR_VARIANTS)
    assert pair == dict(zip(PAIR_VARIANTS, zip(style.COLOURS, "o^sD", strict=False), strict=True))
    assert style.variant_styles(["composed", "A1", "first"])["first"] == pair["first"]
    for names in (EIGHT, [*PAIR_VARIANTS, *EIGHT[1:], "A3"]):
        styles = style.variant_styles(names).values()
        assert all(a[0] != b[0] and a[1] != b[1] for a, b in combinations(styles, 2))
    assert len(set(style.variant_styles(map(str, range(40))).values())) == 40
    assert not {*style.COLOURS} & {*style.OTHER_COLOURS}
    assert len({*style.OTHER_COLOURS}) == len(paper.PAIRS)


@pytest.mark.parametrize("names", [PAIR_VARIANTS, EIGHT])
def test_every_variant_of_a_family_is_drawn_and_none_covers_the_others(names):
    points = np.random.default_rng(0).random((800, 2))
    variants = np.repeat(names, 800 // len(names))
    figure = figures.projections({"PCA": points}, variants, "t")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(names)
    collections = figure.axes[0].collections
    drawn = [tuple(part.get_facecolor()[0]) for part in collections]
    last = {colour: place for place, colour in enumerate(drawn)}
    assert max(drawn.index(colour) for colour in last) < min(last.values())
    assert len(last) == len(names)
    assert sum(len(part.get_offsets()) for part in collections) == len(points)
    paths = figures.recursion_paths(points, {"a": points[:5]}, variants, "t").axes[0]
    colours = [to_hex(part.get_facecolor()[0]).upper() for part in paths.collections]
    assert colours == [colour for colour, _ in style.variant_styles(names).values()]


def test_more_models_than_colours_are_all_drawn():
    table = pd.DataFrame(np.ones((9, 2)), [f"model {i}" for i in range(9)])
    assert len(figures.bars(table, "t", "BCE").axes[0].containers) == 9
    assert len(figures.dots(table.T, "t", "BCE").axes[0].collections) == 9
    assert len(figures.architecture(dict.fromkeys("abcdefghijklmn", [("a", "b")]), "t").axes) == 14


def test_layers_names_every_layer_with_its_parameters():
    boxes = figures.layers(CVAE())
    names = [line.partition(":")[0] for label, _ in boxes for line in label.splitlines()]
    assert names == [
        "encoder.conv1", "encoder.conv2", "encoder.to_mu", "encoder.to_logvar",
        "decoder.from_z", "decoder.deconv1", "decoder.deconv2",
    ]  # fmt: skip
    assert boxes[2][1] == "6276 to 16\n100,432 parameters each"
    assert figures.layers(LAVAE().maps) == [("LatentMaps", "2 x 16 x 16\n512 parameters")]


def test_intervals_are_right_of_one_where_they_support_the_claim():
    axis = figures.intervals(_claims(), "t").axes[0]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels == ["equal", "none at all", "also half", "half"]
    points = [line.get_xydata()[0] for line in axis.lines if line.get_marker() == "o"]
    assert sorted((y, x) for x, y in points) == [(0, 1.0), (1, np.inf), (2, 0.5), (3, 2.0)]
    assert min(min(line.get_xdata()) for line in axis.lines) > 0
    assert [(band.get_y(), band.get_height()) for band in axis.patches] == [(-0.5, 1), (2.5, 1)]


def test_bands_are_drawn_from_low_to_high_and_no_two_lines_look_alike():
    figure = figures.bands(_banded(9), "n", "arm", "by", "t", "labels", "accuracy")
    for axis in figure.axes:
        looks = {(line.get_color(), line.get_linestyle()) for line in axis.lines}
        assert len(looks) == len(axis.lines) == 9
        np.testing.assert_array_equal(axis.lines[2].get_xydata(), [[1, 3], [10, 12]])
        (ends,) = axis.collections[2].get_paths()
        assert {(1.0, 2.0), (1.0, 4.0), (10.0, 11.0), (10.0, 13.0)} <= set(
            map(tuple, ends.vertices)
        )
    assert [text.get_text() for text in figure.legends[0].get_texts()][8] == "arm 8"


def test_a_waterfall_leads_from_cost_to_cost():
    costs = pd.Series([3.0, 4.0, 1.0], ["samples", "means", "direct"])
    axis = figures.waterfall({"a": costs}, "t", "BCE").axes[0]
    ends = [sorted((bar.get_x(), bar.get_x() + bar.get_width())) for bar in axis.patches]
    assert ends == [[3, 3], [3, 4], [1, 4]]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(costs.index)
    one, worse, better = (to_hex(bar.get_facecolor()) for bar in axis.patches)
    assert worse != better and [text.get_text() for text in axis.texts] == ["3.0", "4.0", "1.0"]


@pytest.mark.parametrize(("draw", "culprit"), [
    (lambda: figures.digit_rows({}, "t"), "rows of digits"),
    (lambda: figures.digit_rows({"a": uint8_images(3), "b": float_images(2)[:, 0]}, "t"), "3, 2"),
    (lambda: figures.digit_rows({"a": uint8_images(0)}, "t"), "0"),
    (lambda: figures.heatmap({}, "t", "u", "y", "x"), "matrices"),
    (lambda: figures.projections({}, [], "t"), "projections"),
    (lambda: figures.waterfall({}, "t", "x"), "costs"),
    (lambda: figures.quartile_curves({}, "t", "x", "y"), "curves"),
    (lambda: figures.bands(_banded(0), "n", "arm", "by", "t", "x", "y"), "lines"),
    (lambda: figures.augmentation_graph(FAMILY, LABELS), "A1.3 A2"),
    (lambda: figures.augmentation_graph(PAIR, {"third": "a"}), "third"),
])  # fmt: skip
def test_wrong_input_is_named(draw, culprit):
    with pytest.raises(InvalidInputError, match=culprit):
        draw()
