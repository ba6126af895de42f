"""A condition, or a map? CVAEs with other codes than one-hots, prescribed maps on some of the latent
dimensions, and a LAVAE that knows the class (notebook 31).

All for a pair of involutions that commute, with the variants "", A1, A2 and A1 A2.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lavae_companion import data
from lavae_companion.beyond.prescribed import PrescribedObjective
from lavae_companion.comparisons import CVAE, LavaeStyleObjective
from lavae_companion.experiments import (
    Experiment,
    Setting,
    TrainedCVAE,
    TrainedThroughMaps,
    load_or_train,
)
from lavae_companion.results.scores import image_scores
from lavae_companion.study import Study
from lavae_core.augmentations import Family, to_float
from lavae_core.errors import InvalidInputError, require_known, require_whole
from lavae_core.losses import negative_elbo, posterior_samples
from lavae_core.models import CHUNK, LAVAE
from lavae_core.objectives import Objective
from lavae_core.training import Schedule

# Conditions of "", A1, A2 and A1 A2. A sum of one-hots is the paper's request for a composition, and
# (0, 1, 1) - (1, 0, 0) the one that the three others determine as they do the fourth pair of signs.
CODES = {
    "one-hot": [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)],
    "one-hot, affine": [(1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 1, 1)],
    "signs": [(1, 1), (-1, 1), (1, -1), (-1, -1)],
    "signs and product": [(1, 1, 1), (-1, 1, -1), (1, -1, -1), (-1, -1, 1)],
}
# The signs of a latent dimension under A1 and A2, in the order in which dimensions get them: a block
# of four is the regular representation.
CHARACTERS = [(-1, 1), (1, -1), (-1, -1), (1, 1)]
STARTS = ("components", "random weights")


def require_commuting_involutions(family: Family) -> None:
    """Raise InvalidInputError unless `family` is a pair of augmentations of order 2, with its four
    variants."""
    if family.orders != (2, 2) or family != Family(family.generators):
        raise InvalidInputError(
            f"signs stand for two augmentations of order 2, such as flip_lr,flip_ud; got {family}"
        )


def codes(name: str) -> Tensor:
    """(4, n): the conditions of the four variants. Raises InvalidInputError for an unknown name."""
    require_known("code", name, CODES)
    return torch.tensor(CODES[name], dtype=torch.float32)


class CodedObjective(LavaeStyleObjective):
    """A CVAE trained as LAVAE is used, with these conditions (V, n) of the variants in `images`."""

    def __init__(self, model: CVAE, images: Tensor, antithetic: bool, conditions: Tensor):
        super().__init__(model, images, antithetic)
        self._conditions = conditions.to(images.device)


@dataclass(frozen=True)
class CodedCVAE(Experiment):
    """A LAVAE-style CVAE with one of CODES. composed: trained on the composition as well (bound)."""

    KIND = "coded_cvae"
    setting: Setting
    family: Family
    code: str = "signs"
    composed: bool = False
    schedule: Schedule = field(kw_only=True)
    antithetic: bool = False
    load = TrainedCVAE.load

    def __post_init__(self) -> None:
        require_commuting_involutions(self.family)
        require_known("code", self.code, CODES)

    @property
    def label(self) -> str:
        return f"CVAE, {self.code}{', composed too' if self.composed else ''}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        conditions = codes(self.code)
        images = self.setting.variants(self.family if self.composed else self.family.singles)
        model = self.setting.fresh(CVAE, n_conditions=conditions.shape[1])
        objective = CodedObjective(model, images, self.antithetic, conditions[: len(images)])
        metadata = self.train(objective, self.schedule, checkpoint)
        self.save(model, folder)
        return metadata


@torch.no_grad()
def coded_bce(model: CVAE, conditions: Tensor, images: Tensor) -> Tensor:
    """(4, N): BCE of each variant (4, N, 28, 28), of the original encoded and decoded under its
    condition (4, n)."""
    conditions, rows = conditions.to(images.device), []
    for part in images.split(CHUNK, dim=1):
        mu, _ = model.encode(to_float(part[0]), conditions[:1].expand(part.shape[1], -1))
        logits = [model.decode(mu, each.expand(len(mu), -1)) for each in conditions]
        rows.append(_bce(logits, part))
    return torch.cat(rows, dim=1)


def _bce(logits: list[Tensor], images: Tensor) -> Tensor:
    pairs = zip(logits, images, strict=True)
    return torch.stack([image_scores(lambda code: code, each, x)[0] for each, x in pairs])


def prescribed_maps(latent_dim: int, k: int) -> Tensor:
    """(2, d, d): diagonal maps that act on the first k dimensions, by CHARACTERS in turn, and are 1 on
    the others. Raises InvalidInputError unless k is a whole number from 0 to d."""
    require_whole("k", k, 0, latent_dim)
    signs = [CHARACTERS[i % 4] if i < k else (1, 1) for i in range(latent_dim)]
    return torch.diag_embed(torch.tensor(signs, dtype=torch.float32).t())


@dataclass(frozen=True)
class Prescribed(TrainedThroughMaps):
    """Encoder and decoder trained through `prescribed_maps` on k dimensions. The composition is in
    stage 1, but never mapped."""

    KIND = "prescribed_signs"
    k: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_commuting_involutions(self.family)
        require_whole("k", self.k, 0, self.setting.latent_dim)

    @property
    def label(self) -> str:
        return f"prescribed signs on {self.k} dimensions"

    def objective(self, model: LAVAE, images: Tensor) -> Objective:
        signs = prescribed_maps(self.setting.latent_dim, self.k)
        model.maps.matrices.data = signs.to(model.maps.matrices)
        return PrescribedObjective(
            model, images, self.singles, self.weight, antithetic=self.antithetic
        )


class ClassObjective:
    """Stage 1 with the class as the condition (N, n) of every variant (V, N, 28, 28)."""

    def __init__(self, model: CVAE, images: Tensor, conditions: Tensor, antithetic: bool):
        self.module, self._antithetic = model, antithetic
        self._images = images.flatten(0, 1)
        self._conditions = conditions.to(images.device).repeat(len(images), 1)
        self.size, self.images_per_sample = len(self._images), 1

    def losses(self, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        x, condition = to_float(self._images[index]), self._conditions[index]
        mu, logvar = self.module.encode(x, condition)
        z = posterior_samples(mu, logvar, generator, self._antithetic)
        logits = self.module.decode(z, condition.repeat(len(z) // len(mu), 1))
        return negative_elbo(logits, x, mu, logvar)


@dataclass(frozen=True)
class ClassVAE(Experiment):
    """Stage 1 of a family whose encoder and decoder are told the class of the image, as a one-hot."""

    KIND = "class_vae"
    setting: Setting
    family: Family
    schedule: Schedule = field(kw_only=True)
    antithetic: bool = False
    load = TrainedCVAE.load

    @property
    def label(self) -> str:
        return f"class-conditional stage 1, {self.family}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        setting = self.setting
        given = data.load("train", dataset=setting.dataset, limit=setting.n_train).labels
        conditions = one_hots(given)
        model = setting.fresh(CVAE, n_conditions=conditions.shape[1])
        images = setting.variants(self.family)
        objective = ClassObjective(model, images, conditions, self.antithetic)
        metadata = self.train(objective, self.schedule, checkpoint)
        self.save(model, folder)
        return metadata


def one_hots(labels: Tensor) -> Tensor:
    """(N, 10): one-hots of labels (N,) from 0 to 9."""
    return torch.nn.functional.one_hot(labels.long(), 10).float()


@torch.no_grad()
def class_latents(model: CVAE, images: Tensor, labels: Tensor) -> Tensor:
    """(V, N, d): posterior means of variants (V, N, 28, 28) whose classes (N,) the model is told."""
    conditions = one_hots(labels).to(images.device)
    rows = [
        torch.cat([model.encode(to_float(x), c)[0] for x, c in zip(row.split(CHUNK), conditions.split(CHUNK), strict=True)])
        for row in images
    ]  # fmt: skip
    return torch.stack(rows)


# -- the models of a profile ----------------------------------------------------------------------


def coded(study: Study, family: Family, code: str, composed: bool = False) -> CVAE:
    """A CodedCVAE that decodes as many images in training as stage 1 of a pair."""
    profile, decoded = study.profile, 4 if composed else 3
    schedule = replace(profile.cvae_lavae, epochs=4 / decoded * profile.base.epochs)
    return load_or_train(
        CodedCVAE(
            study.setting, family, code, composed,
            schedule=schedule, antithetic=profile.antithetic,
        )
    )  # fmt: skip


def prescribed(study: Study, family: Family, k: int, start: str) -> LAVAE:
    """A Prescribed from one of STARTS, as long as a pair's stage 1."""
    profile = study.profile
    begin = study.stage1(family).start if start == "components" else None
    return load_or_train(
        Prescribed(study.setting, family, profile.base, profile.antithetic, begin, k=k)
    )


def class_vae(study: Study, family: Family) -> CVAE:
    """A ClassVAE, as long as stage 1 of a pair."""
    profile = study.profile
    schedule = replace(profile.base, lr=profile.cvae.lr)
    return load_or_train(
        ClassVAE(study.setting, family, schedule=schedule, antithetic=profile.antithetic)
    )
