"""Turned digits, and generators: those known in closed form are found, by each way to one."""

import math

import pytest
import torch
from made_up import normal, uint8_images
from torch.testing import assert_close

from lavae_companion import store
from lavae_companion.beyond import angles, turned
from lavae_companion.beyond.groups import moments
from lavae_companion.beyond.turned import TurnedFromPrincipal, TurnedStart, TurnedVAE, TurningCVAE
from lavae_companion.comparisons import CVAE
from lavae_companion.experiments import load_or_train
from lavae_companion.profiles import Start
from lavae_companion.study import Study
from lavae_core.augmentations import to_float
from lavae_core.errors import InvalidInputError
from lavae_core.models import encode
from lavae_core.training import Schedule

FREQUENCIES = [0, 0, 1, 1, 3]  # with their negatives, 8 dimensions
N = 16


def known(frequencies=FREQUENCIES, growth: float = 0.0) -> torch.Tensor:
    """A generator of these frequencies, in a basis that is not orthogonal."""
    blocks = [torch.tensor([[growth, k], [-k, growth]]) if k else torch.tensor([[growth]])
              for k in map(float, frequencies)]  # fmt: skip
    basis = torch.eye(sum(map(len, blocks))).double()
    basis += 0.3 * normal(*basis.shape).double() / len(basis) ** 0.5
    return basis @ torch.block_diag(*blocks).double() @ torch.linalg.inv(basis)


def latents(generator: torch.Tensor, count: int = N) -> torch.Tensor:
    """(N, n, d): normal latents, and those turned by the generator."""
    return normal(200, len(generator), seed=1).double() @ angles.at(
        generator, angles.radians(count)
    )


def test_images_turn_counter_clockwise_and_quarter_turns_are_exact():
    images = uint8_images(3)
    for quarters in range(-2, 5):
        assert torch.equal(
            turned.turned(images, 90.0 * quarters), torch.rot90(images, quarters, (1, 2))
        )
    each = turned.turned(images, torch.tensor([0.0, 90, 30]))
    assert torch.equal(each[0], images[0]) and torch.equal(each[1], torch.rot90(images[1]))
    assert torch.equal(each[2], turned.turned(images[2:], 30.0)[0])


def test_a_bar_turned_by_an_angle_lies_at_that_angle():
    bar = torch.zeros(1, 28, 28, dtype=torch.uint8)
    bar[:, 13:15, 4:24] = 255
    y, x = turned.turned(bar, 30.0)[0].nonzero().double().t() - 13.5
    assert math.degrees(math.atan2(-(x * y).sum(), (x * x).sum())) == pytest.approx(30, abs=2)


