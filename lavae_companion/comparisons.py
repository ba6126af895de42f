"""What the paper compares LAVAE with: the objectives of two CVAEs and of joint training."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lavae_core import losses
from lavae_core.augmentations import to_float
from lavae_core.latent_maps import Orders, order_penalty
from lavae_core.losses import negative_elbo, posterior_samples
from lavae_core.models import CVAE, LAVAE


class JointObjective:
    """Stages 1 and 2 at once (Section IV-B: "degraded final performance"): the sum of both losses.

    images: uint8 (V, N, 28, 28), the originals first; singles: the places among them of A1, ..., Ak.
    A sample is an original with its variants, so that the maps see matching latents. The map error
    is a sum over latent dimensions, on the scale of the other terms, times map_weight.
    """

    def __init__(
        self,
        model: LAVAE,
        images: Tensor,
        singles: Sequence[int],
        orders: Orders,
        antithetic: bool = False,
        map_weight: float = 1.0,
    ):
        self.module, self._images, self._orders = model, images, orders
        self._singles, self._antithetic = list(singles), antithetic
        self._map_weight = map_weight
        self.size, self.images_per_sample = images.shape[1], len(images)

    def losses(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        x = to_float(self._images[:, index].flatten(0, 1))
        mu, logvar = self.module.encode(x)
        z = posterior_samples(mu, logvar, generator, self._antithetic)
        terms = negative_elbo(self.module.decode(z), x, mu, logvar)
        by_variant = z.unflatten(0, (-1, len(self._images), len(index)))  # (S, V, B, d)
        matrices = self.module.maps.matrices
        error = losses.map_error(by_variant[:, :1] @ matrices, by_variant[:, self._singles])
        error = self._map_weight * error / len(by_variant)
        terms["maps"] = error + len(index) * order_penalty(matrices, self._orders)
        return terms


class ConditionalObjective:
    """CVAE trained conditionally (Section V-C): encode and decode a variant with its one-hot.

    images: uint8 (V, N, 28, 28); the one-hots have length V.
    """

    def __init__(self, model: CVAE, images: Tensor, antithetic: bool = False):
        self.module, self._antithetic = model, antithetic
        self._images, self._per_variant = images.flatten(0, 1), images.shape[1]
        self._conditions = torch.eye(len(images), device=images.device)
        self.size, self.images_per_sample = len(self._images), 1

    def losses(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        x = to_float(self._images[index])
        condition = self._conditions[index // self._per_variant]
        mu, logvar = self.module.encode(x, condition)
        z = posterior_samples(mu, logvar, generator, self._antithetic)
        logits = self.module.decode(z, condition.repeat(len(z) // len(mu), 1))
        return negative_elbo(logits, x, mu, logvar)


class LavaeStyleObjective:
    """CVAE trained as LAVAE is used (Section V-C): encode the original, decode into a variant.

    images: uint8 (1 + k, N, 28, 28), originals and single variants; the one-hots have that length.
    A composition is never trained: it is asked for with the sum of one-hots. A sample is an
    original, encoded once and decoded into its 1 + k variants.
    """

    def __init__(self, model: CVAE, images: Tensor, antithetic: bool = False):
        self.module, self._images = model, images
        self._antithetic = antithetic
        self._conditions = torch.eye(len(images), device=images.device)
        self.size, self.images_per_sample = images.shape[1], len(images)

    def losses(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        x = to_float(self._images[:, index].flatten(0, 1))  # ((1 + k) B, 1, 28, 28)
        conditions = self._conditions.repeat_interleave(len(index), dim=0)
        originals = slice(0, len(index))
        mu, logvar = self.module.encode(x[originals], conditions[originals])
        mu, logvar = mu.repeat(self.images_per_sample, 1), logvar.repeat(self.images_per_sample, 1)
        z = posterior_samples(mu, logvar, generator, self._antithetic)
        logits = self.module.decode(z, conditions.repeat(len(z) // len(mu), 1))
        return negative_elbo(logits, x, mu, logvar)
