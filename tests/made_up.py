"""Small made-up inputs for the tests; nothing here is random without a seed."""

import torch
from torch import Tensor


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


def spread(module: torch.nn.Module, seed: int = 0, scale: float = 0.05) -> torch.nn.Module:
    """`module` with weights from a seed: no zeros and no identities that could hide a mistake."""
    source = generator(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=source)
            parameter.add_(scale * noise.to(parameter))
    return module


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether two modules have the same names and the same bits."""
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
