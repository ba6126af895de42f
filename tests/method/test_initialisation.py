"""Where training starts: principal components for an encoder, random matrices for maps."""

import pytest
import torch
from made_up import normal, uint8_images

from lavae_core.augmentations import Family, to_float, variants
from lavae_core.initialisation import principal_components, start_at_components
from lavae_core.models import Encoder


def test_the_components_are_uncorrelated_and_hold_the_most_variance():
    x = normal(500, 20) * torch.linspace(1, 3, 20)
    components = principal_components(x, 4)
    assert torch.allclose(torch.cov(components.t()), torch.eye(4), atol=1e-4)
    centred = x - x.mean(0)
    left = centred - components @ torch.linalg.lstsq(components, centred).solution
    values = torch.linalg.eigvalsh(torch.cov(x.t()).double())
    assert left.square().sum(1).mean().item() == pytest.approx(values[:-4].sum().item(), rel=5e-3)


def test_the_encoder_returns_the_components_with_one_variance():
    images, encoder = uint8_images(300), Encoder()
    convolutions = [encoder.conv1.weight.clone(), encoder.conv2.weight.clone()]
    start_at_components(encoder, images)
    with torch.no_grad():
        mu, logvar = encoder(to_float(images))
    expected = principal_components(to_float(images).flatten(1), 16)
    assert (mu - expected).square().mean() < 0.01
    assert torch.allclose((0.5 * logvar).exp(), torch.tensor(0.3))
    assert torch.equal(encoder.conv1.weight, convolutions[0])
    assert torch.equal(encoder.conv2.weight, convolutions[1])


def test_flips_are_linear_in_the_components_of_their_variants():
    flips = Family.parse("flip_lr,flip_ud")
    images = variants(uint8_images(100), flips, split="train", seed=0)
    components = principal_components(to_float(images.flatten(0, 1)).flatten(1), 16).double()
    originals, *others = components.unflatten(0, (4, 100))
    for other in others:
        left = other - originals @ torch.linalg.lstsq(originals, other).solution
        assert left.square().mean() < 1e-6
