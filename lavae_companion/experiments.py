"""Every kind of trained model as data: an experiment is a frozen dataclass of all that determines
its result, and knows how to make and to load it. Later stages contain the stages they stand on.

`load_or_train(experiment)` is the one way to a model; its key is a hash of the dataclass.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lavae_companion import comparisons, data, store
from lavae_companion.comparisons import CVAE, WIDTH, NonLinearMaps, random_maps
from lavae_companion.fingerprint import fingerprint
from lavae_companion.profiles import Start
from lavae_core import augmentations, objectives, runtime, training
from lavae_core.augmentations import Family
from lavae_core.errors import (
    InvalidInputError,
    StoreError,
    require_known,
    require_number,
    require_whole,
)
from lavae_core.initialisation import start_at_components
from lavae_core.latent_maps import Moments, fit_exact
from lavae_core.models import LATENT_DIM, LAVAE, NATIVE, Decoder, encode_variants
from lavae_core.runtime import THREADS, Runtime
from lavae_core.through_maps import ThroughMapsObjective
from lavae_core.training import Schedule

SOLVERS = ("exact", "means", "sgd")
CVAE_TRAININGS = ("conditional", "lavae")
TENSORS = "tensors.safetensors"
# Originals whose latents stage 2's moments are taken from, with those of their variants: the
# objective on all 60,000 is then within 0.15% of its minimum (flips: 0.01%).
N_FITTED = 15_000


def _family(key: str = "pair") -> Any:
    """A field that holds a Family; `key` names it in specifications, as it always has."""
    return field(metadata={"key": key})


def _added(default: Any, **options: Any) -> Any:
    """A field that is in specifications only where it is not `default`: older keys stay."""
    return field(default=default, metadata={"added": True}, **options)


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
        data.require_dataset(self.dataset)
        require_whole("latent_dim", self.latent_dim, 1)

    def originals(self) -> Tensor:
        """uint8 (N, 28, 28): the training images."""
        return data.load("train", dataset=self.dataset, limit=self.n_train).images

    def variants(self, family: Family) -> Tensor:
        """uint8 (V, N, 28, 28) on the device: the variants of the training images."""
        images = augmentations.variants(self.originals(), family, split="train", seed=self.seed)
        return images.to(self.runtime.device)

    def fresh(self, build: Callable[..., nn.Module], **options) -> Any:
        """A new module, its weights drawn from the seed, on the device."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(runtime.stream(self.seed, "weights"))
            return build(latent_dim=self.latent_dim, **options).to(self.runtime.device)


