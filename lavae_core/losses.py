"""The paper's losses, each one function, and the reparameterised sample that they are computed on.

Every loss is a sum over the batch, not a mean, as in the authors' experiments (the paper's text states
no normalisation); divide by the number of images to compare with a published value. Section and
equation numbers are the paper's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def reconstruction(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy, summed over pixels and batch (the first term of Equations 5 and 7).

    logits, target: (N, 1, 28, 28); target in [0, 1].
    """
    return F.binary_cross_entropy_with_logits(logits.float(), target, reduction="sum")


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, I)), summed over latent dimensions and batch (Appendix A).

    mu, logvar: (N, d).
    """
    mu, logvar = mu.float(), logvar.float()
    return -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum()


def map_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Squared distance of mapped latents to a variant's latents, summed (Equation 6).

    predicted, target: (N, d). The mean squared error of stage 2 is this over N d.
    """
    return F.mse_loss(predicted.float(), target.float(), reduction="sum")


def reparameterise(mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """A sample of N(mu, exp(logvar)) from standard normal noise; all (N, d)."""
    return mu + (0.5 * logvar).exp() * noise


def posterior_samples(
    mu: Tensor, logvar: Tensor, generator: torch.Generator, antithetic: bool = False
) -> Tensor:
    """Samples (S B, d) of B posteriors: S = 1, or an antithetic pair, S = 2.

    mu, logvar: (B, d). Of a pair, the noise of the second is the negative of the first: each z is
    distributed as before, and the part of the gradient's noise that is odd in it cancels.
    """
    noise = torch.randn(mu.shape, generator=generator, device=mu.device)
    draws = (noise, -noise) if antithetic else (noise,)
    return torch.cat([reparameterise(mu, logvar, each) for each in draws])


def negative_elbo(
    logits: Tensor,
    target: Tensor,
    mu: Tensor,
    logvar: Tensor,
    lambda_recon: float = 1.0,
    lambda_kl: float = 1.0,
) -> dict[str, Tensor]:
    """Both weighted terms of the negative ELBO, summed over the batch (Equation 5, Appendix A).

    logits: (S B, 1, 28, 28), S samples for each target (B, 1, 28, 28) in [0, 1]; the cross-entropy
    is a mean over the samples. mu, logvar: (B, d). Returns "reconstruction" and "kl".
    """
    draws = len(logits) // len(target)
    error = reconstruction(logits, target.repeat(draws, 1, 1, 1)) / draws
    return {
        "reconstruction": lambda_recon * error,
        "kl": lambda_kl * kl_divergence(mu, logvar),
    }
