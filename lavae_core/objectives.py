"""Objectives: for each kind of training, the parameters, the samples and the losses of a batch.

An objective knows nothing of optimizers and schedules; the one loop in training.py minimises any of
them. Every loss is summed over the batch.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from lavae_core import losses
from lavae_core.augmentations import to_float
from lavae_core.latent_maps import LatentMaps, Orders, order_penalty
from lavae_core.losses import negative_elbo, posterior_samples
from lavae_core.models import LAVAE, Decoder


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


class MapObjective:
    """Latent maps by gradient descent on cached latents (Section IV-B, stage 2, Equation 6).

    mu, logvar: (1 + M, N, d) of the originals and M variants. The loss is the mean squared error
    of reparameterised samples + lambda_inv * order penalty, times the batch size.
    """

    def __init__(
        self,
        maps: nn.Module,
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
