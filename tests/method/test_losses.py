"""Each loss, and the samples that it is computed on, against its definition."""

import math

import torch
from made_up import float_images, generator, normal
from torch.distributions import Normal, kl_divergence

from lavae_core import losses


def test_reconstruction_is_the_summed_cross_entropy():
    logits, target = normal(3, 1, 28, 28), float_images(3, seed=1)
    p = torch.sigmoid(logits.double())
    expected = -(target * p.log() + (1 - target) * (1 - p).log()).sum()
    torch.testing.assert_close(losses.reconstruction(logits, target).double(), expected)


def test_reconstruction_of_perfect_useless_and_wrong_logits():
    target = float_images(2).round()
    sure = 200 * (target - 0.5)
    assert losses.reconstruction(sure, target) < 1e-6
    useless = losses.reconstruction(torch.zeros_like(target), target)
    assert math.isclose(useless.item(), 2 * 784 * math.log(2), rel_tol=1e-6)
    wrong = losses.reconstruction(-sure, target)  # finite, where log(0) would not be
    assert math.isclose(wrong.item(), 2 * 784 * 100, rel_tol=1e-6)


def test_reconstruction_is_least_at_the_target():
    target = float_images(1).clamp(0.05, 0.95)
    best = losses.reconstruction(torch.logit(target), target)
    for shift in (-0.2, 0.2):
        assert losses.reconstruction(torch.logit(target) + shift, target) > best


def test_kl_divergence_is_the_closed_form():
    mu, logvar = normal(5, 16), normal(5, 16, seed=1)
    exact = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(losses.kl_divergence(mu, logvar), exact)


def test_kl_divergence_of_the_prior_and_of_degenerate_posteriors():
    zero = torch.zeros(4, 16)
    assert losses.kl_divergence(zero, zero) == 0
    narrow = losses.kl_divergence(zero, zero - 50)
    assert math.isclose(narrow.item(), 4 * 16 * 0.5 * 49, rel_tol=1e-6)
    assert losses.kl_divergence(zero + 1, zero) == 4 * 16 / 2


def test_map_error_is_the_summed_square():
    predicted, target = torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([[0.0, 4.0], [0, 1]])
    assert losses.map_error(predicted, target) == 1 + 4 + 0 + 4
    assert losses.map_error(target, target) == 0


def test_losses_are_sums_over_the_batch():
    logits, target = normal(2, 1, 28, 28), float_images(2, seed=1)
    mu, logvar = normal(2, 16), normal(2, 16, seed=1)
    for loss, inputs in [
        (losses.reconstruction, (logits, target)),
        (losses.kl_divergence, (mu, logvar)),
        (losses.map_error, (mu, logvar)),
    ]:
        twice = loss(*(torch.cat([part, part]) for part in inputs))
        torch.testing.assert_close(twice, 2 * loss(*inputs))
        torch.testing.assert_close(
            loss(*inputs), sum(loss(*(part[i : i + 1] for part in inputs)) for i in range(2))
        )


def test_half_precision_is_summed_in_single():
    logits, target = normal(4, 1, 28, 28).bfloat16(), float_images(4)
    loss = losses.reconstruction(logits, target)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, losses.reconstruction(logits.float(), target))
    mu = normal(4, 16).bfloat16()
    assert losses.kl_divergence(mu, mu).dtype == torch.float32
    assert losses.map_error(mu, mu).dtype == torch.float32


def test_reparameterise():
    mu, logvar = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, math.log(4)]])
    assert torch.equal(losses.reparameterise(mu, logvar, torch.zeros(1, 2)), mu)
    sample = losses.reparameterise(mu, logvar, torch.ones(1, 2))
    torch.testing.assert_close(sample, torch.tensor([[2.0, 0.0]]))  # deviations 1 and 2
    many = losses.reparameterise(mu, logvar, normal(20_000, 2))
    torch.testing.assert_close(many.var(0), torch.tensor([1.0, 4.0]), rtol=0.05, atol=0)


def test_an_antithetic_pair_of_samples_lies_around_the_mean():
    mu, logvar = normal(5, 3), normal(5, 3, seed=1)
    noise = torch.randn(5, 3, generator=generator(7))
    single = losses.posterior_samples(mu, logvar, generator(7))
    torch.testing.assert_close(single, mu + (logvar / 2).exp() * noise)
    pair = losses.posterior_samples(mu, logvar, generator(7), antithetic=True)
    assert torch.equal(pair[:5], single)
    torch.testing.assert_close(pair[:5] + pair[5:], 2 * mu)


def test_the_negative_elbo_is_a_mean_over_samples_and_a_sum_over_images():
    target, mu, logvar = float_images(3), normal(3, 16), normal(3, 16, seed=1)
    logits = normal(6, 1, 28, 28)  # two samples of each image
    terms = losses.negative_elbo(logits, target, mu, logvar, 2.0, 0.5)
    both = losses.reconstruction(logits[:3], target) + losses.reconstruction(logits[3:], target)
    torch.testing.assert_close(terms["reconstruction"], 2.0 * both / 2)
    torch.testing.assert_close(terms["kl"], 0.5 * losses.kl_divergence(mu, logvar))
    plain = losses.negative_elbo(logits[:3], target, mu, logvar)
    torch.testing.assert_close(plain["reconstruction"], losses.reconstruction(logits[:3], target))
    assert plain.keys() == {"reconstruction", "kl"}
