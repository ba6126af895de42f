"""What an augmentation does, as a digest: part of the key of every model that is trained on it."""

import hashlib

import torch

from lavae_core.augmentations import SIDE, apply, get
from lavae_core.errors import InvalidInputError


def fingerprint(name: str) -> str:
    """Digest of what the augmentation does to a few fixed images: it changes with the code, the
    parameters and the libraries behind it, and with nothing else.

    Raises InvalidInputError for a function that draws random numbers of its own, or that is not of
    the order it declares: no model can be trained on it.
    """
    ramps = torch.arange(4 * SIDE * SIDE).view(4, SIDE, SIDE)
    probe = (ramps * torch.tensor([1, 3, 7, 19]).view(4, 1, 1) % 256).to(torch.uint8)
    result = apply(name, probe)
    if not torch.equal(result, apply(name, probe)):
        raise InvalidInputError(
            f"augmentation {name!r} gives another result each time; take random numbers from its "
            "second argument (draws=...) only"
        )
    order, power = get(name).order, result
    for _ in range((order or 1) - 1):
        power = apply(name, power)
    if order is not None and not torch.equal(power, probe):
        raise InvalidInputError(
            f"augmentation {name!r} declares order {order}, but applied {order} times it is not the "
            "identity; declare its order, or order=None"
        )
    return hashlib.sha256(result.contiguous().numpy()).hexdigest()[:16]
