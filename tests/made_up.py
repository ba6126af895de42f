"""Small made-up inputs for the tests; nothing here is random without a seed."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavae_core.augmentations import Family, variants
from lavae_core.latent_maps import LatentMaps
from lavae_core.models import LAVAE

FLIPS = Family.parse("flip_lr,flip_ud")
SURE = 50.0  # a logit; a wrong pixel then costs 50 nats and a right one none


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uint8_images(*shape: int, seed: int = 0) -> Tensor:
    """uint8 (*shape, 28, 28) of noise."""
    size = (*shape, 28, 28)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=generator(seed))


def float_images(count: int, seed: int = 0) -> Tensor:
    """float (count, 1, 28, 28) of noise in [0, 1]."""
    return torch.rand(count, 1, 28, 28, generator=generator(seed))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed))


def spread(module: nn.Module, seed: int = 0, scale: float = 0.05) -> nn.Module:
    """`module` with weights from a seed: no zeros and no identities that could hide a mistake."""
    source = generator(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=source)
            parameter.add_(scale * noise.to(parameter))
    return module


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules have the same names and the same bits."""
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Perfect(LAVAE):
    """Knows 4 black-and-white originals and their flips, `images` (4, 4, 28, 28).

    Its latents are one-hots of these 16 images, its maps permute them (two involutions that
    commute), and its decoder looks the image up.
    """

    def __init__(self):
        nn.Module.__init__(self)
        originals = uint8_images(4).gt(127).to(torch.uint8) * 255
        self.images = variants(originals, FLIPS, split="test", seed=0)
        self.bank = self.images.flatten(0, 1).flatten(1) / 255.0  # row 4 variant + original
        self.maps = LatentMaps()
        variant = torch.arange(16).view(4, 4)
        first, second = variant[[1, 0, 3, 2]].flatten(), variant[[2, 3, 0, 1]].flatten()
        self.maps.matrices.data = torch.stack([torch.eye(16)[first], torch.eye(16)[second]])
        self.requires_grad_(False)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu = F.one_hot(torch.cdist(x.flatten(1), self.bank).argmin(1), 16).float()
        return mu, torch.zeros_like(mu)

    def decode(self, z: Tensor, head: str = "native") -> Tensor:
        return (SURE * (2 * (z @ self.bank) - 1)).view(-1, 1, 28, 28)
