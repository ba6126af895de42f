"""What the paper compares LAVAE with: CVAEs, non-linear maps, joint training; and their objectives."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lavae_core import losses
from lavae_core.augmentations import to_float
from lavae_core.errors import InvalidInputError, require_whole
from lavae_core.latent_maps import LatentMaps, Orders, order_penalty, parse_word
from lavae_core.losses import negative_elbo, posterior_samples
from lavae_core.models import LATENT_DIM, LAVAE, Decoder, Encoder
from lavae_core.pretrained import Pretrained

WIDTH = 8  # of the authors' non-linear maps (Section IV-B)


class CVAE(nn.Module, Pretrained):
    """Conditional VAE (Appendix B, Figure 11): the one-hot of the variant beside features and z."""

    def __init__(self, latent_dim: int = LATENT_DIM, n_conditions: int = 4):
        super().__init__()
        require_whole("latent_dim", latent_dim, 1)
        require_whole("n_conditions", n_conditions, 1)
        self.encoder = Encoder(latent_dim, n_conditions)
        self.decoder = Decoder(latent_dim, n_conditions)

    def encode(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, 1, 28, 28) and conditions (N, n_conditions) to mu and log-variance."""
        return self.encoder(x, condition)

    def decode(self, z: Tensor, condition: Tensor) -> Tensor:
        """Latents (N, 16) and conditions (N, n_conditions) to logits (N, 1, 28, 28)."""
        return self.decoder(z, condition)


def random_maps(n_maps: int, latent_dim: int) -> LatentMaps:
    """Latent maps with nn.Linear's random initialisation.

    The identity, with which LatentMaps begins, already satisfies the order term, and gradient
    descent would hardly leave it.
    """
    maps = LatentMaps(n_maps, latent_dim)
    for matrix in maps.matrices.data:
        nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))
    return maps


class NonLinearMaps(nn.Module):
    """The ablation of Section IV-B: each map an MLP 16 -> width -> width -> 16, without an inverse."""

    def __init__(self, n_maps: int = 2, latent_dim: int = 16, width: int = WIDTH):
        super().__init__()
        self.networks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(latent_dim, width),
                nn.ReLU(),
                nn.Linear(width, width),
                nn.ReLU(),
                nn.Linear(width, latent_dim),
            )  # fmt: skip
            for _ in range(n_maps)
        )

    @property
    def names(self) -> list[str]:
        return [f"L{i + 1}" for i in range(len(self.networks))]

    def forward(self, z: Tensor, word: str) -> Tensor:
        """Latents (N, d) mapped by a word, (N, d). Raises InvalidInputError for an inverse."""
        for position, power in parse_word(word, self.names):
            if power < 0:
                raise InvalidInputError(f"{self.names[position]} is non-linear: it has no inverse")
            for _ in range(power):
                z = self.networks[position](z)
        return z


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
