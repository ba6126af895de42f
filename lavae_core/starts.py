"""Stage 1 that goes on from the best of several starts.

How far an encoder is from equivariant, and so what linear maps cost, is decided within the first
half of an epoch, differs several times between random weights and keeps its rank to the end of the
same training. It is judged on training images alone.
"""

import shutil
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lavae_core import seeding, tasks, training
from lavae_core.augmentations import Pair
from lavae_core.evaluation import autoencoding_scores, lavae_scores
from lavae_core.experiments import Stage1, encode, load_or_train
from lavae_core.latent_maps import Moments, fit_exact
from lavae_core.models import LAVAE
from lavae_core.profiles import Starts

N_JUDGED = 5000  # originals of the training set
STATE, COST = "state.safetensors", "cost.safetensors"


class Begun(NamedTuple):
    """The state of a training after its first steps, and what its maps would cost (BCE)."""

    state: Path
    cost: float


@dataclass(frozen=True)
class Start(Stage1):
    """The first `epochs` of stage 1 from random weights, the `index`-th of the seed."""

    KIND = "start"
    index: int = field(kw_only=True)
    epochs: float = field(kw_only=True)

    @property
    def label(self) -> str:
        return f"{super().label}, start {self.index + 1}"

    def task(self) -> tasks.Stage1:
        seed = seeding.stream(self.setting.seed, "start", self.index)
        task = super().task()
        task.module.load_state_dict(replace(self.setting, seed=seed).fresh(LAVAE).state_dict())
        return task

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        task = self.task()
        stop = training.total_steps(task, replace(self.schedule, epochs=self.epochs))
        told = self.train(task, self.schedule, checkpoint, stop=stop)
        shutil.copyfile(checkpoint, folder / STATE)
        images = self.setting.variants(self.pair)[:, :N_JUDGED]
        cost = torch.tensor(cost_of_maps(task.module, images, Pair.parse(self.pair)))
        save_file({"cost": cost}, folder / COST)
        return told

    def load(self, folder: Path) -> Begun:
        return Begun(folder / STATE, load_file(folder / COST)["cost"].item())


@dataclass(frozen=True)
class BestStart(Stage1):
    """Stage 1 of a pair, from the start whose maps cost least on to the end of the schedule."""

    candidates: tuple[Start, ...] = field(kw_only=True)

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        best = min(map(load_or_train, self.candidates), key=lambda begun: begun.cost)
        task = self.task()
        told = self.train(task, self.schedule, checkpoint, begin=best.state)
        task.module.save_pretrained(folder)
        return told


def best_start(stage1: Stage1, starts: Starts | None) -> Stage1:
    """`stage1` from the best of several starts; itself where None are asked for."""
    if starts is None:
        return stage1
    common = {each.name: getattr(stage1, each.name) for each in fields(Stage1)}
    found = (Start(**common, index=i, epochs=starts.epochs) for i in range(starts.count))
    return BestStart(**common, candidates=tuple(found))


def cost_of_maps(model: LAVAE, images: Tensor, pair: Pair) -> float:
    """BCE that exact maps of these images, fitted into `model`, add to the total of all variants
    decoded from their own latents.

    images: uint8 (4, N, 28, 28), the variants of the pair.
    """
    mu, logvar = (each.unflatten(0, (3, -1)) for each in encode(model, images[:3].flatten(0, 1)))
    model.maps.matrices.data = fit_exact(Moments(mu, logvar.double().exp()), pair.orders).to(mu)
    mapped, own = lavae_scores(model, images), autoencoding_scores(model, images)
    return (mapped.loc["total", "bce"] - own.loc["total", "bce"]).item()
