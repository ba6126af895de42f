"""The augmentations and their draws, on made-up images."""

import hashlib

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from lavae_core import augmentations
from lavae_core.augmentations import AUGMENTATIONS, VARIANTS, Pair, apply, variants
from lavae_core.errors import InvalidInputError
from lavae_core.paper import PAIRS

NAMES = sorted(AUGMENTATIONS)
RANDOM = [name for name in NAMES if AUGMENTATIONS[name].draws]
ORDERED = [name for name in NAMES if AUGMENTATIONS[name].order]

some_images = st.builds(
    lambda seed, count: noise(count, seed), st.integers(0, 2**31), st.integers(0, 9)
)


def noise(count: int, seed: int = 0) -> torch.Tensor:
    """Images of noise: no symmetry, and every augmentation changes them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=generator)


def blank(value: int, count: int = 1) -> torch.Tensor:
    return torch.full((count, 28, 28), value, dtype=torch.uint8)


def test_registry_holds_the_papers_augmentations_with_their_orders():
    orders = {name: AUGMENTATIONS[name].order for name in NAMES if AUGMENTATIONS[name].order}
    assert orders == {"flip_lr": 2, "flip_ud": 2, "rotate_cw": 4, "rotate_ccw": 4}
    others = {"shear_x", "canny", "edge_detect", "mini_image", "gaussian_blur"}
    assert set(NAMES) - set(orders) == others | {"salt_and_pepper", "salt_and_pepper_corner"}


@pytest.mark.parametrize("name", NAMES)
@given(images=some_images)
@settings(max_examples=10, deadline=None)
def test_shape_and_type_stay_and_the_input_is_left_alone(name, images):
    before = images.clone()
    result = apply(name, images)
    assert result.shape == images.shape and result.dtype == torch.uint8
    assert torch.equal(images, before)
    result.fill_(7)
    assert torch.equal(images, before), "the result shares memory with the input"


@pytest.mark.parametrize("name", ORDERED)
@given(images=some_images.filter(len))
@settings(max_examples=10, deadline=None)
def test_order_is_the_smallest_power_that_is_the_identity(name, images):
    turned = images
    for power in range(1, AUGMENTATIONS[name].order + 1):
        turned = apply(name, turned)
        assert torch.equal(turned, images) == (power == AUGMENTATIONS[name].order)


@given(images=some_images)
@settings(max_examples=10, deadline=None)
def test_quarter_turns_undo_each_other(images):
    assert torch.equal(apply("rotate_ccw", apply("rotate_cw", images)), images)


def test_geometry_moves_the_top_left_pixel_where_its_name_says():
    dot = blank(0)
    dot[0, 0, 1] = 255
    places = {"flip_lr": (0, 26), "flip_ud": (27, 1), "rotate_cw": (1, 27), "rotate_ccw": (26, 0)}
    for name, place in places.items():
        assert apply(name, dot)[0].nonzero().tolist() == [list(place)], name


def test_shear_agrees_with_torchvisions_affine_at_the_drawn_angle():
    images = tv.gaussian_blur(noise(4), [5, 5])  # smooth: the two interpolate with other roundings
    uniform = np.array([[0.0], [0.3], [0.6], [0.999]], dtype=np.float32)
    sheared = AUGMENTATIONS["shear_x"].function(images, uniform)
    for index, draw in enumerate(uniform[:, 0]):
        reference = tv.affine(
            images[index : index + 1],
            angle=0,
            translate=[0, 0],
            scale=1,
            shear=[-50 + 5 * float(draw), 0],
            interpolation=InterpolationMode.BILINEAR,
        )
        difference = sheared[index].int() - reference[0].int()
        assert difference.abs().float().mean() < 2


def test_canny_draws_black_edges_on_white():
    square = blank(0)
    square[:, 8:20, 8:20] = 255
    edges = apply("canny", square)
    assert set(edges.unique().tolist()) == {0, 255}
    assert edges[0, 0, 0] == 255 and edges[0, 14, 14] == 255 and (edges[0, 14] == 0).any()


def test_canny_thresholds_span_the_documented_ranges():
    ramp = blank(0)
    ramp[:, :, 14:] = 46  # a Sobel gradient of 184: an edge for the lowest upper threshold only
    function = AUGMENTATIONS["canny"].function
    draws = np.array([[0, 0], [0, 0.999]], dtype=np.float32)
    weak, strict = function(ramp.repeat(2, 1, 1), draws)
    assert (weak == 0).any() and (strict == 255).all()


def test_canny_is_opencvs_between_the_drawn_thresholds():
    image = tv.gaussian_blur(noise(1), [5, 5])
    found = AUGMENTATIONS["canny"].function(image, np.array([[0.25, 0.5]], dtype=np.float32))
    expected = 255 - torch.from_numpy(cv2.Canny(image[0].numpy(), 80, 200))
    assert torch.equal(found[0], expected)
    for lower, upper in ((100, 200), (80, 220)):  # the image tells the thresholds apart
        other = 255 - torch.from_numpy(cv2.Canny(image[0].numpy(), lower, upper))
        assert not torch.equal(found[0], other)


def test_edge_detect_goes_from_the_image_to_its_laplacian_and_saturates():
    images = noise(2)
    draws = np.array([[0.0], [1.0]], dtype=np.float32)
    unchanged, edges = AUGMENTATIONS["edge_detect"].function(images, draws)
    assert torch.equal(unchanged, images[0])
    inner = images[1].int()
    around = inner[:-2, 1:-1] + inner[2:, 1:-1] + inner[1:-1, :-2] + inner[1:-1, 2:]
    reference = (around - 4 * inner[1:-1, 1:-1]).clamp(0, 255)
    assert torch.equal(edges[1:-1, 1:-1].int(), reference)


def test_mini_image_covers_the_corner_only():
    images = noise(3)
    images[:, :, :14] = 0
    result = apply("mini_image", images)
    assert torch.equal(result[:, 8:], images[:, 8:])
    assert torch.equal(result[:, :, 8:], images[:, :, 8:])
    assert (result[:, :8, :3] == 0).all() and (result[:, :8, 5:8] > 0).all()


def test_blur_grows_with_its_draw_and_keeps_the_brightness():
    dot = blank(0, 2)
    dot[:, 14, 14] = 255
    sharp, soft = AUGMENTATIONS["gaussian_blur"].function(
        dot, np.array([[0.0], [0.999]], dtype=np.float32)
    )
    assert torch.equal(sharp, dot[0])
    assert 0 < soft.max() < 30 and (soft > 0).sum() == 49
    assert abs(int(soft.sum()) - 255) < 25


@given(value=st.integers(0, 255), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_noise_replaces_pixels_and_never_wraps_round(value, seed):
    images = blank(value, 4)
    noisy = apply("salt_and_pepper", images, seed=seed)
    assert set(noisy.unique().tolist()) <= {0, value, 255}
    uniform = torch.from_numpy(
        augmentations._draws("salt_and_pepper", 784, np.arange(4), "test", seed)
    )
    uniform = uniform.reshape(4, 28, 28)
    reference = torch.where(uniform >= 0.95, 255, torch.where(uniform < 0.05, 0, value))
    assert torch.equal(noisy, reference.to(torch.uint8))


def test_noise_hits_a_tenth_of_the_pixels_and_in_the_corner_variant_no_other():
    grey = blank(100, 200)
    assert 0.09 < (apply("salt_and_pepper", grey) != 100).float().mean() < 0.11
    corner = apply("salt_and_pepper_corner", grey) != 100
    assert 0.09 < corner[:, :14, :14].float().mean() < 0.11
    assert not corner[:, 14:].any() and not corner[:, :, 14:].any()


@pytest.mark.parametrize("name", RANDOM)
@given(indices=st.lists(st.integers(0, 19), max_size=8))
@settings(max_examples=10, deadline=None)
def test_a_subset_sees_the_draws_of_the_whole(name, indices):
    images = noise(20)
    whole = apply(name, images, split="train", seed=3)
    subset = apply(name, images[indices], split="train", seed=3, indices=indices)
    assert torch.equal(subset, whole[indices])


@pytest.mark.parametrize("name", RANDOM)
def test_draws_differ_between_images_splits_and_seeds(name):
    same = (noise(1) // 3).repeat(8, 1, 1)  # dim: Canny's thresholds have to matter
    base = apply(name, same, split="test", seed=0)
    assert not torch.equal(base[0], base[1])
    assert not torch.equal(base, apply(name, same, split="train", seed=0))
    assert not torch.equal(base, apply(name, same, split="test", seed=1))


def test_draws_are_the_same_in_every_process_and_release():
    numbers = augmentations._draws("canny", 2, np.arange(100), "train", 5)
    assert hashlib.sha256(numbers.tobytes()).hexdigest().startswith("d16d972fa172aa2f")
    assert numbers.dtype == np.float32 and numbers.min() >= 0 and numbers.max() < 1


@pytest.mark.parametrize("name", PAIRS)
def test_variants_are_the_corners_of_the_augmentation_graph(name):
    pair = Pair.parse(name)
    images, draw = noise(6), {"split": "train", "seed": 2, "indices": [5, 3, 8, 0, 1, 9]}
    result = dict(zip(VARIANTS, variants(images, pair, **draw), strict=True))
    assert torch.equal(result["original"], images)
    assert torch.equal(result["first"], apply(pair.first, images, **draw))
    assert torch.equal(result["second"], apply(pair.second, images, **draw))
    assert torch.equal(result["composed"], apply(pair.second, result["first"], **draw))


def test_pair_reads_what_it_prints_and_knows_its_orders():
    pair = Pair.parse("rotate_cw, flip_lr")
    assert pair == Pair("rotate_cw", "flip_lr") == Pair.parse(str(pair))
    assert str(pair) == "rotate_cw,flip_lr" and pair.orders == (4, 2)
    assert Pair.parse("shear_x,canny").orders == (None, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flip_lr", "not two names"),
        ("flip_lr,flip_ud,canny", "not two names"),
        ("", "not two names"),
        (None, "not two names"),
        ("flip_lr,", "unknown augmentation ''"),
        ("flip_lr,flop", "unknown augmentation 'flop'"),
    ],
)
def test_a_wrong_pair_is_refused(text, said):
    with pytest.raises(InvalidInputError, match=said) as caught:
        Pair.parse(text)
    assert "flip_lr, flip_ud" in str(caught.value) and "\n" not in str(caught.value)


IMAGES = noise(2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "flop"}, "unknown augmentation 'flop'; allowed: flip_lr, "),
        ({"images": IMAGES.numpy()}, "images is a ndarray"),
        ({"images": IMAGES.float() / 255}, "dtype torch.float32"),
        ({"images": IMAGES[0]}, r"shape \(28, 28\)"),
        ({"images": IMAGES[:, None]}, r"shape \(2, 1, 28, 28\)"),
        ({"images": IMAGES[:, :27]}, r"shape \(2, 27, 28\)"),
        ({"images": IMAGES.to("meta")}, "on meta"),
        ({"split": "tset"}, "unknown split 'tset'; allowed: train, test"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"seed": True}, "seed is True"),
        ({"indices": [0]}, "2 integers from 0"),
        ({"indices": [0, -1]}, "2 integers from 0"),
        ({"indices": [0.0, 1.0]}, "2 integers from 0"),
        ({"indices": [[0, 1]]}, "2 integers from 0"),
    ],
)
@pytest.mark.parametrize("name", ["flip_lr", "canny"])
def test_wrong_input_is_refused_in_one_line(name, change, said):
    with pytest.raises(InvalidInputError, match=said) as caught:
        apply(**({"name": name, "images": IMAGES} | change))
    assert "allowed: " in str(caught.value) and "\n" not in str(caught.value)
