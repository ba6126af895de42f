"""Objectives: for each kind of training, the parameters, the samples and the losses of a batch.

An objective knows nothing of optimizers and schedules; the one loop in training.py minimises any of
them. Every loss is summed over the batch.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from lavae_core import losses
from lavae_core.augmentations import to_float
from lavae_core.latent_maps import LatentMaps, NonLinearMaps, Orders, order_penalty
from lavae_core.losses import negative_elbo, posterior_samples
from lavae_core.models import CVAE, LAVAE, Decoder


class Objective(Protocol):
    """`module` holds the parameters to train; `size` is the number of samples of an epoch. An
    original together with its variants is one sample, of several images."""

    module: nn.Module
    size: int
    images_per_sample: int

    def losses(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The losses by name of the samples at `index` (B,); their sum is minimised."""
        ...


class VAEObjective:
    """Encoder and decoder on the union of all variants (Section IV-B, stage 1, Equation 5).

    images: uint8 (V, N, 28, 28), one row a variant; a single row makes a plain VAE.
    weights: (lambda_recon, lambda_kl). antithetic: see losses.posterior_samples.
    """

    def __init__(
        self,
        model: LAVAE,
        images: Tensor,
        weights: tuple[float, float] = (1.0, 1.0),
        antithetic: bool = False,
    ):
        self.module, self._weights, self._antithetic = model, weights, antithetic
        self._images = images.flatten(0, 1)
        self.size, self.images_per_sample = len(self._images), 1
        model.maps.requires_grad_(False)

    def losses(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        x = to_float(self._images[index])
        mu, logvar = self.module.encode(x)
        z = posterior_samples(mu, logvar, generator, self._antithetic)
        return negative_elbo(self.module.decode(z), x, mu, logvar, *self._weights)


class JointObjective:
    """Stages 1 and 2 at once (Section IV-B: "degraded final performance"): the sum of both losses.

    images: uint8 (V, N, 28, 28), the originals first; singles: the places among them of A1, ..., Ak.
    A sample is an original with its variants, so that the maps see matching latents. The map error
    is a sum over latent dimensions, on the scale of the other terms.
    """

    def __init__(
        self,
        model: LAVAE,
        images: Tensor,
        singles: Sequence[int],
        orders: Orders,
        antithetic: bool = False,
    ):
        self.module, self._images, self._orders = model, images, orders
        self._singles, self._antithetic = list(singles), antithetic
        self.size, self.images_per_sample = images.shape[1], len(images)

    def losses(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        x = to_float(self._images[:, index].flatten(0, 1))
        mu, logvar = self.module.encode(x)
        z = posterior_samples(mu, logvar, generator, self._antithetic)
        terms = negative_elbo(self.module.decode(z), x, mu, logvar)
        by_variant = z.unflatten(0, (-1, len(self._images), len(index)))  # (S, V, B, d)
        matrices = self.module.maps.matrices
        error = losses.map_error(by_variant[:, :1] @ matrices, by_variant[:, self._singles])
        terms["maps"] = error / len(by_variant) + len(index) * order_penalty(matrices, self._orders)
        return terms


class MapObjective:
    """Latent maps by gradient descent on cached latents (Section IV-B, stage 2, Equation 6).

    mu, logvar: (1 + M, N, d) of the originals and M variants. The loss is the mean squared error
    of reparameterised samples + lambda_inv * order penalty, times the batch size.
    """

    def __init__(
        self,
        maps: LatentMaps | NonLinearMaps,
        mu: Tensor,
        logvar: Tensor,
        orders: Orders = (),
        lambda_inv: float = 1.0,
    ):
        self.module, self._mu, self._logvar = maps.requires_grad_(True), mu, logvar
        self._orders, self._lambda_inv = orders or (None,) * (len(mu) - 1), lambda_inv
        self.size, self.images_per_sample = mu.shape[1], 1

    def losses(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        mu, logvar = self._mu[:, index], self._logvar[:, index]
        z = posterior_samples(mu, logvar, generator)
        dims = z.shape[-1]
        terms = {
            name: losses.map_error(self.module(z[0], name), target) / dims
            for name, target in zip(self.module.names, z[1:], strict=True)
        }
        if isinstance(self.module, LatentMaps):
            penalty = order_penalty(self.module.matrices, self._orders)
            terms["order"] = len(index) * self._lambda_inv * penalty
        return terms


class HeadObjective:
    """A transfer head on cached, mapped latents (Section IV-B, stage 3, Equation 7).

    latents: (V, N, d), posterior means of the originals under the words of the variants; images:
    uint8 (V, N, 28, 28), the variants of the new pair.
    """

    def __init__(self, decoder: Decoder, latents: Tensor, images: Tensor):
        self.module = decoder
        self._latents, self._images = latents.flatten(0, 1), images.flatten(0, 1)
        self.size, self.images_per_sample = len(self._images), 1

    def losses(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        logits = self.module(self._latents[index])
        target = to_float(self._images[index])
        return {"reconstruction": losses.reconstruction(logits, target)}


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
