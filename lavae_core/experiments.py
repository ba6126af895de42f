"""Every kind of trained model as data: an experiment is a frozen dataclass of all that determines
its result, and knows how to make and to load it. Later stages contain the stages they stand on.

`load_or_train(experiment)` is the one way to a model; its key is a hash of the dataclass.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lavae_core import artifacts, augmentations, data, seeding, tasks, training
from lavae_core.augmentations import Pair
from lavae_core.errors import StoreError, require_known, require_number, require_whole
from lavae_core.latent_maps import VARIANT_WORDS, LatentMaps, Moments, NonLinearMaps, fit_exact
from lavae_core.models import CVAE, LATENT_DIM, LAVAE, Decoder
from lavae_core.profiles import Schedule
from lavae_core.runtime import THREADS, Runtime
from lavae_core.tasks import to_float

SOLVERS = ("exact", "sgd")
CVAE_TRAININGS = ("conditional", "lavae")
TENSORS = "tensors.safetensors"
# Originals that stage 2's moments are taken of, with their variants: the objective on all 60,000 is
# then within 0.15% of its minimum (flips: 0.01%).
N_FITTED = 15_000
CHUNK = 500  # images that are encoded at a time


@dataclass(frozen=True)
class Setting:
    """What all experiments of a run share. n_train: training images, the first ones; None: all.

    Raises InvalidInputError for an unknown data set, or a latent_dim that is no whole number from 1.
    """

    seed: int
    runtime: Runtime
    n_train: int | None = None
    dataset: str = "mnist"
    latent_dim: int = LATENT_DIM

    def __post_init__(self) -> None:
        require_known("data set", self.dataset, data.DATASETS)
        require_whole("latent_dim", self.latent_dim, 1)

    def originals(self) -> Tensor:
        """uint8 (N, 28, 28): the training images."""
        return data.load("train", dataset=self.dataset, limit=self.n_train).images

    def variants(self, pair: str) -> Tensor:
        """uint8 (4, N, 28, 28) on the device: the four variants of the training images."""
        parsed = Pair.parse(pair)
        found = augmentations.variants(self.originals(), parsed, split="train", seed=self.seed)
        return found.to(self.runtime.device)

    def fresh(self, build: Callable[..., nn.Module], **options) -> Any:
        """A new module, its weights drawn from the seed, on the device."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeding.stream(self.seed, "weights"))
            return build(latent_dim=self.latent_dim, **options).to(self.runtime.device)


class Experiment:
    """Base of the experiments. VERSION is raised when the code changes what a stage computes.

    READS: kinds of stages that `make` loads beside those in its fields.
    start: the experiment whose model this one trains on; None: it begins at random weights.
    """

    KIND: ClassVar[str]
    VERSION: ClassVar[int] = 1
    READS: ClassVar[tuple[type["Experiment"], ...]] = ()
    start: "Stage1 | None" = None

    def spec(self) -> dict[str, Any]:
        """All that determines the result, as JSON: hashed into the key of the artifact."""
        sums = [data.DATASETS[self.setting.dataset].files[name].sha256
                for name in sorted(data.DATASETS[self.setting.dataset].files)]  # fmt: skip
        kinds = [kind for stage in self._stages() for kind in (type(stage), *stage.READS)]
        pairs = [Pair.parse(pair) for stage in self._stages() for pair in stage.pairs]
        names = {name for pair in pairs for name in (pair.first, pair.second)}
        return asdict(self) | {
            "versions": {kind.KIND: kind.VERSION for kind in kinds},
            "threads": THREADS, "data_sha256": sums,
            "augmentations": {name: augmentations.fingerprint(name) for name in sorted(names)},
        }  # fmt: skip

    @property
    def pairs(self) -> list[str]:
        """The pairs whose images this stage itself is trained on."""
        found = (getattr(self, name, None) for name in ("pair", "evaluated"))
        return [pair for pair in found if pair is not None]

    def train(self, task: tasks.Task, schedule: Schedule, checkpoint: Path) -> dict[str, Any]:
        """Run the loop; what the manifest should tell."""
        return training.train(
            task, schedule, seed=self.setting.seed, runtime=self.setting.runtime,
            checkpoint=checkpoint, label=self.label,
        )  # fmt: skip

    def _stages(self) -> list["Experiment"]:
        """This experiment and those that it stands on."""
        inner = [value for value in vars(self).values() if isinstance(value, Experiment)]
        return [self] + [stage for value in inner for stage in value._stages()]


