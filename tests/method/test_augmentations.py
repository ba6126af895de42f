"""The augmentations, their draws and their registry, on made-up images."""

import hashlib

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import uint8_images
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from lavae_core import augmentations
from lavae_core.augmentations import AUGMENTATIONS, apply, augmentation, to_float
from lavae_core.errors import InvalidInputError

NAMES = sorted(AUGMENTATIONS)
RANDOM = [name for name in NAMES if AUGMENTATIONS[name].draws]
ORDERED = [name for name in NAMES if AUGMENTATIONS[name].order]

some_images = st.builds(
    lambda seed, count: uint8_images(count, seed=seed), st.integers(0, 2**31), st.integers(0, 9)
)
few = settings(max_examples=10)


def blank(value: int, count: int = 1) -> torch.Tensor:
    return torch.full((count, 28, 28), value, dtype=torch.uint8)


def test_registry_holds_the_papers_augmentations_with_their_orders():
    orders = {name: AUGMENTATIONS[name].order for name in NAMES if AUGMENTATIONS[name].order}
    assert orders == {"flip_lr": 2, "flip_ud": 2, "rotate_cw": 4, "rotate_ccw": 4}
    others = {"shear_x", "canny", "edge_detect", "mini_image", "gaussian_blur"}
    assert set(NAMES) - set(orders) == others | {"salt_and_pepper", "salt_and_pepper_corner"}


@pytest.mark.parametrize("name", NAMES)
@given(images=some_images)
@few
def test_shape_and_type_stay_and_the_input_is_left_alone(name, images):
    before = images.clone()
    result = apply(name, images)
    assert result.shape == images.shape and result.dtype == torch.uint8
    assert torch.equal(images, before)
    result.fill_(7)
    assert torch.equal(images, before), "the result shares memory with the input"


@pytest.mark.parametrize("name", ORDERED)
@given(images=some_images.filter(len))
@few
def test_order_is_the_smallest_power_that_is_the_identity(name, images):
    turned = images
    for power in range(1, AUGMENTATIONS[name].order + 1):
        turned = apply(name, turned)
        assert torch.equal(turned, images) == (power == AUGMENTATIONS[name].order)


@given(images=some_images)
@few
def test_quarter_turns_undo_each_other(images):
    assert torch.equal(apply("rotate_ccw", apply("rotate_cw", images)), images)


def test_geometry_moves_the_top_left_pixel_where_its_name_says():
    dot = blank(0)
    dot[0, 0, 1] = 255
    places = {"flip_lr": (0, 26), "flip_ud": (27, 1), "rotate_cw": (1, 27), "rotate_ccw": (26, 0)}
    for name, place in places.items():
        assert apply(name, dot)[0].nonzero().tolist() == [list(place)], name


def test_shear_agrees_with_torchvisions_affine_at_the_drawn_angle():
    # Smooth images: the two interpolate with other roundings.
    images = tv.gaussian_blur(uint8_images(4), [5, 5])
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
    image = tv.gaussian_blur(uint8_images(1), [5, 5])
    result = AUGMENTATIONS["canny"].function(image, np.array([[0.25, 0.5]], dtype=np.float32))
    expected = 255 - torch.from_numpy(cv2.Canny(image[0].numpy(), 80, 200))
    assert torch.equal(result[0], expected)
    for lower, upper in ((100, 200), (80, 220)):  # the image tells the thresholds apart
        other = 255 - torch.from_numpy(cv2.Canny(image[0].numpy(), lower, upper))
        assert not torch.equal(result[0], other)


def test_edge_detect_goes_from_the_image_to_its_laplacian_and_saturates():
    images = uint8_images(2)
    draws = np.array([[0.0], [1.0]], dtype=np.float32)
    unchanged, edges = AUGMENTATIONS["edge_detect"].function(images, draws)
    assert torch.equal(unchanged, images[0])
    inner = images[1].int()
    around = inner[:-2, 1:-1] + inner[2:, 1:-1] + inner[1:-1, :-2] + inner[1:-1, 2:]
    reference = (around - 4 * inner[1:-1, 1:-1]).clamp(0, 255)
    assert torch.equal(edges[1:-1, 1:-1].int(), reference)


def test_mini_image_covers_the_corner_only():
    images = uint8_images(3)
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
@few
def test_noise_replaces_pixels_and_never_wraps_round(value, seed):
    noisy = apply("salt_and_pepper", blank(value, 4), seed=seed)
    on_grey = apply("salt_and_pepper", blank(100, 4), seed=seed)  # the same draws
    expected = torch.where(on_grey == 100, value, on_grey)
    assert torch.equal(noisy, expected.to(torch.uint8))
    assert set(on_grey.unique().tolist()) == {0, 100, 255}


def test_noise_hits_a_tenth_of_the_pixels_and_in_the_corner_variant_no_other():
    grey = blank(100, 200)
    assert 0.09 < (apply("salt_and_pepper", grey) != 100).float().mean() < 0.11
    corner = apply("salt_and_pepper_corner", grey) != 100
    assert 0.09 < corner[:, :14, :14].float().mean() < 0.11
    assert not corner[:, 14:].any() and not corner[:, :, 14:].any()