class Experiment:
    """Base of the experiments. VERSION is raised when the code changes what a stage computes.

    READS: kinds of stages that `make` loads beside those in its fields.
    start: the experiment whose model this one trains on; None: it begins with random weights.
    """

    KIND: ClassVar[str]
    VERSION: ClassVar[int] = 1
    READS: ClassVar[tuple[type["Experiment"], ...]] = ()
    start: "TrainedVAE | None" = None

    def spec(self) -> dict[str, Any]:
        """All that determines the result, as JSON: hashed into the key of the artifact."""
        stages = self._stages()
        kinds = [kind for stage in stages for kind in (type(stage), *stage.READS)]
        names = {
            name for stage in stages for family in stage.families for name in family.generators
        }
        return _as_json(self) | {
            "versions": {kind.KIND: kind.VERSION for kind in kinds},
            "threads": THREADS,
            "data_sha256": data.fingerprint(self.setting.dataset),
            "augmentations": {name: fingerprint(name) for name in sorted(names)},
        }

    @property
    def families(self) -> list[Family]:
        """The families whose images this stage itself is trained on."""
        return [value for value in vars(self).values() if isinstance(value, Family)]

    def save(self, model: LAVAE | CVAE, folder: Path) -> None:
        """Save a model with what it was trained on."""
        about = {"trained": self.label, "family": str(self.family or ""), "seed": self.setting.seed}
        about |= {"data": data.label(self.setting.dataset), "schedule": _as_json(self.schedule)}
        model.save_pretrained(folder, about)

    def train(self, objective: objectives.Objective, schedule: Schedule, checkpoint: Path) -> dict:
        """Run the training loop; returns metadata for the manifest.

        At a constant rate, the state after a power of two of epochs is that of a shorter training,
        and is kept for it: `load_or_train(at_epochs(self, 4))` then has no step left to do.
        """
        return training.train(
            objective, schedule, seed=self.setting.seed, runtime=self.setting.runtime,
            checkpoint=checkpoint, label=self.label, states=self._states(objective, schedule),
        )  # fmt: skip

    def _states(self, objective: objectives.Objective, schedule: Schedule) -> dict[int, Path]:
        states = {}
        epochs = 1
        while schedule.decay == "constant" and epochs < schedule.epochs:
            shorter = at_epochs(self, epochs)
            if not store.exists(shorter.KIND, shorter.spec()):
                steps = training.total_steps(objective, shorter.schedule)
                states[steps] = store.checkpoint(shorter.KIND, shorter.spec())
            epochs *= 2
        return states

    def _stages(self) -> list["Experiment"]:
        """This experiment and those that it stands on."""
        inner = [value for value in vars(self).values() if isinstance(value, Experiment)]
        return [self] + [stage for value in inner for stage in value._stages()]


def _as_json(value: Any) -> Any:
    """A dataclass as a dictionary of its fields: families as text, a data set without its path."""
    if isinstance(value, Family):
        return str(value)
    if isinstance(value, Setting):
        own = {each.name: _as_json(getattr(value, each.name)) for each in fields(value)}
        return own | {"dataset": data.label(value.dataset)}
    if is_dataclass(value):
        return {
            key: _as_json(getattr(value, each.name))
            for each in fields(value)
            if (key := each.metadata.get("key", each.name))
            and not (each.metadata.get("added") and getattr(value, each.name) == each.default)
        }
    return value


def at_epochs(experiment: Any, epochs: float) -> Any:
    """The same training for another number of epochs."""
    return replace(experiment, schedule=replace(experiment.schedule, epochs=epochs))


class _OfLAVAE(Experiment):
    """An experiment whose result is a LAVAE."""

    def load(self, folder: Path) -> LAVAE:
        return LAVAE.from_pretrained(folder).to(self.setting.runtime.device)


@dataclass(frozen=True)
class TrainedVAE(_OfLAVAE):
    """Stage 1: encoder and decoder on the variants of a family; None: a plain VAE of originals.

    antithetic: two samples of every posterior instead of one (see profiles.Profile).
    """

    KIND = "stage1"
    setting: Setting
    family: Family | None = _family()
    schedule: Schedule
    lambda_recon: float = 1.0
    lambda_kl: float = 1.0
    antithetic: bool = False

    def __post_init__(self) -> None:
        require_number("lambda_recon", self.lambda_recon)
        require_number("lambda_kl", self.lambda_kl)

    @property
    def label(self) -> str:
        return f"stage 1, {self.family or 'originals only'}"

    def initial(self) -> LAVAE:
        """The model that training begins with: random weights."""
        n_maps = 2 if self.family is None else len(self.family.generators)
        return self.setting.fresh(LAVAE, n_maps=n_maps)

    def images(self) -> Tensor:
        """uint8 (V, N, 28, 28) on the device: what it is trained on."""
        if self.family is None:
            return self.setting.originals()[None].to(self.setting.runtime.device)
        return self.setting.variants(self.family)

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        model, images = self.initial(), self.images()
        weights = self.lambda_recon, self.lambda_kl
        objective = objectives.VAEObjective(model, images, weights, self.antithetic)
        metadata = self.train(objective, self.schedule, checkpoint)
        self.save(model, folder)
        return metadata