def test_autocast_does_not_change_an_angle():
    x = to_float(uint8_images(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(turned.turn(x, 10.0), turned.turn(x, 10.0).float())
        inside = turned.turn(x, 10.0)
    assert torch.equal(inside, turned.turn(x, 10.0))


def test_maps_of_every_angle_are_those_of_the_generator():
    true = known()
    for mu in (latents(true), angles.from_every_angle(latents(true))):
        assert_close(angles.turn_maps(mu), angles.at(true, angles.radians(N)), atol=1e-4, rtol=0)
    assert angles.from_every_angle(latents(true)).shape == (N, N * 200, 8)


def test_projectors_of_a_known_spectrum():
    projected = angles.projectors(angles.at(known(), angles.radians(N)))
    traces = angles.multiplicities(projected)
    assert_close(traces, torch.tensor([2.0, 2, 0, 1, 0, 0, 0, 0]).double())
    assert angles.idempotence(projected) < 1e-10
    assert_close(angles.of_projectors(projected), known())


def test_a_map_that_is_no_representation_has_no_projectors():
    projected = angles.projectors(angles.at(known(growth=-0.1), angles.radians(N)))
    assert angles.idempotence(projected) > 0.01


def test_whole_multiplicities_take_no_more_than_all_dimensions():
    assert angles.whole(torch.tensor([2.4, 1.9, 1.4]), 9) == [2, 2, 1]
    assert angles.whole(torch.tensor([1.6, 1.2]), 4) == [2, 1]
    assert angles.whole(torch.tensor([0.0, 2.0]), 5) == [0, 2]
    assert angles.whole(torch.tensor([1.0, 1.0, 0.5]), 4) == [1, 1, 0]


def test_half_a_pair_fades_and_the_others_stay_exact():
    """Latents without one of the two dimensions of a pair of frequency 3."""
    whole = torch.block_diag(
        torch.zeros(1, 1), *[torch.tensor([[0.0, k], [-k, 0]]) for k in (1.0, 3)]
    )
    mu = latents(whole.double())[:, :, :4]
    projected = angles.projectors(angles.turn_maps(angles.from_every_angle(mu)))
    traces = angles.multiplicities(projected)
    assert_close(traces, torch.tensor([1.0, 1, 0, 0.5, 0, 0, 0, 0]).double(), atol=0.05, rtol=0)
    values = angles.eigenvalues(angles.of_projectors(projected))
    assert_close(values[angles.fades(values)].real, torch.tensor([angles.FADE]).double())
    kept = values[~angles.fades(values)]
    assert_close(kept.imag.sort().values, torch.tensor([-1.0, 0, 1]).double(), atol=1e-6, rtol=0)
    assert kept.real.abs().max() < 1e-6
    fading = torch.block_diag(
        torch.tensor([[-3.0]]), torch.tensor([[0.0, 1.1], [-1.1, 0]])
    ).double()
    turning = torch.block_diag(torch.tensor([[-3.0]]), torch.tensor([[0.0, 1], [-1, 0]])).double()
    assert_close(angles.rounded(fading), turning)


def test_every_way_to_a_generator_finds_the_known_one():
    true, by = known(), angles.radians(N)[1:]
    of, start = moments(latents(true)), known() + 0.03 * normal(8, 8, seed=2).double()
    assert_close(angles.of_map(angles.at(true, by[:1])[0], by[0].item()), true)
    assert_close(angles.fit(of, by, start), true, atol=1e-4, rtol=0)
    few = moments(latents(true)[:3])
    assert_close(angles.fit(few, by[:2], start), true, atol=1e-4, rtol=0)
    exact = angles.fit(of, by, angles.rounded(start), keep=True)
    assert_close(exact, true, atol=1e-4, rtol=0)
    assert angles.closure(exact) < 1e-9 and angles.from_whole(exact) < 1e-9
    assert angles.closure(start) > 0.01 and angles.from_whole(start) > 0.001


def test_a_decaying_generator_does_not_close():
    decaying = known(growth=-0.1)
    assert angles.from_whole(decaying) < 1e-6
    assert angles.closure(torch.diag(torch.tensor([-0.1]).double())) == pytest.approx(
        1 - math.exp(-0.2 * math.pi)
    )
    assert_close(angles.rounded(decaying), known())
    uneven = known([0, 1.3])
    assert angles.from_whole(uneven) == pytest.approx(0.3)


# -- training -------------------------------------------------------------------------------------


def test_stage_1_sees_turned_digits_and_starts_from_their_components(setting):
    schedule = Schedule(epochs=0.5, batch=8, lr=1e-3, warmup=0)
    common = {"setting": setting, "family": None, "antithetic": True}
    start = TurnedStart(
        schedule=Start(epochs=0.25, batch=8, lr=1e-3, warmup=0, originals=16), **common
    )
    stage1 = TurnedFromPrincipal(schedule=schedule, start=start, **common)
    assert stage1.spec()["versions"] == {"turned": 1, "turned_start": 1}
    images = stage1.images()
    assert images.shape == (turned.TURNS, 16, 28, 28)
    assert torch.equal(images, start.images()) and not torch.equal(images[0], images[1])
    model = load_or_train(stage1)
    assert encode(model, images[0])[0].shape == (16, 16)
    plain = TurnedVAE(schedule=schedule, **common)
    assert (plain.KIND, plain.spec()["versions"]) == ("turned", {"turned": 1})


def test_the_cvae_is_trained_on_its_condition(setting):
    model = CVAE(n_conditions=2)
    images = uint8_images(5)
    objective = turned.ByAngle(model, images, 45.0, antithetic=False)
    index = torch.arange(5)
    losses = objective.losses(index, torch.Generator().manual_seed(3))
    source = torch.Generator().manual_seed(3)
    degrees, noise = 45 * torch.rand(5, generator=source), torch.randn(5, 16, generator=source)
    mu, logvar = model.encode(to_float(images), torch.tensor([[1.0, 0]]).expand(5, 2))
    z = mu + (0.5 * logvar).exp() * noise
    logits = model.decode(z, torch.stack([degrees.deg2rad().cos(), degrees.deg2rad().sin()], 1))
    target = turned.turn(to_float(images), degrees)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    assert_close(losses["reconstruction"], expected)
    trained = load_or_train(TurningCVAE(setting, 45.0, Schedule(epochs=0.5, batch=8, warmup=0)))
    assert trained.encoder.to_mu.in_features == 6274


def test_the_models_of_a_profile(mnist, home, monkeypatch):
    """The CVAE decodes as many images as stage 1 is trained on, and each has a key of its own."""
    monkeypatch.setattr(turned, "load_or_train", lambda experiment: experiment)
    study = Study("smoke")
    stage1, few, all_angles = turned.vae(study), turned.cvae(study, 45), turned.cvae(study, 360)
    assert stage1.start.schedule == study.profile.start
    assert few.schedule.epochs == turned.TURNS * stage1.schedule.epochs
    assert len({store.key_of(each.spec()) for each in (stage1, few, all_angles)}) == 3
    paper = turned.vae(Study("paper"))
    assert (paper.KIND, paper.start) == (stage1.KIND, None)


REFUSED = {
    "an odd number of angles": (lambda: angles.radians(7), "7"),
    "too few angles": (lambda: angles.radians(2), "2"),
    "too few angles for the frequencies": (
        lambda: angles.of_projectors(
            angles.projectors(angles.at(known([0, 1, 3]), angles.radians(6)))
        ),
        "6 angles.* below 3.*2.0",
    ),
    "no angle": (
        lambda: TurningCVAE(None, 0.0, Schedule(epochs=1)), "0.0"),
}  # fmt: skip


@pytest.mark.parametrize(("ask", "value"), REFUSED.values(), ids=REFUSED)
def test_requests_that_are_refused(ask, value):
    with pytest.raises(InvalidInputError, match=value):
        ask()