@pytest.mark.parametrize("name", RANDOM)
@given(indices=st.lists(st.integers(0, 19), max_size=8))
@few
def test_a_subset_sees_the_draws_of_the_whole(name, indices):
    images = uint8_images(20)
    whole = apply(name, images, split="train", seed=3)
    subset = apply(name, images[indices], split="train", seed=3, indices=indices)
    assert torch.equal(subset, whole[indices])


@pytest.mark.parametrize("name", RANDOM)
def test_draws_differ_between_images_splits_and_seeds(name):
    same = (uint8_images(1) // 3).repeat(8, 1, 1)  # dim: Canny's thresholds have to matter
    base = apply(name, same, split="test", seed=0)
    assert not torch.equal(base[0], base[1])
    assert not torch.equal(base, apply(name, same, split="train", seed=0))
    assert not torch.equal(base, apply(name, same, split="test", seed=1))


def test_draws_are_the_same_in_every_process_and_release():
    noisy = apply("salt_and_pepper", blank(100, 50), split="train", seed=5)
    assert hashlib.sha256(noisy.numpy()).hexdigest().startswith("a3268f6af7596ced")


# --- a new augmentation --------------------------------------------------------------------------


@pytest.fixture
def registry(monkeypatch):
    """The registry, as it was again after the test."""
    monkeypatch.setattr(augmentations, "AUGMENTATIONS", dict(AUGMENTATIONS))
    return augmentations.AUGMENTATIONS


def test_a_registered_function_is_an_augmentation(registry):
    @augmentation(order=None, draws=2)
    def brighten(images, uniform):
        assert uniform.shape == (len(images), 2) and uniform.dtype == np.float32
        assert uniform.min() >= 0 and uniform.max() < 1
        return images | 1

    assert registry["brighten"] == augmentations.get("brighten")
    assert torch.equal(apply("brighten", blank(4, 3)), blank(5, 3))
    assert augmentations.Family.parse("brighten,flip_lr").orders == (None, 2)


def test_a_function_that_writes_into_its_input_leaves_the_originals_alone(registry):
    @augmentation(order=None)
    def careless(images):
        return images.fill_(9)

    images = uint8_images(2)
    before = images.clone()
    assert torch.equal(apply("careless", images), blank(9, 2)) and torch.equal(images, before)


@pytest.mark.parametrize(
    ("options", "value"),
    [({"order": 0}, "0"), ({"order": 1.5}, "1.5"), ({"order": True}, "True"),
     ({"order": None, "draws": -1}, "-1"), ({"order": None, "draws": "1"}, "'1'")],
)  # fmt: skip
def test_declarations_that_are_refused(options, value, registry):
    with pytest.raises(InvalidInputError, match=f"mine.*{value}"):

        @augmentation(**options)
        def mine(images):
            return images

    assert "mine" not in registry


def test_a_name_that_is_taken_is_refused(registry):
    with pytest.raises(InvalidInputError, match="'flip_lr'"):

        @augmentation(order=2)
        def flip_lr(images):
            return images

    assert registry == AUGMENTATIONS


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (lambda images: images.float(), "float32"),
        (lambda images: images[:, None], r"\(2, 1, 28, 28\)"),
        (lambda images: images.numpy(), "ndarray"),
        (lambda images: images[:1], "1"),
    ],
    ids=["floats", "another shape", "no tensor", "fewer images"],
)
def test_results_that_are_refused(function, value, registry):
    function.__name__ = "mine"
    augmentation(order=None)(function)
    with pytest.raises(InvalidInputError, match="'mine'") as caught:
        apply("mine", uint8_images(2))
    caught.match(value)


# --- input ---------------------------------------------------------------------------------------


def test_to_float():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1).expand(3, 28, 28)
    floats = to_float(images)
    assert floats.shape == (3, 1, 28, 28) and floats.dtype == torch.float32
    assert torch.equal(floats[:, 0, 0, 0], torch.tensor([0, 0.2, 1]))
    for wrong, value in [
        (floats[:, 0], "float32"), (images[0], r"\(28, 28\)"), (images[:, 1:], r"\(3, 27, 28\)")
    ]:  # fmt: skip
        with pytest.raises(InvalidInputError, match=value):
            to_float(wrong)


IMAGES = uint8_images(2)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ({"name": "flop"}, "'flop'"),
        ({"images": IMAGES.numpy()}, "ndarray"),
        ({"images": IMAGES.float() / 255}, "float32"),
        ({"images": IMAGES[0]}, r"\(28, 28\)"),
        ({"images": IMAGES[:, None]}, r"\(2, 1, 28, 28\)"),
        ({"images": IMAGES[:, :27]}, r"\(2, 27, 28\)"),
        ({"images": IMAGES.to("meta")}, "meta"),
        ({"split": "tset"}, "'tset'"),
        ({"seed": -1}, "-1"),
        ({"seed": 0.5}, "0.5"),
        ({"seed": True}, "True"),
        ({"indices": [0]}, r"\(1,\)"),
        ({"indices": [0, -1]}, "indices"),
        ({"indices": [0.0, 1.0]}, "float64"),
        ({"indices": [[0, 1]]}, r"\(1, 2\)"),
    ],
)
@pytest.mark.parametrize("name", ["flip_lr", "canny"])
def test_wrong_input_is_refused_in_one_line(name, change, value):
    with pytest.raises(InvalidInputError, match=value) as caught:
        apply(**({"name": name, "images": IMAGES} | change))
    assert "\n" not in str(caught.value)
