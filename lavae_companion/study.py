"""The notebooks' entry point: the models of one profile and seed, and the test images."""

import sys
from collections.abc import Iterable
from functools import cached_property

import pandas as pd
import torch
from matplotlib.animation import Animation
from matplotlib.figure import Figure
from torch import Tensor

from lavae_companion import data, outputs, paths, profiles
from lavae_companion.comparisons import CVAE, WIDTH, NonLinearMaps
from lavae_companion.experiments import (
    FittedMaps,
    JointLAVAE,
    Latents,
    Setting,
    TrainedCVAE,
    TrainedNonLinearMaps,
    TrainedThroughMaps,
    TrainedVAE,
    TransferHead,
    from_principal,
    load_or_train,
)  # fmt: skip
from lavae_companion.paper import FLIPS, PAIRS
from lavae_companion.profiles import Profile
from lavae_companion.results import claims
from lavae_core import augmentations, runtime
from lavae_core.augmentations import Family
from lavae_core.errors import (
    InvalidInputError,
    LavaeError,
    require_known,
    require_number,
    require_seed,
    require_whole,
)  # fmt: skip
from lavae_core.models import LAVAE
from lavae_core.pretrained import shipped_list


class Study:
    """profile: "smoke", "quick", "long" or "paper". seed: a whole number from 0. device: "cpu",
    "cuda" or "cuda:N". dataset: "mnist", "fashion", or the path of a data set of one's own.

    Families are given as a Family or as its text. Raises InvalidInputError for a value that is not
    allowed.
    """

    def __init__(
        self, profile: str = "quick", seed: int = 0, device: str = "cpu", dataset: str = "mnist"
    ):
        _one_line_errors()
        require_seed(seed)
        self.profile = profiles.resolve(profile)
        # Of shipped weights, the precision that they were trained in is part of their names.
        precision = shipped_list()["provenance"]["precision"] if paths.shipped() else None
        started = runtime.start(device, precision)
        self.setting = Setting(seed, started, self.profile.n_train, dataset)
        self._variants: dict[Family, Tensor] = {}
        self._means: dict[Family, Tensor] = {}
        outputs.announce()

    @classmethod
    def of(cls, profile: Profile, setting: Setting) -> "Study":
        """The study of a setting, in its precision too."""
        study = cls(profile.name, setting.seed, setting.runtime.device, setting.dataset)
        runtime.start(setting.runtime.device, setting.runtime.precision)
        study.profile, study.setting = profile, setting
        return study

    # -- models: loaded, or trained first ------------------------------------------------------

    def stage1(self, family: Family | str | None) -> TrainedVAE:
        """The stage-1 experiment of a family (None: a plain VAE); not yet trained."""
        profile = self.profile
        if family is None:
            return TrainedVAE(self.setting, None, profile.vae, antithetic=profile.antithetic)
        parsed = Family.parse(family)
        schedule = profile.flips if parsed == FLIPS else profile.base
        plain = TrainedVAE(self.setting, parsed, schedule, antithetic=profile.antithetic)
        return from_principal(plain, profile.start)

    def lavae(self, family: Family | str, solver: str = "exact", lambda_inv: float = 1.0) -> LAVAE:
        """LAVAE of a family with its latent maps (stages 1 and 2)."""
        schedule = self.profile.maps if solver == "sgd" else None
        require_number("lambda_inv", lambda_inv)
        return load_or_train(FittedMaps(self.stage1(family), solver, float(lambda_inv), schedule))

    def transfer(self, trained: Family | str, evaluated: Family | str) -> LAVAE:
        """LAVAE of `trained` with a further head, named `evaluated`, for that family (stage 3)."""
        maps, target = FittedMaps(self.stage1(trained)), Family.parse(evaluated)
        return load_or_train(TransferHead(maps, target, self.profile.head))

    def vae(self) -> LAVAE:
        """A plain VAE: the same networks, trained on the originals alone."""
        return load_or_train(self.stage1(None))

    def cvae(self, family: Family | str, how: str) -> CVAE:
        """A CVAE of a family; how: "conditional" or "lavae" (Section V-C)."""
        profile, parsed = self.profile, Family.parse(family)
        schedule = profile.cvae_lavae if how == "lavae" else profile.cvae
        return load_or_train(TrainedCVAE(self.setting, parsed, how, schedule, profile.antithetic))

    def joint(self, family: Family | str) -> LAVAE:
        """LAVAE of a family with stages 1 and 2 trained at once."""
        profile, parsed = self.profile, Family.parse(family)
        start = self.stage1(parsed).start
        return load_or_train(
            JointLAVAE(self.setting, parsed, profile.joint, profile.antithetic, start)
        )

    def through_maps(
        self,
        family: Family | str,
        weight: float = 1.0,
        gradient: float = 0.05,
        solver: str = "exact",
        lambda_inv: float = 1.0,
    ) -> LAVAE:
        """LAVAE of a family trained through the maps, which are fitted again afterwards; weight and
        gradient: see lavae_core.through_maps."""
        profile, parsed = self.profile, Family.parse(family)
        schedule = profile.through_maps if parsed == FLIPS else profile.base
        start = self.stage1(parsed).start
        trained = TrainedThroughMaps(
            self.setting,
            parsed,
            schedule,
            profile.antithetic,
            start,
            float(weight),
            float(gradient),
        )
        return load_or_train(FittedMaps(trained, solver, float(lambda_inv)))

    def nonlinear(self, family: Family | str, width: int = WIDTH) -> NonLinearMaps:
        """Non-linear latent maps on the stage 1 of a family; width: hidden units."""
        return load_or_train(TrainedNonLinearMaps(self.stage1(family), self.profile.maps, width))

    def latents(self, family: Family | str) -> Tensor:
        """Posterior means (N, 16) of the training originals."""
        return load_or_train(Latents(self.stage1(family), 1))[0][0]

    # -- data ----------------------------------------------------------------------------------

    @cached_property
    def test_set(self) -> data.ImageSet:
        """The test images of this profile, uint8 (N, 28, 28), and their labels (N,)."""
        return data.load("test", dataset=self.setting.dataset, limit=self.profile.n_test)

    def variants(self, family: Family | str) -> Tensor:
        """uint8 (V, N, 28, 28) on the device: every variant of the test images."""
        parsed = Family.parse(family)
        if parsed not in self._variants:
            images = augmentations.variants(
                self.test_set.images, parsed, split="test", seed=self.setting.seed
            )
            self._variants[parsed] = images.to(self.setting.runtime.device)
        return self._variants[parsed]

    def mean_images(self, family: Family | str) -> Tensor:
        """float64 (V, 28, 28) in [0, 1] on the device: mean images of the variants of (up to) the
        first 10,000 training images."""
        parsed, setting = Family.parse(family), self.setting
        if parsed not in self._means:
            images = augmentations.variants(
                setting.originals()[:10_000], parsed, split="train", seed=setting.seed
            )
            self._means[parsed] = images.to(setting.runtime.device).double().div(255).mean(1)
        return self._means[parsed]

    def swapped(self, pair: Family | str) -> Tensor:
        """uint8 (N, 28, 28) on the device: the test images composed in the other order, A1(A2(x)).

        Raises InvalidInputError for a family that is no pair.
        """
        parsed = Family.parse(pair)
        if len(parsed.generators) != 2:
            raise InvalidInputError(f"only a pair has an other order, got the family {parsed}")
        return self.variants(Family(parsed.generators, ("", "A2 A1")))[1]

    def heatmap_pairs(self, count: int | None = None) -> list[Family]:
        """The first `count` (2 to 7) of the paper's pairs; None: as many as the profile says.

        Raises InvalidInputError for another count.
        """
        number = self.profile.n_pairs if count is None else count
        require_whole("the number of pairs", number, 2, len(PAIRS))
        return list(PAIRS[:number])

    def examples(self, digits: list[int]) -> list[int]:
        """Indices of the first test images with these labels; a label's second request gives the
        second image. Raises InvalidInputError for other input, or for more than there are."""
        if not isinstance(digits, list | tuple):
            raise InvalidInputError(f"digits must be a list such as [2, 7], got {digits!r}")
        labels = self.test_set.labels
        allowed = torch.unique(labels).tolist()
        chosen: list[int] = []
        for digit in digits:
            require_known("label of the data", digit, allowed)
            places = (labels == digit).nonzero().flatten().tolist()
            rank = digits[: len(chosen)].count(digit)
            if rank >= len(places):
                raise InvalidInputError(f"only {len(places)} test images show a {digit}")
            chosen.append(places[rank])
        return chosen

    # -- results -------------------------------------------------------------------------------

    def save_figure(self, figure: Figure, name: str) -> None:
        """Write name.png and name.pdf to the folder of this run."""
        outputs.save_figure(figure, name)

    def save_animation(self, animation: Animation, name: str) -> bytes:
        """Write name.gif to the folder of this run, and return its content."""
        return outputs.save_animation(animation, name)

    def save_table(self, table: pd.DataFrame, name: str, decimals: int = 4) -> None:
        """Write name.csv to the folder of this run. Raises InvalidInputError for an empty table."""
        outputs.save_table(table, name, decimals)

    def save_provenance(self, seeds: Iterable[int], name: str) -> None:
        """Write name.json to the folder of this run: on what name.csv was measured."""
        outputs.save_provenance(self.profile.name, self.setting, seeds, name)

    def check(self, item: str, *measured: dict[str, Tensor]) -> None:
        """Print what the paper claims about `item` and the verdict on what was measured here.

        measured: results of measurements.py. The verdict is of this seed alone; a claim about
        something else than was measured (another pair, another data set) has none, nor has smoke.
        """
        vectors = {name: each for part in measured for name, each in part.items()}
        setting = self.setting
        print(claims.report(item, vectors, setting.seed, setting.dataset, self.profile.name))


def _one_line_errors() -> None:
    """In a notebook, show an error of this package as its one line, not as a traceback."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        shell.set_custom_exc((LavaeError,), _show_line)


def _show_line(shell, kind, error, traceback, tb_offset=None) -> list[str]:
    lines = [f"{kind.__name__}: {error}"]
    shell._showtraceback(kind, error, lines)
    return lines