@dataclass(frozen=True)
class Stage1(Experiment):
    """Encoder and decoder on the four variants of a pair; pair None: a plain VAE on originals.

    antithetic: two mirrored samples of every posterior instead of one (see profiles.Profile).
    """

    KIND = "stage1"
    setting: Setting
    pair: str | None
    schedule: Schedule
    lambda_recon: float = 1.0
    lambda_kl: float = 1.0
    antithetic: bool = False

    def __post_init__(self) -> None:
        require_number("lambda_recon", self.lambda_recon)
        require_number("lambda_kl", self.lambda_kl)

    @property
    def label(self) -> str:
        return f"stage 1, {self.pair or 'originals only'}"

    def initial(self) -> LAVAE:
        """The model that training begins with: random weights."""
        return self.setting.fresh(LAVAE)

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        if self.pair is None:
            images = self.setting.originals()[None].to(self.setting.runtime.device)
        else:
            images = self.setting.variants(self.pair)
        model = self.initial()
        weights = self.lambda_recon, self.lambda_kl
        task = tasks.Stage1(model, images, weights, self.antithetic)
        told = self.train(task, self.schedule, checkpoint)
        model.save_pretrained(folder)
        return told

    def load(self, folder: Path) -> LAVAE:
        return _pretrained(LAVAE, folder, self.setting)


@dataclass(frozen=True)
class Latents(Experiment):
    """mu and log-variance, each (V, N, 16), of the training images in the first V variants: 1 for
    the originals alone, 3 for original, first and second."""

    KIND = "latents"
    VERSION = 2
    stage1: Stage1
    n_variants: int

    @property
    def setting(self) -> Setting:
        return self.stage1.setting

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        images = self.setting.variants(self.stage1.pair)[: self.n_variants]
        mu, logvar = encode_variants(load_or_train(self.stage1), images)
        save_file({"mu": mu, "logvar": logvar}, folder / TENSORS)
        return {}

    def load(self, folder: Path) -> tuple[Tensor, Tensor]:
        found = load_file(folder / TENSORS, device=self.setting.runtime.device)
        return found["mu"], found["logvar"]


@dataclass(frozen=True)
class Maps(Experiment):
    """Stage 1 and its latent maps (stage 2). solver: "exact" on the first N_FITTED originals and
    their variants, or "sgd" on all, with a schedule."""

    KIND = "maps"
    VERSION = 3
    READS = (Latents,)
    stage1: Stage1
    solver: str = "exact"
    lambda_inv: float = 1.0
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        require_known("solver", self.solver, SOLVERS)
        require_number("lambda_inv", self.lambda_inv)

    @property
    def setting(self) -> Setting:
        return self.stage1.setting

    @property
    def label(self) -> str:
        return f"stage 2, {self.stage1.pair}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        model, pair = load_or_train(self.stage1), Pair.parse(self.stage1.pair)
        told: dict[str, Any] = {}
        if self.solver == "exact":
            images = self.setting.variants(self.stage1.pair)[:3, :N_FITTED]
            maps = fit_maps(model, images, pair.orders, self.lambda_inv)
            model.maps.matrices.data = maps.to(model.maps.matrices)
        else:
            mu, logvar = load_or_train(Latents(self.stage1, 3))
            model.maps = self.setting.fresh(_random_maps)
            task = tasks.Stage2(model.maps, mu, logvar, pair.orders, self.lambda_inv)
            told = self.train(task, self.schedule, checkpoint)
        model.save_pretrained(folder)
        return told

    def load(self, folder: Path) -> LAVAE:
        return _pretrained(LAVAE, folder, self.setting)


@dataclass(frozen=True)
class NonLinear(Experiment):
    """Non-linear latent maps on the same stage 1 (ablation of Section IV-B)."""

    KIND = "nonlinear"
    READS = (Latents,)
    stage1: Stage1
    schedule: Schedule

    @property
    def setting(self) -> Setting:
        return self.stage1.setting

    @property
    def label(self) -> str:
        return f"non-linear maps, {self.stage1.pair}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        mu, logvar = load_or_train(Latents(self.stage1, 3))
        maps = self.setting.fresh(NonLinearMaps)
        told = self.train(tasks.Stage2(maps, mu, logvar), self.schedule, checkpoint)
        save_file(maps.state_dict(), folder / TENSORS)
        return told

    def load(self, folder: Path) -> NonLinearMaps:
        maps = NonLinearMaps(latent_dim=self.setting.latent_dim)
        try:
            maps.load_state_dict(load_file(folder / TENSORS))
        except RuntimeError as error:
            raise StoreError(f"these are no non-linear maps of this shape: {error}") from error
        return _ready(maps, self.setting)


