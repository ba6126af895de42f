"""The losses of each objective against a computation sample by sample."""

import torch
from by_hand import DRAWS, INDEX, SEED, check, cross_entropy, kl, one, sample
from made_up import generator, normal, spread, uint8_images

from lavae_core.latent_maps import LatentMaps, order_penalty
from lavae_core.models import LAVAE, Decoder
from lavae_core.objectives import HeadObjective, MapObjective, VAEObjective


@DRAWS
def test_vae(antithetic, signs):
    images, model = uint8_images(4, 3), spread(LAVAE())
    objective = VAEObjective(model, images, (2.0, 0.5), antithetic)
    assert (objective.size, objective.images_per_sample) == (12, 1)
    noise = torch.randn(3, 16, generator=generator(SEED))
    expected = {"reconstruction": 0, "kl": 0}
    for row, place in enumerate(INDEX.tolist()):
        image = images[place // 3, place % 3]
        mu, logvar = model.encode(one(image))
        for sign in signs:
            logits = model.decode(sample(mu, logvar, sign * noise[row]))
            expected["reconstruction"] += 2.0 * cross_entropy(logits, image) / len(signs)
        expected["kl"] += 0.5 * kl(mu, logvar)
    check(objective.losses(INDEX, generator(SEED)), expected)


def test_antithetic_samples_take_noise_from_the_gradient():
    """Over draws of z, the gradient of an antithetic loss has the same mean and varies less."""
    model = spread(LAVAE())
    gradients = {}
    for antithetic in (False, True):
        objective = VAEObjective(model, uint8_images(1, 10), antithetic=antithetic)
        draws = []
        for seed in range(60):
            error = objective.losses(INDEX[:1], generator(seed))["reconstruction"]
            draws += torch.autograd.grad(error, [model.encoder.to_mu.bias])
        gradients[antithetic] = torch.stack(draws)
    single, paired = gradients[False], gradients[True]
    deviation = (single.std(0) / 60**0.5).norm()
    assert (paired.mean(0) - single.mean(0)).norm() < 3 * deviation
    assert paired.var(0).sum() < 0.5 * single.var(0).sum()


def test_vae_leaves_the_maps_alone():
    model = LAVAE()
    objective = VAEObjective(model, uint8_images(1, 3))
    sum(objective.losses(torch.tensor([0]), generator(SEED)).values()).backward()
    assert not model.maps.matrices.requires_grad
    rest = [*model.encoder.parameters(), *model.decoders.parameters()]
    assert all(parameter.grad.any() for parameter in rest)


def test_maps():
    mu, logvar, maps = normal(3, 10, 16), normal(3, 10, 16, seed=1), spread(LatentMaps())
    objective = MapObjective(maps, mu, logvar, (None, 2), lambda_inv=0.5)
    assert (objective.size, objective.images_per_sample) == (10, 1)
    noise = torch.randn(3, 3, 16, generator=generator(SEED))
    expected = {"L1": 0, "L2": 0}
    for row, place in enumerate(INDEX.tolist()):
        z = [sample(mu[v, place], logvar[v, place], noise[v, row]) for v in range(3)]
        for i, matrix in enumerate(maps.matrices):
            expected[f"L{i + 1}"] += (z[0] @ matrix - z[i + 1]).square().mean()
    expected["order"] = 3 * 0.5 * order_penalty(maps.matrices, (None, 2))
    check(objective.losses(INDEX, generator(SEED)), expected)


def test_maps_that_were_frozen_are_trained():
    maps = LatentMaps().requires_grad_(False)
    MapObjective(maps, normal(3, 2, 16), normal(3, 2, 16), (2, 2))
    assert maps.matrices.requires_grad


def test_head_trains_the_decoder_alone():
    images, latents, decoder = uint8_images(4, 3), normal(4, 3, 16), spread(Decoder())
    objective = HeadObjective(decoder, latents, images)
    assert (objective.size, objective.images_per_sample) == (12, 1)
    assert objective.module is decoder
    expected = sum(
        cross_entropy(decoder(latents[n // 3, n % 3][None]), images[n // 3, n % 3])
        for n in INDEX.tolist()
    )
    terms = objective.losses(INDEX, generator(SEED))
    check(terms, {"reconstruction": expected})
    terms["reconstruction"].backward()
    assert all(parameter.grad.any() for parameter in decoder.parameters())
    assert not latents.requires_grad
