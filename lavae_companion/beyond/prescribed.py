"""Encoder and decoder trained through maps that group theory prescribes (notebook 29).

The loss is that of training through the maps (lavae_core.through_maps), with matrices that never
change: an exact representation of the group that the augmentations generate. Its basis is that of the
principal components that training starts from, in which it is nearly true already. The steerers of
Bökman et al. (CVPR 2024) call this setting C.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lavae_companion.beyond.groups import Orbit, Represented, fit, latents, moments, represent
from lavae_companion.beyond.representations import block_diagonal
from lavae_companion.experiments import JointLAVAE, load_or_train
from lavae_companion.study import Study
from lavae_core import augmentations
from lavae_core.augmentations import Family
from lavae_core.errors import InvalidInputError, require_known, require_number
from lavae_core.models import LAVAE
from lavae_core.objectives import Objective
from lavae_core.through_maps import ThroughMapsObjective

MULTIPLICITIES = ("components", "regular")
N_ORIGINALS = 3000  # that the representation is fitted to


class PrescribedObjective(ThroughMapsObjective):
    """ThroughMapsObjective with the maps that `model` has, whatever its latents. Arguments as there."""

    def __init__(
        self, model: LAVAE, images: Tensor, singles: list[int], weight: float, antithetic: bool
    ):
        super().__init__(model, images, singles, weight, antithetic=antithetic)
        self._matrices = model.maps.matrices.detach().double()

    def _maps(self, mu: Tensor) -> Tensor:
        return self._matrices


@dataclass(frozen=True)
class TrainedPrescribed(JointLAVAE):
    """LAVAE trained through a prescribed representation, which its maps are.

    multiplicities: "components", those of the start; "regular", those of copies of the regular
    representation. Raises InvalidInputError for a family without a group, or no start.
    """

    KIND = "prescribed"
    VERSION = 1
    weight: float = field(default=1.0, kw_only=True)
    multiplicities: str = field(default="components", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("weight", self.weight)
        require_known("multiplicities", self.multiplicities, MULTIPLICITIES)
        Orbit(",".join(self.family.generators))
        if self.start is None:
            raise InvalidInputError(
                "a prescribed representation needs a start for its basis, got None"
            )

    @property
    def label(self) -> str:
        return f"through prescribed maps, {self.family}"

    def objective(self, model: LAVAE, images: Tensor) -> Objective:
        originals = self.setting.originals()[:N_ORIGINALS]
        variants = augmentations.variants(
            originals, self.family.singles, split="train", seed=self.setting.seed
        )
        z = latents(model, variants.to(images.device))
        model.maps.matrices.data = representation(
            z, Orbit(",".join(self.family.generators)), self.multiplicities
        ).to(model.maps.matrices)
        return PrescribedObjective(model, images, self.singles, self.weight, self.antithetic)


def representation(z: Tensor, orbit: Orbit, multiplicities: str) -> Tensor:
    """(k, d, d): the generators' matrices of an exact representation near latents (1 + k, n, d) of
    originals and single variants. Raises InvalidInputError as `represent` and `regular_counts`."""
    given = moments(z)
    near = represent(given, orbit, fit(given, orbit.group.relators()))
    if multiplicities == "components":
        return near.maps.matrices.data
    counts = regular_counts(orbit, z.shape[-1])
    basis = regrouped(near, orbit.parts, counts)
    places = [orbit.group.place(name) for name in orbit.group.generators]
    return torch.linalg.solve(basis, block_diagonal(orbit.parts, counts)[places] @ basis)


def regular_counts(orbit: Orbit, dims: int) -> dict[str, int]:
    """Multiplicities of as many regular representations as fill `dims` dimensions.

    Raises InvalidInputError where none do.
    """
    copies, rest = divmod(dims, len(orbit.group.words))
    if rest or not copies:
        raise InvalidInputError(
            f"regular representations of {len(orbit.group.words)} dimensions do not fill {dims}"
        )
    squares = {
        name: rho.diagonal(dim1=1, dim2=2).sum(1).square().mean()
        for name, rho in orbit.parts.items()
    }
    return {
        name: copies * rho.shape[-1] // round(squares[name].item())
        for name, rho in orbit.parts.items()
    }


def regrouped(near: Represented, parts: Mapping[str, Tensor], counts: Mapping[str, int]) -> Tensor:
    """The rows (d, d) of a basis in the order of other multiplicities: each part keeps its first rows,
    and rows of parts that have too many go to those that have too few."""
    own: dict[str, list[int]] = {name: [] for name in parts}
    for row, name in enumerate(near.names(parts)):
        own[name].append(row)
    wanted = {name: count * parts[name].shape[-1] for name, count in counts.items()}
    spare = [row for name in parts for row in own[name][wanted[name] :]]
    order = []
    for name, size in wanted.items():
        kept = own[name][:size]
        order += kept + [spare.pop(0) for _ in range(size - len(kept))]
    return near.basis[order]


def prescribed(study: Study, family: Family | str, multiplicities: str = "components") -> LAVAE:
    """LAVAE of a family trained through a prescribed representation, as long as `study.through_maps`."""
    stage1 = study.stage1(family)
    schedule = (
        study.profile.through_maps if stage1.schedule == study.profile.flips else study.profile.base
    )
    trained = TrainedPrescribed(
        study.setting, stage1.family, schedule, study.profile.antithetic, stage1.start,
        multiplicities=multiplicities,
    )  # fmt: skip
    return load_or_train(trained)