@dataclass(frozen=True)
class PrincipalStart(TrainedVAE):
    """A decoder, and the posterior's variance, trained on principal components: the encoder's
    convolutions stay random and its means are the components."""

    KIND = "start"
    schedule: Start

    @property
    def label(self) -> str:
        return f"{super().label}, start"

    def initial(self) -> LAVAE:
        model = super().initial()
        images = self.images()[:, : self.schedule.originals]
        start_at_components(model.encoder, images.flatten(0, 1))
        for layer in (model.encoder.conv1, model.encoder.conv2, model.encoder.to_mu):
            layer.requires_grad_(False)
        return model


@dataclass(frozen=True)
class FromPrincipal(TrainedVAE):
    """Stage 1 of a family, all of its weights trained from where `start` ended."""

    start: PrincipalStart = field(kw_only=True)

    def initial(self) -> LAVAE:
        return load_or_train(self.start).requires_grad_(True)


def from_principal(stage1: TrainedVAE, schedule: Start | None) -> TrainedVAE:
    """`stage1` after a start of this schedule; `stage1` itself, from random weights, for None."""
    if schedule is None:
        return stage1
    common = {each.name: getattr(stage1, each.name) for each in fields(TrainedVAE)}
    return FromPrincipal(**common, start=PrincipalStart(**common | {"schedule": schedule}))


class _OnStage1(Experiment):
    """An experiment that stands on a stage 1."""

    stage1: TrainedVAE

    @property
    def setting(self) -> Setting:
        return self.stage1.setting

    @property
    def family(self) -> Family:
        return self.stage1.family


@dataclass(frozen=True)
class Latents(_OnStage1):
    """mu and log-variance, each (V, N, 16), of the training images: n_variants 1 for the originals
    alone, 1 + k for originals and single variants."""

    KIND = "latents"
    VERSION = 2
    stage1: TrainedVAE
    n_variants: int

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        images = self.setting.variants(self.family.singles)[: self.n_variants]
        mu, logvar = encode_variants(load_or_train(self.stage1), images)
        save_file({"mu": mu, "logvar": logvar}, folder / TENSORS)
        return {}

    def load(self, folder: Path) -> tuple[Tensor, Tensor]:
        tensors = load_file(folder / TENSORS, device=self.setting.runtime.device)
        return tensors["mu"], tensors["logvar"]


def single_latents(stage1: TrainedVAE) -> Latents:
    """Latents of the originals and of every single variant."""
    return Latents(stage1, 1 + len(stage1.family.generators))


@dataclass(frozen=True)
class FittedMaps(_OnStage1, _OfLAVAE):
    """Stage 1 and its latent maps (stage 2), one for each generator. solver: "exact" on the first
    N_FITTED originals and their single variants, "means" on their posterior means instead of samples
    of the posterior, or "sgd" on all, with a schedule. stage1: of a joint training, these maps
    replace its own."""

    KIND = "maps"
    VERSION = 3
    READS = (Latents,)
    stage1: "TrainedVAE | JointLAVAE"
    solver: str = "exact"
    lambda_inv: float = 1.0
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        require_known("solver", self.solver, SOLVERS)
        require_number("lambda_inv", self.lambda_inv)

    @property
    def label(self) -> str:
        return f"stage 2, {self.family}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        model, orders = load_or_train(self.stage1), self.family.orders
        metadata: dict[str, Any] = {}
        if self.solver != "sgd":
            images = self.setting.variants(self.family.singles)[:, :N_FITTED]
            mu, logvar = encode_variants(model, images)
            var = logvar.double().exp() if self.solver == "exact" else torch.zeros_like(logvar)
            matrices = fit_exact(Moments(mu, var), orders, self.lambda_inv)
            model.maps.matrices.data = matrices.to(model.maps.matrices)
        else:
            mu, logvar = load_or_train(single_latents(self.stage1))
            model.maps = self.setting.fresh(random_maps, n_maps=len(orders))
            objective = objectives.MapObjective(model.maps, mu, logvar, orders, self.lambda_inv)
            metadata = self.train(objective, self.schedule, checkpoint)
        self.save(model, folder)
        return metadata


