"""Training through prescribed maps: what they are, that they stay, and the loss."""

from dataclasses import replace

import pytest
import torch
from made_up import generator, normal, spread, uint8_images

from lavae_companion.beyond import groups, prescribed, representations
from lavae_companion.beyond.groups import Orbit
from lavae_companion.beyond.prescribed import PrescribedObjective, TrainedPrescribed
from lavae_companion.experiments import PrincipalStart, load_or_train
from lavae_companion.profiles import Start
from lavae_core.augmentations import Family, variants
from lavae_core.errors import InvalidInputError
from lavae_core.models import LAVAE
from lavae_core.through_maps import ThroughMapsObjective
from lavae_core.training import Schedule

SQUARE, FLIPS = Orbit("rotate_cw,flip_lr"), Orbit("flip_lr,flip_ud")
PAIR = Family.parse("flip_lr,flip_ud")
INDEX = torch.tensor([1, 0, 3])


def latents(counts: dict[str, int]) -> torch.Tensor:
    """(3, 300, d) of originals and single variants, under a representation of the square."""
    blocks = representations.block_diagonal(SQUARE.parts, counts)
    d = blocks.shape[-1]
    basis = torch.eye(d).double() + 0.1 * normal(d, d).double()
    matrices = (torch.linalg.inv(basis) @ blocks @ basis)[[0, 1, 2]]  # "", L1, L2
    return normal(300, d).double() @ matrices


def relators_of(matrices: torch.Tensor, orbit: Orbit) -> float:
    maps = groups.LatentMaps(len(matrices), matrices.shape[-1])
    maps.matrices.data = matrices
    return max(representations.residuals(maps, orbit.group.relators()).values())


def test_multiplicities_of_the_components_and_of_the_regular_representation():
    given = {"++": 3, "+-": 1, "-+": 2, "--": 2, "2-dim": 4}
    z = latents(given)
    near = prescribed.representation(z, SQUARE, "components")
    regular = prescribed.representation(z, SQUARE, "regular")
    assert relators_of(near, SQUARE) < 1e-9 and relators_of(regular, SQUARE) < 1e-9
    assert (z[0] @ near - z[1:]).abs().max() < 1e-3 < (z[0] @ regular - z[1:]).abs().max()
    counts = prescribed.regular_counts(SQUARE, 16)
    assert counts == {"++": 2, "+-": 2, "-+": 2, "--": 2, "2-dim": 4}
    assert prescribed.regular_counts(FLIPS, 8) == {"++": 2, "+-": 2, "-+": 2, "--": 2}
    assert prescribed.regular_counts(Orbit("rotate_cw"), 4) == {"+": 1, "-": 1, "2-dim": 1}
    traces = regular.diagonal(dim1=1, dim2=2).sum(1)
    assert traces.abs().max() < 1e-9  # a regular representation moves every element
    moved = (z[0] @ regular - z[1:]).square().mean() / z[1:].square().mean()
    assert moved < 0.6  # one row of sixteen changed its part


def test_prescribed_maps_are_in_the_loss_and_never_change():
    images = variants(uint8_images(6), PAIR, split="train", seed=0)
    model = spread(LAVAE())
    model.maps.matrices.data = 0.3 * normal(2, 16, 16)
    objective = PrescribedObjective(model, images, [1, 2], 1.0, False)
    first = objective.losses(INDEX, generator(0))
    second = objective.losses(INDEX, generator(0))
    assert first == second
    through = ThroughMapsObjective(model, images, [1, 2])
    solved = through.losses(INDEX, generator(0))
    assert torch.equal(solved["reconstruction"], first["reconstruction"])
    assert solved["maps"] != first["maps"]
    model.maps.matrices.data = (
        through._maps(groups.latents(model, images[:, INDEX]).double()).float().detach()
    )  # of a first step, and of the same batch again
    again = PrescribedObjective(model, images, [1, 2], 1.0, False).losses(INDEX, generator(0))
    torch.testing.assert_close(again["maps"], solved["maps"], rtol=1e-2, atol=0)


@pytest.fixture
def experiment(setting):
    schedule = Schedule(epochs=1, batch=16, lr=1e-3, warmup=1)
    start = PrincipalStart(
        setting, PAIR, Start(epochs=0.5, batch=16, lr=1e-3, warmup=1, originals=16)
    )
    return TrainedPrescribed(setting, PAIR, schedule, True, start)


def test_a_trained_model_has_an_exact_representation(experiment):
    model = load_or_train(experiment)
    maps = model.maps.double()
    assert max(representations.residuals(maps, FLIPS.group.relators()).values()) < 1e-4
    assert not torch.equal(maps.matrices[0], torch.eye(16).double())
    other = load_or_train(replace(experiment, multiplicities="regular"))
    assert representations.character(other.maps.matrices).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({"multiplicities": "some"}, "some"),
        ({"start": None}, "None"),
        ({"weight": -1.0}, "-1"),
        ({"family": Family.parse("shear_x,canny")}, "shear_x"),
    ],
    ids=["multiplicities", "no start", "weight", "no group"],
)
def test_what_is_refused(experiment, changes, value):
    with pytest.raises(InvalidInputError, match=value):
        replace(experiment, **changes)


def test_dimensions_that_no_regular_representation_fills():
    with pytest.raises(InvalidInputError, match="12"):
        prescribed.regular_counts(SQUARE, 12)
