"""Digits under every angle, and the models that are trained on them (notebook 30).

Angles are in degrees, counter-clockwise. An image is turned about its centre, with bilinear
interpolation, and is black outside; a multiple of 90 degrees is exact.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lavae_companion.comparisons import CVAE
from lavae_companion.experiments import (
    Experiment,
    FromPrincipal,
    PrincipalStart,
    Setting,
    TrainedVAE,
    load_or_train,
)
from lavae_companion.study import Study
from lavae_core import runtime
from lavae_core.augmentations import to_float
from lavae_core.errors import require_number
from lavae_core.losses import negative_elbo, posterior_samples
from lavae_core.models import LAVAE
from lavae_core.training import Schedule

TURNS = 4  # of every original that stage 1 is trained on: as many images as of a pair
EPOCHS = 2  # of the schedule for a pair: as long as two pairs


def turn(x: Tensor, degrees: Tensor | float) -> Tensor:
    """Images (N, 1, 28, 28) in [0, 1], each turned by its `degrees` (N,), or all by one number."""
    with torch.autocast(x.device.type, enabled=False):  # bf16 angles would be 1 degree off
        radians = torch.deg2rad(torch.as_tensor(degrees, dtype=torch.float64, device=x.device))
        cos, sin = radians.expand(len(x)).cos(), radians.expand(len(x)).sin()
        zero = torch.zeros_like(cos)
        matrices = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3).float()
        grid = F.affine_grid(matrices, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False)


def turned(images: Tensor, degrees: Tensor | float) -> Tensor:
    """`turn` of uint8 images (N, 28, 28), rounded to uint8."""
    parts = images.split(5000)
    each = torch.as_tensor(degrees, device=images.device).expand(len(images)).split(5000)
    done = [turn(to_float(x), angles) for x, angles in zip(parts, each, strict=True)]
    return torch.cat([(x[:, 0] * 255).round().to(torch.uint8) for x in done])


@dataclass(frozen=True)
class TurnedVAE(TrainedVAE):
    """Stage 1 on the originals, each under TURNS random angles, which the model is not told."""

    KIND = "turned"

    @property
    def label(self) -> str:
        return "stage 1, every angle"

    def images(self) -> Tensor:
        originals = self.setting.originals().to(self.setting.runtime.device)
        source = runtime.generator("cpu", self.setting.seed, "angles")
        degrees = 360 * torch.rand(TURNS, len(originals), generator=source)
        return torch.stack([turned(originals, each) for each in degrees])


@dataclass(frozen=True)
class TurnedStart(PrincipalStart, TurnedVAE):
    """Its start on principal components, of turned digits."""

    KIND = "turned_start"


@dataclass(frozen=True)
class TurnedFromPrincipal(FromPrincipal, TurnedVAE):
    """A TurnedVAE that goes on from where `start` ended."""


class ByAngle:
    """A CVAE trained as LAVAE is used: encode the original, decode it turned by a random angle.

    The condition is (cos, sin) of the angle, of the original (1, 0). most: angles are uniform in
    [0, most] degrees. images: uint8 (N, 28, 28), the originals.
    """

    def __init__(self, model: CVAE, images: Tensor, most: float, antithetic: bool):
        self.module, self._images = model, images
        self._most, self._antithetic = most, antithetic
        self.size, self.images_per_sample = len(images), 1

    def losses(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        x = to_float(self._images[index])
        degrees = self._most * torch.rand(len(x), generator=generator, device=x.device)
        mu, logvar = self.module.encode(x, condition(torch.zeros_like(degrees)))
        z = posterior_samples(mu, logvar, generator, self._antithetic)
        logits = self.module.decode(z, condition(degrees).repeat(len(z) // len(x), 1))
        return negative_elbo(logits, turn(x, degrees), mu, logvar)


def condition(degrees: Tensor) -> Tensor:
    """(N, 2): cosine and sine of the angles (N,)."""
    radians = torch.deg2rad(degrees)
    return torch.stack([radians.cos(), radians.sin()], dim=1)


@dataclass(frozen=True)
class TurningCVAE(Experiment):
    """A CVAE with a continuous condition, trained on angles from 0 to `most` degrees."""

    KIND = "turning_cvae"
    setting: Setting
    most: float
    schedule: Schedule
    antithetic: bool = False
    family = None

    def __post_init__(self) -> None:
        require_number("the largest angle", self.most, positive=True)

    @property
    def label(self) -> str:
        return f"CVAE, angles up to {self.most:g}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        images = self.setting.originals().to(self.setting.runtime.device)
        model = self.setting.fresh(CVAE, n_conditions=2)
        objective = ByAngle(model, images, self.most, self.antithetic)
        metadata = self.train(objective, self.schedule, checkpoint)
        self.save(model, folder)
        return metadata

    def load(self, folder: Path) -> CVAE:
        return CVAE.from_pretrained(folder).to(self.setting.runtime.device)


def vae(study: Study) -> LAVAE:
    """Stage 1 on every angle, from principal components where the profile starts there."""
    profile = study.profile
    common = {"setting": study.setting, "family": None, "antithetic": profile.antithetic}
    schedule = replace(profile.base, epochs=EPOCHS * profile.base.epochs)
    if profile.start is None:
        return load_or_train(TurnedVAE(schedule=schedule, **common))
    start = TurnedStart(schedule=profile.start, **common)
    return load_or_train(TurnedFromPrincipal(schedule=schedule, start=start, **common))


def cvae(study: Study, most: float) -> CVAE:
    """A CVAE of angles up to `most` degrees, which decodes as many images as stage 1."""
    profile = study.profile
    schedule = replace(profile.cvae_lavae, epochs=TURNS * EPOCHS * profile.base.epochs)
    return load_or_train(TurningCVAE(study.setting, float(most), schedule, profile.antithetic))