@dataclass(frozen=True)
class TrainedNonLinearMaps(_OnStage1):
    """Non-linear latent maps on the same stage 1 (ablation of Section IV-B). width: hidden units."""

    KIND = "nonlinear"
    READS = (Latents,)
    stage1: TrainedVAE
    schedule: Schedule
    width: int = _added(WIDTH)

    def __post_init__(self) -> None:
        require_whole("width", self.width, 1)

    @property
    def label(self) -> str:
        return f"non-linear maps, {self.family}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        mu, logvar = load_or_train(single_latents(self.stage1))
        maps = self.setting.fresh(NonLinearMaps, n_maps=len(mu) - 1, width=self.width)
        objective = objectives.MapObjective(maps, mu, logvar)
        metadata = self.train(objective, self.schedule, checkpoint)
        save_file(maps.state_dict(), folder / TENSORS)
        return metadata

    def load(self, folder: Path) -> NonLinearMaps:
        maps = NonLinearMaps(len(self.family.generators), self.setting.latent_dim, self.width)
        try:
            maps.load_state_dict(load_file(folder / TENSORS))
        except RuntimeError as error:
            raise StoreError(f"these are no non-linear maps of this shape: {error}") from error
        return maps.eval().requires_grad_(False).to(self.setting.runtime.device)


@dataclass(frozen=True)
class TransferHead(_OfLAVAE):
    """A fresh decoder head on frozen encoder and maps, for another family (stage 3).

    Raises InvalidInputError unless both families have the same words.
    """

    KIND = "head"
    READS = (Latents,)
    maps: FittedMaps
    target: Family = _family("evaluated")
    schedule: Schedule

    def __post_init__(self) -> None:
        require_same_words(self.maps.family, self.target)

    @property
    def setting(self) -> Setting:
        return self.maps.setting

    @property
    def family(self) -> Family:
        return self.maps.family

    @property
    def label(self) -> str:
        return f"stage 3, {self.family} -> {self.target}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        base, words = load_or_train(self.maps), self.target.latent_words.values()
        originals = load_or_train(Latents(self.maps.stage1, 1))[0][0]  # mu (N, 16)
        with torch.no_grad():
            latents = torch.stack([base.maps(originals, word) for word in words])
        decoder = self.setting.fresh(Decoder)
        objective = objectives.HeadObjective(decoder, latents, self.setting.variants(self.target))
        metadata = self.train(objective, self.schedule, checkpoint)
        self.save(base.with_head(str(self.target), decoder), folder)
        return metadata


@dataclass(frozen=True)
class FineTunedNative(_OfLAVAE):
    """The native decoder trained on, as a head named `NAME`, on posterior means of the variants,
    directly encoded: the control of a transfer head for the same family. It misses the noise of
    stage 1 as a head does, but sees no mapped latents."""

    KIND = "tuned"
    NAME = "fine-tuned"
    maps: FittedMaps
    schedule: Schedule

    @property
    def setting(self) -> Setting:
        return self.maps.setting

    @property
    def label(self) -> str:
        return f"native decoder, fine-tuned, {self.maps.family}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        base, images = load_or_train(self.maps), self.setting.variants(self.maps.family)
        decoder = self.setting.fresh(Decoder)
        decoder.load_state_dict(base.decoders[NATIVE].state_dict())
        objective = objectives.HeadObjective(decoder, encode_variants(base, images)[0], images)
        metadata = self.train(objective, self.schedule, checkpoint)
        base.with_head(self.NAME, decoder).save_pretrained(folder)
        return metadata


