"""Latent maps: what a word of them does; the stage-2 objective and its exact minimum."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import generator, normal, spread, uint8_images
from torch import nn

from lavae_core import training
from lavae_core.errors import InvalidInputError
from lavae_core.latent_maps import (
    LatentMaps,
    Moments,
    fit_exact,
    inverse_word,
    order_penalty,
)
from lavae_core.models import LAVAE, encode_variants
from lavae_core.objectives import MapObjective
from lavae_core.training import Schedule

letters = st.builds("L{}^{}".format, st.integers(1, 3), st.integers(-2, 2))
words = st.lists(letters, max_size=3).map(" ".join)
seeds = st.integers(0, 2**31)
quick = settings(max_examples=40)


def orthogonal(d: int, seed: int) -> torch.Tensor:
    return torch.linalg.qr(normal(d, d, seed=seed))[0]


def some_maps(seed: int, d: int = 16) -> LatentMaps:
    """Three maps that do not commute, with singular values from 0.7 to 1.4."""
    maps = LatentMaps(3, d)
    values = torch.linspace(0.7, 1.4, d)
    maps.matrices.data = torch.stack(
        [orthogonal(d, seed + i) * values @ orthogonal(d, seed + i + 10) for i in range(3)]
    )
    return maps.requires_grad_(False)


# --- words ---------------------------------------------------------------------------------------


@given(words, seeds)
@quick
def test_a_word_and_its_inverse_are_the_identity(word, seed):
    maps, z = some_maps(seed), normal(7, 16, seed=seed)
    for forth, back in [(word, inverse_word(word)), (inverse_word(word), word)]:
        again = maps(maps(z, forth), back)
        assert (again - z).norm() < 0.01 * z.norm()
        assert (maps(z, f"{forth} {back}") - z).norm() < 0.01 * z.norm()


@given(words, words, seeds)
@quick
def test_a_composition_is_one_word_after_the_other(one, other, seed):
    maps, z = some_maps(seed), normal(7, 16, seed=seed)
    sequential = maps(maps(z, one), other)
    torch.testing.assert_close(maps(z, f"{one} {other}"), sequential, rtol=1e-3, atol=1e-3)


@given(st.integers(0, 4), seeds)
@quick
def test_powers(power, seed):
    maps, z = some_maps(seed), normal(7, 16, seed=seed)
    repeated = " ".join(["L2"] * power)
    torch.testing.assert_close(maps(z, f"L2^{power}"), maps(z, repeated), rtol=1e-4, atol=1e-4)
    inverse = " ".join(["L2^-1"] * power)
    torch.testing.assert_close(maps(z, f"L2^-{power}"), maps(z, inverse), rtol=1e-3, atol=1e-3)


def test_letters_act_from_left_to_right():
    maps, z = some_maps(0), normal(3, 16)
    first, second, _ = maps.matrices
    expected = z @ first @ second
    torch.testing.assert_close(maps(z, "L1 L2"), expected)
    torch.testing.assert_close(maps(z, "L2 L1"), z @ second @ first)
    assert not torch.allclose(maps(z, "L2 L1"), expected, atol=0.1)
    torch.testing.assert_close(maps(z, "L1^-1"), z @ torch.linalg.inv(first), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("word", ["", " ", "L1^0", "L1^0 L3^0"])
def test_words_that_are_the_identity(word):
    z = normal(3, 16)
    torch.testing.assert_close(some_maps(0)(z, word), z)


def test_maps_start_as_identities():
    z = normal(3, 16)
    assert torch.equal(LatentMaps()(z, "L1 L2^-1"), z)


@pytest.mark.parametrize(("word", "value"), [("L4", "'L4'"), ("L1^x", r"L1\^x"), (None, "None")])
def test_words_that_are_refused(word, value):
    with pytest.raises(InvalidInputError, match=value):
        LatentMaps(3)(normal(1, 16), word)


@pytest.mark.parametrize("value", [0.0, 1e-9, float("nan")])
def test_a_singular_map_has_no_inverse(value):
    maps = LatentMaps()
    maps.matrices.data[1, 3, 3] = value
    assert maps(normal(1, 16), "L2").shape == (1, 16)
    with pytest.raises(InvalidInputError, match="L2"):
        maps(normal(1, 16), "L1 L2^-1")


# --- the stage-2 objective -----------------------------------------------------------------------


def test_order_penalty():
    reflection = torch.eye(4) - 2 * torch.ones(4, 4) / 4  # its square is the identity
    cycle = torch.eye(4).roll(1, 0)  # its fourth power is
    assert order_penalty(torch.stack([reflection, cycle]), (2, 4)) < 1e-10
    assert order_penalty(cycle[None], (2,)) == 8
    assert order_penalty(torch.stack([cycle, cycle]), (None, None)) == 0
    assert order_penalty(torch.stack([2 * torch.eye(4), cycle]), (2, None)) == 4 * (1 - 4) ** 2
    two = order_penalty(torch.stack([2 * torch.eye(4), 2 * torch.eye(4)]), (2, 2))
    assert two == 2 * 4 * (1 - 4) ** 2
    with pytest.raises(ValueError):  # as many orders as maps
        order_penalty(cycle[None], (2, 2))


def posterior(n: int = 6, d: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """mu and variance (3, n, d), the variances from 0.05 to 2."""
    mu = normal(3, n, d, seed=seed).double()
    return mu, (normal(3, n, d, seed=seed + 1).double() * 0.8 - 1).exp()


def test_expected_error_is_the_explicit_formula():
    mu, var = posterior()
    maps = normal(2, 4, 4, seed=5).double()
    expected = 0.0
    for i in range(2):
        for n in range(mu.shape[1]):
            distance = (mu[0, n] @ maps[i] - mu[i + 1, n]).square().sum()
            spread = (var[0, n][:, None] * maps[i].square()).sum() + var[i + 1, n].sum()
            expected += (distance + spread) / mu[0].numel()
    torch.testing.assert_close(Moments(mu, var).expected_error(maps), expected)


def test_expected_error_is_the_mean_over_samples():
    mu, var = posterior()
    maps = normal(2, 4, 4, seed=5).double()
    z = mu + var.sqrt() * normal(20_000, 3, 6, 4, seed=9).double()
    errors = [(z[:, 0] @ maps[i] - z[:, i + 1]).square().mean() for i in range(2)]
    torch.testing.assert_close(
        Moments(mu, var).expected_error(maps), sum(errors), rtol=0.01, atol=0
    )


def test_objective_adds_the_weighted_penalty():
    moments, maps = Moments(*posterior()), normal(2, 4, 4, seed=5).double()
    penalty = order_penalty(maps, (2, None))
    difference = moments.objective(maps, (2, None), 0.5) - moments.expected_error(maps)
    torch.testing.assert_close(difference, 0.5 * penalty)


@pytest.mark.parametrize("orders", [(None, None), (2, None), (2, 4)])
@pytest.mark.parametrize("lambda_inv", [0.0, 1.0])
def test_exact_fit_is_a_minimum(orders, lambda_inv):
    moments = Moments(*posterior(n=50))
    maps = fit_exact(moments, orders, lambda_inv).double().requires_grad_()
    best = moments.objective(maps, orders, lambda_inv)
    (gradient,) = torch.autograd.grad(best, maps)
    assert gradient.norm() < 1e-5
    for seed in range(5):
        elsewhere = maps.detach() + 0.01 * normal(2, 4, 4, seed=seed)
        assert moments.objective(elsewhere, orders, lambda_inv) > best


def test_exact_fit_without_orders_is_least_squares():
    mu, var = posterior(n=50)
    maps = fit_exact(Moments(mu, var), (None, None))
    # The variance of the originals acts as rows of their own, mapped to zero.
    rows = torch.cat([mu[0], torch.diag(var[0].sum(0).sqrt())])
    for i in range(2):
        targets = torch.cat([mu[i + 1], torch.zeros(4, 4)])
        torch.testing.assert_close(maps[i], torch.linalg.lstsq(rows, targets).solution.float())
    assert torch.equal(fit_exact(Moments(mu, var), (2, 2), lambda_inv=0.0), maps)


def planted(d: int = 4, n: int = 300, noise: float = 1e-6) -> tuple[Moments, torch.Tensor]:
    """Latents of a reflection and of a map without an order, and these two maps."""
    q = orthogonal(d, 3)
    reflection = q @ torch.diag(torch.tensor([1.0, -1.0, 1.0, -1.0])) @ q.T
    maps = torch.stack([reflection, normal(d, d, seed=4)])
    mu = normal(n, d, seed=5)
    return Moments(
        torch.stack([mu, mu @ maps[0], mu @ maps[1]]), torch.full((3, n, d), noise)
    ), maps


@pytest.mark.parametrize("orders", [(None, None), (2, None)])
def test_exact_fit_recovers_planted_maps(orders):
    moments, maps = planted()
    torch.testing.assert_close(fit_exact(moments, orders), maps, rtol=0, atol=1e-4)


def test_the_penalty_pulls_a_blurred_reflection_back():
    moments, _ = planted(noise=0.5)
    free, held = (fit_exact(moments, (2, None), weight) for weight in (0.0, 1.0))
    assert order_penalty(held, (2, None)) < 0.1 * order_penalty(free, (2, None))
    torch.testing.assert_close(held[1], free[1], rtol=1e-4, atol=1e-5)  # it has no order


@pytest.mark.parametrize(("start", "reached"), [("random", True), ("identity", False)])
def test_gradient_descent_never_ends_below_the_exact_fit(start, reached, cpu, tmp_path):
    """From the identity, which the order term likes, it stays above; so stage 2 starts elsewhere."""
    d, n, orders = 4, 512, (2, None)
    q = orthogonal(d, 3)
    reflection = q @ torch.diag(torch.tensor([1.0, 1.0, 1.0, -1.0])) @ q.T
    mu = normal(n, d, seed=5)
    mu = torch.stack([mu, mu @ reflection, mu @ (torch.eye(d) + 0.3 * normal(d, d, seed=4))])
    logvar = torch.full((3, n, d), -2.0)
    moments = Moments(mu, logvar.double().exp())

    maps = LatentMaps(2, d)
    if start == "random":
        maps.matrices.data = torch.rand(2, d, d, generator=generator(0)) - 0.5  # as nn.Linear
    before = maps.matrices.detach().clone()
    training.train(
        MapObjective(maps, mu, logvar, orders), Schedule(150, batch=128, lr=0.03, warmup=10),
        seed=0, runtime=cpu, checkpoint=tmp_path / "state", label="planted",
    )  # fmt: skip

    def value(matrices: torch.Tensor) -> float:
        return moments.objective(matrices.detach().double(), orders, 1.0).item()

    exact = value(fit_exact(moments, orders))
    assert exact <= value(maps.matrices) * (1 + 1e-6)
    assert (value(maps.matrices) < 1.01 * exact) == reached
    assert exact < 0.5 * value(before)


# --- maps for images of one's own ----------------------------------------------------------------


class Pixels(nn.Module):
    """A model whose latents are 4 grey levels of an image, without noise."""

    def __init__(self, logvar: float = -math.inf):
        super().__init__()
        self.weight, self.logvar = nn.Parameter(torch.ones(1)), logvar

    def encode(self, x):
        mu = self.weight * x.flatten(1)[:, 300:304]
        return mu, torch.full_like(mu, self.logvar)


def test_maps_are_fitted_in_three_lines():
    """The pixels of a shifted image are read from those of the original by a map, here exactly."""
    images = uint8_images(50)
    swapped = images.flatten(1)[:, [*range(300), 301, 300, 303, 302, *range(304, 784)]]
    maps = LatentMaps.fit(Pixels(), images, [swapped.view_as(images), images], orders=(2, None))
    swap = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]).float()
    torch.testing.assert_close(maps.matrices, torch.stack([swap, torch.eye(4)]), rtol=0, atol=1e-4)
    assert maps.names == ["L1", "L2"] and not maps.matrices.requires_grad


def test_they_are_those_of_the_moments_of_a_lavae():
    images, model = uint8_images(3, 40), spread(LAVAE())
    mu, logvar = encode_variants(model, images)
    expected = fit_exact(Moments(mu, logvar.double().exp()), (2, None), 0.5)
    floats = images[:, :, None] / 255
    for x in (images, floats):
        model.maps = LatentMaps.fit(model, x[0], x[1:], (2, None), lambda_inv=0.5)
        torch.testing.assert_close(model.maps.matrices, expected)
        assert model.augment(floats[0], "L1 L2^-1").shape == (40, 1, 28, 28)


IMAGES = uint8_images(20)
UNFIT = {
    "no variant": (dict(variants=[]), "no variants"),
    "fewer variants": (dict(variants=[IMAGES[:9]]), r"9, 28, 28"),
    "another shape": (dict(originals=IMAGES[:, :14], variants=[IMAGES[:, :14]]), "20, 14, 28"),
    "another kind": (dict(variants=[IMAGES[:, None] / 255]), "20, 1, 28, 28"),
    "floats above 1": (
        dict(originals=IMAGES[:, None] / 1.0, variants=[IMAGES[:, None] / 255]),
        "1",
    ),
    "an array": (dict(originals=IMAGES.numpy()), "ndarray"),
    "integers": (dict(originals=IMAGES.int(), variants=[IMAGES.int()]), "int32"),
    "NaN": (
        dict(originals=torch.full((20, 1, 28, 28), math.nan), variants=[IMAGES[:, None] / 255]),
        "NaN",
    ),
    "NaN in a variant": (
        dict(originals=IMAGES[:, None] / 255, variants=[torch.full((20, 1, 28, 28), math.nan)]),
        "NaN",
    ),
    "no image": (dict(originals=IMAGES[:0], variants=[IMAGES[:0]]), "0 .* 4"),
    "few images": (dict(originals=IMAGES[:3], variants=[IMAGES[:3]]), "3 .* 4"),
    "all alike": (dict(originals=IMAGES[:1].repeat(20, 1, 1)), "singular"),
    "a model of NaN": (dict(model=Pixels(math.nan)), "finite"),
    "two orders": (dict(orders=(2, 2)), r"\(2, 2\).* 1"),
    "an order without a map": (dict(orders=2), "2 .* 1"),
    "order 0": (dict(orders=(0,)), "0"),
    "a negative weight": (dict(lambda_inv=-1.0), "-1.0"),
}


@pytest.mark.parametrize(("changed", "value"), UNFIT.values(), ids=UNFIT)
def test_images_that_cannot_be_fitted(changed, value):
    arguments = {"model": Pixels(), "originals": IMAGES, "variants": [IMAGES.flip(-1)]} | changed
    with pytest.raises(InvalidInputError, match=value):
        LatentMaps.fit(**arguments)


def test_a_model_without_weights_is_one_too():
    model = Pixels()
    del model._parameters["weight"]
    model.weight = 1.0
    maps = LatentMaps.fit(model, IMAGES, [IMAGES])
    torch.testing.assert_close(maps.matrices[0], torch.eye(4), rtol=0, atol=1e-4)


def test_a_dimension_without_use_is_no_obstacle():
    """Its mean does not vary, its samples do."""
    images = uint8_images(30)
    images.view(30, -1)[:, 302] = 0
    maps = LatentMaps.fit(Pixels(logvar=-2.0), images, [images])
    assert maps.matrices.isfinite().all()
