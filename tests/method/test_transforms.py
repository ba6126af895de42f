"""The latent augmentation as a step of a torchvision pipeline."""

import pytest
import torch
from made_up import float_images, normal, spread, uint8_images
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from lavae_core.errors import InvalidInputError
from lavae_core.models import LAVAE, Decoder
from lavae_core.transforms import LatentAugmentation


@pytest.fixture(scope="module")
def model():
    return spread(LAVAE()).with_head("other", spread(Decoder(), seed=1))


@pytest.mark.parametrize("head", ["native", "other"])
def test_it_is_the_models_augmentation(model, head):
    x = float_images(3)
    result = LatentAugmentation(model, "L1 L2^-1", head)(x)
    torch.testing.assert_close(result, model.augment(x, "L1 L2^-1", head).detach())
    other = LatentAugmentation(model, "L2^-1 L1", head)(x)
    assert not torch.allclose(result, other, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 1, 28, 28), (5, 1, 28, 28), (0, 1, 28, 28)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_shape_and_dtype_are_kept_and_nothing_else_changes(model, shape, dtype):
    x = torch.rand(shape).to(dtype).requires_grad_()
    before = x.detach().clone()
    result = LatentAugmentation(model, "L1")(x)
    assert (result.shape, result.dtype, result.requires_grad) == (x.shape, dtype, False)
    assert torch.equal(x, before)
    assert x.numel() == 0 or (result.min() >= 0 and result.max() <= 1)


def test_one_image_is_a_batch_of_one(model):
    x, transform = float_images(2), LatentAugmentation(model, "L1")
    torch.testing.assert_close(transform(x[1]), transform(x)[1])


def test_in_a_pipeline_with_labels(model):
    transform = LatentAugmentation(model, "L1")
    scale = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    pipeline = v2.Compose([scale, transform])
    picture = Image.fromarray(uint8_images(1)[0].numpy())
    result, label = pipeline(picture, 7)
    assert isinstance(result, tv_tensors.Image) and label == 7
    torch.testing.assert_close(result, transform(scale(picture)))

    sample = {"image": float_images(1)[0], "label": torch.tensor(3), "more": normal(2)}
    out = transform(sample)
    assert out["label"] is sample["label"] and out["more"] is sample["more"]
    assert not torch.equal(out["image"], sample["image"])


BAD_CHOICES = {
    "unknown map": ({"word": "L3"}, "'L3'"),
    "malformed": ({"word": "L1^"}, r"L1\^"),
    "no word": ({"word": None}, "None"),
    "unknown head": ({"word": "", "head": "none"}, "'none'"),
}


@pytest.mark.parametrize(("options", "value"), BAD_CHOICES.values(), ids=BAD_CHOICES)
def test_choices_are_refused_at_construction(model, options, value):
    with pytest.raises(InvalidInputError, match=value):
        LatentAugmentation(model, **options)


def test_models_that_are_refused_at_construction():
    with pytest.raises(InvalidInputError, match="Decoder"):
        LatentAugmentation(Decoder(), "L1")
    singular = LAVAE()
    singular.maps.matrices.data[1] = 0
    with pytest.raises(InvalidInputError, match="L2"):
        LatentAugmentation(singular, "L2^-1")


BAD_IMAGES = {
    "uint8": (torch.zeros(1, 28, 28, dtype=torch.uint8), "torch.uint8"),
    "no channel": (torch.zeros(28, 28), r"\(28, 28\)"),
    "colour": (torch.zeros(3, 28, 28), r"\(1, 3, 28, 28\)"),
    "0 to 255": (torch.full((1, 28, 28), 255.0), r"\[0, 1\]"),
    "PIL": (Image.new("L", (28, 28)), "Image"),
}


@pytest.mark.parametrize(("image", "value"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_images_that_are_refused(model, image, value):
    with pytest.raises(InvalidInputError, match=value):
        LatentAugmentation(model, "L1")(image)