@dataclass(frozen=True)
class TrainedCVAE(Experiment):
    """A CVAE (Section V-C). how: "conditional" or "lavae", the two trainings of the paper."""

    KIND = "cvae"
    setting: Setting
    family: Family = _family()
    how: str
    schedule: Schedule
    antithetic: bool = False

    def __post_init__(self) -> None:
        require_known("CVAE training", self.how, CVAE_TRAININGS)

    @property
    def label(self) -> str:
        return f"CVAE ({self.how}), {self.family}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        conditional = self.how == "conditional"
        images = self.setting.variants(self.family if conditional else self.family.singles)
        model = self.setting.fresh(CVAE, n_conditions=len(images))
        kind = comparisons.ConditionalObjective if conditional else comparisons.LavaeStyleObjective
        objective = kind(model, images, self.antithetic)
        metadata = self.train(objective, self.schedule, checkpoint)
        self.save(model, folder)
        return metadata

    def load(self, folder: Path) -> CVAE:
        return CVAE.from_pretrained(folder).to(self.setting.runtime.device)


@dataclass(frozen=True)
class JointLAVAE(_OfLAVAE):
    """Stages 1 and 2 trained at once (the negative result of Section IV-B).

    start: as that of the two stages that it is compared with. map_weight: of the maps' error.
    Raises InvalidInputError for a family without one of its single variants.
    """

    KIND = "joint"
    VERSION = 2
    setting: Setting
    family: Family = _family()
    schedule: Schedule
    antithetic: bool = False
    start: TrainedVAE | None = None
    map_weight: float = _added(1.0, kw_only=True)

    def __post_init__(self) -> None:
        require_number("map_weight", self.map_weight)
        for letter in self.family.letters:
            require_known("word of the family for joint training:", letter, self.family.words)

    @property
    def label(self) -> str:
        return f"stages 1 and 2 at once, {self.family}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        model = self.initial()
        objective = self.objective(model, self.setting.variants(self.family))
        metadata = self.train(objective, self.schedule, checkpoint)
        self.save(model, folder)
        return metadata

    def initial(self) -> LAVAE:
        """The model that training begins with."""
        if self.start is None:
            return self.setting.fresh(LAVAE, n_maps=len(self.family.generators))
        return load_or_train(self.start).requires_grad_(True)

    @property
    def singles(self) -> list[int]:
        """Places of the single variants among the words."""
        return [self.family.words.index(letter) for letter in self.family.letters]

    def objective(self, model: LAVAE, images: Tensor) -> objectives.Objective:
        """What trains `model` on `images`; the maps begin at random."""
        orders = self.family.orders
        model.maps = self.setting.fresh(random_maps, n_maps=len(orders))
        return comparisons.JointObjective(
            model, images, self.singles, orders, self.antithetic, self.map_weight
        )


@dataclass(frozen=True)
class TrainedThroughMaps(JointLAVAE):
    """Encoder and decoder trained through the maps (lavae_core.through_maps), in the place of a
    stage 1: FittedMaps fits the maps afterwards, as to any other."""

    KIND = "through_maps"
    VERSION = 1
    weight: float = 1.0
    gradient: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("weight", self.weight)
        require_number("gradient", self.gradient)

    @property
    def label(self) -> str:
        return f"through the maps, {self.family}"

    def objective(self, model: LAVAE, images: Tensor) -> objectives.Objective:
        return ThroughMapsObjective(
            model, images, self.singles, self.weight, self.gradient, self.antithetic
        )


def require_same_words(trained: Family, target: Family) -> None:
    """Raise InvalidInputError unless a head on `trained` can decode the variants of `target`."""
    if trained.words != target.words:
        raise InvalidInputError(
            f"a transfer needs two families of the same words: {trained} has {trained.words}, "
            f"{target} has {target.words}"
        )


def load_or_train(experiment: Experiment) -> Any:
    """The trained model of `experiment` (or its latents), from the store or trained now.

    Raises StoreError where the store cannot be written, TrainingError for a loss that is not
    finite, DataError where there is no data.
    """
    return store.get_or_make(experiment.KIND, experiment.spec(), experiment.make, experiment.load)