@dataclass(frozen=True)
class Head(Experiment):
    """A fresh decoder head on frozen encoder and maps, for another pair (stage 3)."""

    KIND = "head"
    READS = (Latents,)
    maps: Maps
    evaluated: str
    schedule: Schedule

    @property
    def setting(self) -> Setting:
        return self.maps.setting

    @property
    def label(self) -> str:
        return f"stage 3, {self.maps.stage1.pair} -> {self.evaluated}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        base = load_or_train(self.maps)
        originals = load_or_train(Latents(self.maps.stage1, 1))[0][0]  # mu (N, 16)
        with torch.no_grad():
            latents = torch.stack([base.maps(originals, w) for w in VARIANT_WORDS.values()])
        decoder = self.setting.fresh(Decoder)
        task = tasks.Stage3(decoder, latents, self.setting.variants(self.evaluated))
        told = self.train(task, self.schedule, checkpoint)
        base.with_head(self.evaluated, decoder).save_pretrained(folder)
        return told

    def load(self, folder: Path) -> LAVAE:
        return _pretrained(LAVAE, folder, self.setting)


@dataclass(frozen=True)
class Conditional(Experiment):
    """A CVAE (Section V-C). how: "conditional" or "lavae", the two trainings of the paper.

    antithetic: see Stage1.
    """

    KIND = "cvae"
    setting: Setting
    pair: str
    how: str
    schedule: Schedule
    antithetic: bool = False

    def __post_init__(self) -> None:
        require_known("CVAE training", self.how, CVAE_TRAININGS)

    @property
    def label(self) -> str:
        return f"CVAE ({self.how}), {self.pair}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        images = self.setting.variants(self.pair)
        if self.how == "conditional":
            task = tasks.ConditionalCVAE(self.setting.fresh(CVAE), images, self.antithetic)
        else:
            model = self.setting.fresh(CVAE, n_conditions=3)
            task = tasks.LavaeLikeCVAE(model, images[:3], self.antithetic)
        told = self.train(task, self.schedule, checkpoint)
        task.module.save_pretrained(folder)
        return told

    def load(self, folder: Path) -> CVAE:
        return _pretrained(CVAE, folder, self.setting)


@dataclass(frozen=True)
class Joint(Experiment):
    """Stages 1 and 2 trained at once (the negative result of Section IV-B).

    antithetic: see Stage1. start: as that of the two stages that it is compared with.
    """

    KIND = "joint"
    VERSION = 2
    setting: Setting
    pair: str
    schedule: Schedule
    antithetic: bool = False
    start: Stage1 | None = None

    @property
    def label(self) -> str:
        return f"stages 1 and 2 at once, {self.pair}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        if self.start is None:
            model = self.setting.fresh(LAVAE)
        else:
            model = load_or_train(self.start).requires_grad_(True)
        model.maps = self.setting.fresh(_random_maps)
        images, orders = self.setting.variants(self.pair), Pair.parse(self.pair).orders
        task = tasks.Joint(model, images, orders, self.antithetic)
        told = self.train(task, self.schedule, checkpoint)
        model.save_pretrained(folder)
        return told

    def load(self, folder: Path) -> LAVAE:
        return _pretrained(LAVAE, folder, self.setting)


def load_or_train(experiment: Experiment) -> Any:
    """The trained model of `experiment` (or its latents), from the store or trained now.

    Raises StoreError where the store cannot be written, TrainingError for a loss that is not
    finite, DataError where there is no data.
    """
    return artifacts.get_or_make(
        experiment.KIND, experiment.spec(), experiment.make, experiment.load
    )


def _random_maps(latent_dim: int) -> LatentMaps:
    """Two maps with nn.Linear's random start. The identity, where maps start elsewhere, already
    satisfies the order term, and descent would hardly leave it."""
    maps = LatentMaps(latent_dim=latent_dim)
    for matrix in maps.matrices.data:
        nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))
    return maps


@torch.no_grad()
def encode(model: LAVAE, images: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 images (N, 28, 28) to mu and log-variance (N, 16) in fp32."""
    parts = [model.encode(to_float(part)) for part in images.split(CHUNK)]
    return torch.cat([mu for mu, _ in parts]), torch.cat([logvar for _, logvar in parts])


def encode_variants(model: LAVAE, images: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 images (V, N, 28, 28) to mu and log-variance, each (V, N, 16) in fp32."""
    mu, logvar = encode(model, images.flatten(0, 1))
    return mu.unflatten(0, images.shape[:2]), logvar.unflatten(0, images.shape[:2])


def fit_maps(
    model: LAVAE, images: Tensor, orders: tuple[int | None, ...], lambda_inv: float
) -> Tensor:
    """The maps (M, d, d) of stage 2 (Equation 6) for uint8 images (1 + M, N, 28, 28), originals
    first: those of `fit_exact`."""
    mu, logvar = encode_variants(model, images)
    return fit_exact(Moments(mu, logvar.double().exp()), orders, lambda_inv)


def _pretrained(kind: Any, folder: Path, setting: Setting) -> Any:
    return _ready(kind.from_pretrained(str(folder)), setting)


def _ready(module: nn.Module, setting: Setting) -> Any:
    return module.eval().requires_grad_(False).to(setting.runtime.device)
