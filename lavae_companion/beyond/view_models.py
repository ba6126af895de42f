"""What is trained on views (notebook 32): LAVAE in two stages or through the maps, and a direct network.

The maps of both letters are fitted afterwards (camera.py).
"""

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lavae_companion.beyond.views import ANGLES, STEP, VIEWS, render_all, word_between
from lavae_companion.comparisons import CVAE
from lavae_companion.experiments import Experiment, Setting, load_or_train
from lavae_companion.profiles import Start
from lavae_companion.study import Study
from lavae_core import objectives
from lavae_core.augmentations import to_float
from lavae_core.initialisation import start_at_components
from lavae_core.losses import negative_elbo, posterior_samples
from lavae_core.models import LAVAE
from lavae_core.through_maps import ThroughMapsObjective
from lavae_core.training import Schedule

N_DIGITS = 20_000  # training digits, the first ones
# Passes through all views for one of the profile's `base`: 2,109 steps in the quick profile.
EPOCHS, BATCH, LR = 0.75, 64, 4e-3
# Of the direct network: ordered pairs of views that are one letter apart, or the same.
WAYS = [way for way in product(VIEWS, VIEWS) if sum(map(abs, word_between(*way))) <= 1]
# Places in VIEWS of the views that have both neighbours, and of their neighbours by L1, by L2, by both.
_CORNERS = [view for view in VIEWS if max(view) < ANGLES[-1]]
SQUARES = [
    [VIEWS.index((yaw + STEP * one, pitch + STEP * two)) for yaw, pitch in _CORNERS]
    for one, two in ((0, 0), (1, 0), (0, 1), (1, 1))
]


@dataclass(frozen=True)
class ViewsLAVAE(Experiment):
    """Stage 1 on all views of a body of N_DIGITS digits. Raise VERSION where what is rendered changes.

    start: None for random weights.
    """

    KIND = "views"
    family = None
    setting: Setting
    body: str
    schedule: Schedule
    antithetic: bool
    start: "ViewsStart | None" = None

    @property
    def label(self) -> str:
        return f"{self.KIND}, {self.body}"

    def images(self) -> Tensor:
        """uint8 (9, N, 28, 28) on the device: the views of the training digits."""
        digits = self.setting.originals()[:N_DIGITS]
        return render_all(digits, self.body).to(self.setting.runtime.device)

    def initial(self, images: Tensor) -> LAVAE | CVAE:
        if self.start is None:
            return self.setting.fresh(LAVAE)
        return load_or_train(self.start).requires_grad_(True)

    def objective(self, model: LAVAE, images: Tensor) -> objectives.Objective:
        return objectives.VAEObjective(model, images, antithetic=self.antithetic)

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        images = self.images()
        model = self.initial(images)
        metadata = self.train(self.objective(model, images), self.schedule, checkpoint)
        self.save(model, folder)
        return metadata

    def load(self, folder: Path) -> LAVAE:
        return LAVAE.from_pretrained(folder).to(self.setting.runtime.device)


@dataclass(frozen=True)
class ViewsStart(ViewsLAVAE):
    """A decoder trained on principal components of the views (as experiments.PrincipalStart)."""

    KIND = "views_start"
    schedule: Start

    def initial(self, images: Tensor) -> LAVAE:
        model = super().initial(images)
        start_at_components(model.encoder, images[:, : self.schedule.originals].flatten(0, 1))
        for layer in (model.encoder.conv1, model.encoder.conv2, model.encoder.to_mu):
            layer.requires_grad_(False)
        return model


@dataclass(frozen=True)
class ViewsThroughMaps(ViewsLAVAE):
    """Encoder and decoder trained through the maps of both camera steps (lavae_core.through_maps)."""

    KIND = "views_through"

    def objective(self, model: LAVAE, images: Tensor) -> objectives.Objective:
        squares = torch.stack([images[places].flatten(0, 1) for places in SQUARES])
        return ThroughMapsObjective(model, squares, (1, 2), antithetic=self.antithetic)


@dataclass(frozen=True)
class Direct(ViewsLAVAE):
    """A network from a view and a step to the next view, end to end."""

    KIND = "views_direct"

    def initial(self, images: Tensor) -> CVAE:
        return self.setting.fresh(CVAE, n_conditions=2)

    def objective(self, model: CVAE, images: Tensor) -> objectives.Objective:
        return DirectObjective(model, images, self.antithetic)

    def load(self, folder: Path) -> CVAE:
        return CVAE.from_pretrained(folder).to(self.setting.runtime.device)


class DirectObjective:
    """The negative ELBO of a view that is decoded from another one and the step between them.

    images: uint8 (9, N, 28, 28). A sample is a digit and an ordered pair of views that are one step
    apart, or the same. antithetic: see losses.posterior_samples.
    """

    def __init__(self, model: CVAE, images: Tensor, antithetic: bool = False):
        self.module, self._images, self._antithetic = model, images, antithetic
        places = [[VIEWS.index(view) for view in way] for way in WAYS]
        self._places = torch.tensor(places, device=images.device)
        self._words = torch.tensor([word_between(*way) for way in WAYS]).to(images.device).float()
        self.size, self.images_per_sample = len(WAYS) * images.shape[1], 1

    def losses(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        way, digit = index // self._images.shape[1], index % self._images.shape[1]
        x, y = (to_float(self._images[places, digit]) for places in self._places[way].t())
        mu, logvar = self.module.encode(x, self._words[way])
        z = posterior_samples(mu, logvar, generator, self._antithetic)
        logits = self.module.decode(z, self._words[way].repeat(len(z) // len(mu), 1))
        return negative_elbo(logits, y, mu, logvar)


def experiments(study: Study, body: str) -> dict[str, ViewsLAVAE]:
    """Every model of a body, not yet trained, with as many steps as stage 1 has."""
    profile, setting = study.profile, study.setting

    def lasting(images: int) -> Schedule:  # of a digit, in an epoch
        epochs = EPOCHS * profile.base.epochs * len(VIEWS) / images
        return replace(profile.base, epochs=epochs, batch=BATCH, lr=LR)

    common = {"setting": setting, "body": body, "antithetic": profile.antithetic}
    start = profile.start
    if start is not None:  # of fewer digits: each has nine views, not four
        begun = replace(start, originals=max(1, start.originals * 4 // len(VIEWS)))
        start = ViewsStart(**common, schedule=begun)
    return {
        "two stages": ViewsLAVAE(**common, schedule=lasting(len(VIEWS)), start=start),
        "through the maps": ViewsThroughMaps(
            **common, schedule=lasting(4 * len(SQUARES[0])), start=start
        ),
        "direct": Direct(**common, schedule=lasting(len(WAYS))),
        "two stages, random start": ViewsLAVAE(**common, schedule=lasting(len(VIEWS))),
    }
