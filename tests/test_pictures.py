"""Pictures are byte-stable and labelled; projections and separability do what they say."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from seaborn.utils import relative_luminance

from lavae_core import paper, plotting, projections, separability
from lavae_core.augmentations import VARIANTS
from lavae_core.errors import InvalidInputError
from lavae_core.models import CVAE, LAVAE
from lavae_core.tasks import to_float


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def _images(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8)


def _pictures() -> dict[str, plt.Figure]:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    points, variants = rng.normal(size=(40, 2)), list(VARIANTS) * 10
    table = pd.DataFrame([[1.0, 2.0], [3.0, 4.0]], ["a,b", "c,d"], ["a,b", "c,d"])
    images = dict(zip(VARIANTS, _images(4), strict=True))
    return {
        "rows": plotting.digit_rows({"x": _images(3), "y": _images(3)}, "title", ["1", "2", "3"]),
        "graph": plotting.augmentation_graph(images, {"first": "f", "second": "s"}),
        "heatmap": plotting.heatmap(
            {"one": table, "two": table}, "t", "BCE", "trained", "evaluated"
        ),
        "projections": plotting.projections({"PCA": points, "ICA": points}, variants, "t"),
        "paths": plotting.recursion_paths(points, {"a 2": points[:5]}, variants, "t"),
        "bars": plotting.bars(table, "t", "BCE"),
        "curves": plotting.curves(
            pd.DataFrame({"minutes": [1, 10], "total": [3.0, 2.0], "who": "a"}),
            "minutes",
            "total",
            "who",
            "t",
            "minutes",
            "BCE",
        ),
        "scatter": plotting.scatter_by_pair(
            pd.DataFrame({"probe": [0.5, 0.9], "excess": [2.0, 1.0], "trained": ["a,b", "c,d"]}),
            "probe",
            "excess",
            "trained",
            "t",
            "accuracy",
            "excess",
        ),
        "quartiles": plotting.quartile_curves(
            {word: rng.random((6, 30)) for word in ("L1", "L2")}, "t", "step", "change"
        ),
        "dots": plotting.dots(table, "t", "BCE"),
        "layers": plotting.architecture({"E": plotting.layers(LAVAE().encoder)}, "t"),
    }


def _bytes(figure: plt.Figure) -> tuple[bytes, bytes]:
    png, pdf = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=50, metadata={"Software": None})
    figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
    return png.getvalue(), pdf.getvalue()


def test_the_same_picture_twice_has_the_same_bytes():
    first = {name: _bytes(figure) for name, figure in _pictures().items()}
    plt.close("all")
    second = {name: _bytes(figure) for name, figure in _pictures().items()}
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_every_axis_of_a_chart_has_a_name():
    pictures = _pictures()
    for name in ("projections", "paths", "curves", "scatter"):
        for axis in pictures[name].axes:
            assert axis.get_xlabel() and axis.get_ylabel(), name
    assert all(axis.get_xlabel() == "step" for axis in pictures["quartiles"].axes)
    assert pictures["quartiles"].axes[0].get_ylabel() == "change"
    assert pictures["dots"].axes[0].get_xlabel() == "BCE"
    assert pictures["bars"].axes[0].get_ylabel() == "BCE"
    assert pictures["heatmap"].axes[0].get_xlabel() == "evaluated"
    assert pictures["heatmap"].axes[0].get_ylabel() == "trained"


@pytest.mark.parametrize("count", [2, 4, 7])
def test_slanted_labels_of_a_heatmap_do_not_overlap(count):
    pairs = paper.PAIRS[:count]
    table = pd.DataFrame(np.eye(count), pairs, pairs)
    figure = plotting.heatmap(dict.fromkeys("abc", table), "t", "BCE", "trained", "evaluated")
    figure.draw_without_rendering()
    for axis in figure.axes[:3]:
        left, right = axis.transData.transform([(0, 0), (1, 0)])[:, 0]
        labels = axis.get_xticklabels()
        room = (right - left) * np.sin(np.radians(labels[0].get_rotation()))  # between two lines
        for label in labels:
            label.set_rotation(0)
            assert label.get_window_extent().height < room


def test_variants_have_one_colour_each_and_models_have_others():
    assert list(plotting.VARIANT_COLOURS) == list(VARIANTS)
    assert len({*plotting.VARIANT_COLOURS.values(), *plotting.OTHER_COLOURS}) == 4 + len(
        paper.PAIRS
    )


def test_numbers_of_a_heatmap_contrast_with_their_cells():
    table = pd.DataFrame(np.linspace(0, 1, 16).reshape(4, 4))
    axis = plotting.heatmap({"a": table}, "t", "BCE", "trained", "evaluated").axes[0]
    for text, cell in zip(axis.texts, axis.collections[0].get_facecolors(), strict=True):
        light, dark = sorted(map(relative_luminance, (text.get_color(), cell)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, level AA


def test_no_variant_covers_all_others_in_a_projection():
    points = np.random.default_rng(0).random((400, 2))
    variants = np.repeat(list(VARIANTS), 100)
    axis = plotting.projections({"PCA": points}, variants, "t").axes[0]
    drawn = [tuple(part.get_facecolor()[0]) for part in axis.collections]
    last = {colour: place for place, colour in enumerate(drawn)}
    first = {colour: drawn.index(colour) for colour in last}
    assert max(first.values()) < min(last.values())
    assert sum(len(part.get_offsets()) for part in axis.collections) == len(points)


def test_layers_names_every_layer_with_its_parameters():
    boxes = plotting.layers(CVAE())
    named = [line for label, _ in boxes for line in label.splitlines()]
    assert [line.partition(":")[0] for line in named] == [
        "encoder.conv1", "encoder.conv2", "encoder.to_mu", "encoder.to_logvar",
        "decoder.from_z", "decoder.deconv1", "decoder.deconv2",
    ]  # fmt: skip
    assert boxes[2][1] == "6276 to 16\n100,432 parameters each"
    assert plotting.layers(LAVAE().maps) == [("LatentMaps", "2 x 16 x 16\n512 parameters")]


@pytest.mark.parametrize("method", projections.METHODS)
def test_projections_are_planar_and_reproducible(method):
    latents = np.random.default_rng(1).laplace(size=(60, 16)).astype(np.float32)
    first, second = (projections.project(latents, method, seed=3) for _ in range(2))
    assert first.shape == (60, 2)
    assert np.array_equal(first, second)
    assert np.ptp(first, axis=0).min() > 0


def test_an_unknown_projection_is_named_with_the_known_ones():
    with pytest.raises(InvalidInputError, match="UMAP.*PCA, ICA, t-SNE"):
        projections.project(np.zeros((4, 16)), "UMAP", 0)


def test_the_box_holds_its_share_and_samples_lie_in_it():
    latents = torch.randn(20_000, 16, generator=torch.Generator().manual_seed(0))
    low, high = projections.bounding_box(latents, 0.9)
    inside = ((latents >= low) & (latents <= high)).float().mean(0)
    assert torch.allclose(inside, torch.full((16,), 0.9), atol=0.005)
    samples = projections.sample_box(low, high, 500, torch.Generator().manual_seed(0))
    assert bool(((samples >= low) & (samples <= high)).all())
    assert samples.std(0).min() > 0.3


def test_interpolation_is_regular_and_reaches_both_ends():
    start, end = torch.zeros(16), torch.ones(16)
    line = projections.interpolate(torch.stack([start, end]), 5)
    assert torch.equal(line[:, 0], torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))


def test_separability_is_perfect_for_clusters_and_chance_for_noise():
    rng = np.random.default_rng(0)
    variants = [variant for variant in VARIANTS for _ in range(200)]
    centres = np.repeat(20 * np.eye(4, 16), 200, axis=0)
    noise = rng.normal(size=(800, 16))
    apart = separability.accuracies(centres + noise, variants, seed=0)
    mixed = separability.accuracies(noise, variants, seed=0)
    assert min(apart.values()) == 1.0
    assert max(mixed.values()) < 0.35


def test_neighbours_take_originals_for_originals_and_no_other_variant():
    torch.manual_seed(0)
    shades = torch.tensor([0, 80, 160, 240], dtype=torch.uint8)  # one for each variant
    images = shades[:, None, None, None].repeat(1, 40, 28, 28)
    images += torch.randint(0, 16, images.shape, dtype=torch.uint8)
    model = LAVAE()
    with torch.no_grad():
        first_half = [model.encode(to_float(variant[:20]))[0] for variant in images]
    originals, *others = separability.taken_for_originals(model, images, *first_half)
    assert originals.shape == (20,) and originals.all()
    assert not any(taken.any() for taken in others)


def test_intervals_stand_right_of_one_where_the_paper_claims(tmp_path):
    table = pd.DataFrame(
        [("A", "a half, below 1", 0.5, 0.4, 0.6, "below 1", "holds", np.nan),
         ("B", "a half, above 1", 0.5, 0.4, 0.6, "above 1", "does not hold", 2.0),
         ("B", "none at all, below 0.5", 0.0, 0.0, 0.0, "below 0.5", "holds", np.nan),
         ("C", "not measured", np.nan, np.nan, np.nan, "below 1", "not measured", np.nan)],
        columns=["claim", "part", "value", "low", "high", "rule", "part verdict", "published"],
    )  # fmt: skip
    figure = plotting.intervals(table, "t")
    figure.savefig(tmp_path / "a.png")
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == table["part"][2::-1].tolist()
    points = {
        line.get_ydata()[0]: line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o"
    }
    assert points == {2: 2.0, 1: 0.5, 0: np.inf}
    (band,) = axis.patches  # both parts of B
    assert (band.get_y(), band.get_height()) == (-0.5, 2.0)
