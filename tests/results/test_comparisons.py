"""The losses of the CVAEs and of joint training against a computation sample by sample."""

import pytest
import torch
from by_hand import DRAWS, INDEX, SEED, check, cross_entropy, kl, one, sample
from made_up import generator, spread, uint8_images

from lavae_companion.comparisons import ConditionalObjective, JointObjective, LavaeStyleObjective
from lavae_core.latent_maps import order_penalty
from lavae_core.models import CVAE, LAVAE
from lavae_core.training import Schedule, samples_per_step


@pytest.mark.parametrize(
    ("singles", "antithetic", "signs"), [((1, 2), True, [1, -1]), ((3, 1), False, [1])]
)
def test_joint(singles, antithetic, signs):
    images, model, orders = uint8_images(4, 10), spread(LAVAE()), (2, None)
    objective = JointObjective(model, images, singles, orders, antithetic)
    assert (objective.size, objective.images_per_sample) == (10, 4)
    assert samples_per_step(objective, Schedule(1, batch=36)) == 9  # 9 originals are 36 images
    noise = torch.randn(12, 16, generator=generator(SEED)).unflatten(0, (4, 3))
    expected = {"reconstruction": 0, "kl": 0, "maps": 0}
    for row, place in enumerate(INDEX.tolist()):
        for sign in signs:
            z = []
            for variant in range(4):
                image = images[variant, place]
                mu, logvar = model.encode(one(image))
                z.append(sample(mu, logvar, sign * noise[variant, row]))
                error = cross_entropy(model.decode(z[-1]), image)
                expected["reconstruction"] += error / len(signs)
                expected["kl"] += kl(mu, logvar) / len(signs)
            for i, matrix in enumerate(model.maps.matrices):
                expected["maps"] += (z[0] @ matrix - z[singles[i]]).square().sum() / len(signs)
        expected["maps"] += order_penalty(model.maps.matrices, orders)
    terms = objective.losses(INDEX, generator(SEED))
    check(terms, expected)
    terms["maps"].backward()
    assert model.maps.matrices.grad.any() and model.encoder.to_mu.weight.grad.any()


@DRAWS
def test_conditional_cvae(antithetic, signs):
    images, model = uint8_images(4, 3), spread(CVAE())
    objective = ConditionalObjective(model, images, antithetic)
    assert (objective.size, objective.images_per_sample) == (12, 1)
    noise = torch.randn(3, 16, generator=generator(SEED))
    expected = {"reconstruction": 0, "kl": 0}
    for row, place in enumerate(INDEX.tolist()):
        image, condition = images[place // 3, place % 3], torch.eye(4)[place // 3][None]
        mu, logvar = model.encode(one(image), condition)
        for sign in signs:
            logits = model.decode(sample(mu, logvar, sign * noise[row]), condition)
            expected["reconstruction"] += cross_entropy(logits, image) / len(signs)
        expected["kl"] += kl(mu, logvar)
    check(objective.losses(INDEX, generator(SEED)), expected)


@DRAWS
def test_lavae_style_cvae(antithetic, signs):
    """It encodes originals only, and decodes into the three variants that it is given."""
    images, model = uint8_images(3, 10), spread(CVAE(n_conditions=3))
    objective = LavaeStyleObjective(model, images, antithetic)
    assert (objective.size, objective.images_per_sample) == (10, 3)
    noise = torch.randn(9, 16, generator=generator(SEED)).unflatten(0, (3, 3))
    expected = {"reconstruction": 0, "kl": 0}
    for row, place in enumerate(INDEX.tolist()):
        mu, logvar = model.encode(one(images[0, place]), torch.eye(3)[:1])
        for variant in range(3):
            for sign in signs:
                z = sample(mu, logvar, sign * noise[variant, row])
                logits = model.decode(z, torch.eye(3)[variant][None])
                error = cross_entropy(logits, images[variant, place])
                expected["reconstruction"] += error / len(signs)
            expected["kl"] += kl(mu, logvar)
    check(objective.losses(INDEX, generator(SEED)), expected)
