"""What an augmentation does, as a digest: part of the key of every model that is trained on it."""

import hashlib

import torch

from lavae_core.augmentations import SIDE, apply, get
from lavae_core.errors import InvalidInputError


def fingerprint(name: str) -> str:
    """Digest of what the augmentation does to a few fixed images: it changes with the code, the
    parameters and the libraries behind it, and with nothing else.

    Raises InvalidInputError for a function that draws random numbers of its own, whose result for
    an image depends on the others of its batch, or that is not of the order it declares: no model
    can be trained on it.
    """
    ramps = torch.arange(4 * SIDE * SIDE).view(4, SIDE, SIDE)
    probe = (ramps * torch.tensor([1, 3, 7, 19]).view(4, 1, 1) % 256).to(torch.uint8)
    result = apply(name, probe)
    brightness = torch.arange(1, 65).view(64, 1, 1)
    _require_pure(name, (probe.repeat(16, 1, 1) * brightness // 64).to(torch.uint8))
    order, power, smallest = get(name).order, result, 1
    while not torch.equal(power, probe) and smallest < (order or 1):
        power, smallest = apply(name, power), smallest + 1
    if order is not None and (smallest < order or not torch.equal(power, probe)):
        raise InvalidInputError(
            f"augmentation {name!r} declares order {order}, which is not the smallest power that is the "
            "identity; declare that one, or order=None"
        )
    return hashlib.sha256(result.contiguous().numpy()).hexdigest()[:16]


def _require_pure(name: str, images: torch.Tensor) -> None:
    result, chosen = apply(name, images), [50, 3]
    if not torch.equal(result, apply(name, images)):
        raise InvalidInputError(
            f"augmentation {name!r} gives another result each time; take random numbers from its "
            "second argument (draws=...) only"
        )
    if not torch.equal(result[chosen], apply(name, images[chosen], indices=chosen)):
        raise InvalidInputError(
            f"augmentation {name!r} gives an image another result beside other images; compute each "
            "image by itself, with its own row of draws"
        )
