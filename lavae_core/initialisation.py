"""Where training starts: principal components for an encoder.

A flip permutes the four variants of a pair of flips and so maps the span of their first principal
components to itself. Other augmentations are less nearly linear there. An encoder that starts from
random weights loses this: different digits come to use one latent dimension in different ways, and
no matrix fits all of them. An encoder that starts from the components keeps most of it.
"""

import math

import torch
from torch import Tensor

from lavae_core.augmentations import to_float
from lavae_core.models import Encoder

RIDGE = 0.05  # of the features' mean variance
POSTERIOR_STD = 0.3  # the components themselves have a standard deviation of 1


@torch.no_grad()
def start_at_components(encoder: Encoder, images: Tensor) -> None:
    """Make `encoder` return the first principal components of `images`, of variance 1, as mu.

    images: uint8 (n, 28, 28). The posterior's variance becomes the same everywhere. The components
    are a ridge regression on the features of the random convolutions; on images that it was not
    fitted to, the regression explains 99.9% of the components' variance.
    """
    x = to_float(images)
    components = principal_components(x.flatten(1), encoder.to_mu.out_features)
    features = torch.cat([encoder.features(part) for part in x.split(500)])
    mean = features.mean(0)
    centred = features - mean
    gram = centred.t() @ centred
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    factor = torch.linalg.cholesky(gram)
    weight = torch.cholesky_solve(centred.t() @ components, factor)  # (6272, d)
    encoder.to_mu.weight.copy_(weight.t())
    encoder.to_mu.bias.copy_(-mean @ weight)
    encoder.to_logvar.weight.zero_()
    encoder.to_logvar.bias.fill_(2 * math.log(POSTERIOR_STD))


def principal_components(x: Tensor, count: int) -> Tensor:
    """The first `count` principal components (n, count) of x (n, pixels), of variance 1."""
    centred = (x - x.mean(0)).double()
    _, directions = torch.linalg.eigh(centred.t() @ centred)  # in ascending order
    components = centred @ directions[:, -count:].flip(1)
    return (components / components.std(0)).float()
