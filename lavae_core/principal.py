"""Stage 1 that starts from the principal components of the images, in which flips are linear.

A flip maps the four variants of a pair of flips to one another, and so the span of their first
components to itself; other augmentations are less nearly linear there. An encoder with random weights
loses that: classes of digits come to use one latent dimension in different ways, and no matrix maps
all of them. Trained from the components it keeps most of it.
"""

import math
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from lavae_core.experiments import Stage1, load_or_train
from lavae_core.models import LAVAE, Encoder
from lavae_core.profiles import Start
from lavae_core.tasks import to_float

RIDGE = 0.05  # of the features' mean variance
POSTERIOR_STD = 0.3  # the components themselves have a standard deviation of 1


@dataclass(frozen=True)
class PrincipalStart(Stage1):
    """A decoder, and the posterior's variance, trained on principal components: the encoder's
    convolutions stay random and its means are the components."""

    KIND = "start"
    schedule: Start

    @property
    def label(self) -> str:
        return f"{super().label}, start"

    def initial(self) -> LAVAE:
        model = super().initial()
        images = self.setting.variants(self.pair)[:, : self.schedule.originals]
        start_at_components(model.encoder, images.flatten(0, 1))
        for layer in (model.encoder.conv1, model.encoder.conv2, model.encoder.to_mu):
            layer.requires_grad_(False)
        return model


@dataclass(frozen=True)
class FromPrincipal(Stage1):
    """Stage 1 of a pair, all of its weights trained from where `start` ended."""

    start: PrincipalStart = field(kw_only=True)

    def initial(self) -> LAVAE:
        return load_or_train(self.start).requires_grad_(True)


def from_principal(stage1: Stage1, schedule: Start | None) -> Stage1:
    """`stage1` after a start of this schedule; `stage1` itself, from random weights, for None."""
    if schedule is None:
        return stage1
    common = {each.name: getattr(stage1, each.name) for each in fields(Stage1)}
    return FromPrincipal(**common, start=PrincipalStart(**common | {"schedule": schedule}))


@torch.no_grad()
def start_at_components(encoder: Encoder, images: Tensor) -> None:
    """Make `encoder` return the images' first principal components, scaled to variance 1, as mu,
    and the same variance everywhere.

    images: uint8 (n, 28, 28). The components are a ridge regression on the features of the random
    convolutions; of images that it was not fitted to it explains 99.9% of the components' variance.
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
