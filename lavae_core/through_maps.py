"""Training through the maps: encoder and decoder are trained with the least-squares maps of their own
latents in the loop. This is no objective of the paper, whose two stages fit the maps afterwards.

In the matrix notation of latent_maps.py, with the posterior means M_0 (B, d) of a batch's originals
and M_i of their variants A_i, the batch has the moments S = M_0^T M_0 / B and C_i = M_0^T M_i / B. Each is
averaged over the steps so far with weights 1, 0.95, 0.95^2, ... from the last step backwards, and

    L_i = (S + ridge * tr(S) / d * I)^-1 C_i

are the maps of the step. The loss is

    sum over all variants of their negative ELBO, each encoded and decoded (Equation 5)
    + weight * sum over i of the cross-entropy of decode(z_0 L_i) against the variant A_i.

Only single maps are in the loss; a word of several letters is never mapped. A short average is a
noisy estimate of the moments of all images, and a long one lags behind the encoder. Means instead of
samples: regression on samples shrinks a map, z_0 being an input with noise.

The gradient. A step uses the averages for the values of S and C_i and `gradient` times the batch for
their derivatives. 0.05, the batch's own share, is the derivative of the averages. 0 holds the maps of
a step fixed. 1 would be unbiased, since S and C_i are means over all images and so are those of a
batch, but it is too noisy: at the rates of the quick profile the losses jump by half within 400 steps.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lavae_core import losses
from lavae_core.augmentations import to_float
from lavae_core.losses import negative_elbo, posterior_samples
from lavae_core.models import LAVAE

MEMORY = 0.95  # of the running moments: about 20 batches
RIDGE = 1e-4  # of the latents' mean second moment


class ThroughMapsObjective:
    """Encoder and decoder, with the maps of the singles solved in every step (module docstring).

    images: uint8 (V, N, 28, 28), the originals first; singles: the places among them of A1, ..., Ak.
    A sample is an original with its variants. weight: of the mapped cross-entropy; gradient: see
    above; antithetic: see losses.posterior_samples. `running`: the averages, which training saves.
    The model's own maps stay as they are: fit them afterwards.
    """

    def __init__(
        self,
        model: LAVAE,
        images: Tensor,
        singles: Sequence[int],
        weight: float = 1.0,
        gradient: float = 0.05,
        antithetic: bool = False,
    ):
        self.module, self._images, self._singles = model, images, list(singles)
        self._weight, self._gradient, self._antithetic = weight, gradient, antithetic
        self.size, self.images_per_sample = images.shape[1], len(images)
        model.maps.requires_grad_(False)
        matrices = model.maps.matrices
        cross = matrices.new_zeros(len(singles), *matrices.shape[1:], dtype=torch.float64)
        self.running = {
            "second_moment": torch.zeros_like(cross[0]),
            "cross": cross,
            "total_weight": cross.new_zeros(()),  # of the batches so far; approaches 1
        }

    def losses(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        variants = to_float(self._images[:, index].flatten(0, 1)).unflatten(0, (-1, len(index)))
        x = variants.flatten(0, 1)
        mu, logvar = self.module.encode(x)
        z = posterior_samples(mu, logvar, generator, self._antithetic)
        with torch.autocast(mu.device.type, enabled=False):  # a regression in bf16 is too rough
            matrices = self._maps(mu.double().unflatten(0, (-1, len(index)))).float()
            by_variant = z.float().unflatten(0, (-1, len(variants), len(index)))  # (S, V, B, d)
            mapped = (by_variant[:, :1] @ matrices).flatten(0, 2)  # (S k B, d)
        logits, through = self.module.decode(torch.cat([z, mapped])).split([len(z), len(mapped)])
        terms = negative_elbo(logits, x, mu, logvar)
        targets = variants[self._singles].flatten(0, 1).repeat(len(by_variant), 1, 1, 1)
        error = losses.reconstruction(through, targets) / len(by_variant)
        return terms | {"maps": self._weight * error}

    def _maps(self, mu: Tensor) -> Tensor:
        """The maps (k, d, d) of this step, from posterior means (V, B, d); updates `running`."""
        originals = mu[0].t() / mu.shape[1]
        batch = {"second_moment": originals @ mu[0], "cross": originals @ mu[self._singles]}
        total = self.running["total_weight"].lerp_(torch.ones_like(originals[0, 0]), 1 - MEMORY)
        moments = {}
        for name, value in batch.items():
            average = self.running[name].lerp_(value.detach(), 1 - MEMORY) / total
            moments[name] = average + self._gradient * (value - value.detach())
        return ridge_maps(**moments)


def ridge_maps(second_moment: Tensor, cross: Tensor) -> Tensor:
    """The least-squares maps (k, d, d) of moments S (d, d) and C (k, d, d), with the ridge RIDGE."""
    ridge = RIDGE * second_moment.diagonal().mean() * torch.eye(len(second_moment)).to(cross)
    return torch.linalg.solve(second_moment + ridge, cross)
