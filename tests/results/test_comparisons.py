"""CVAEs and non-linear maps; their losses and those of joint training, sample by sample."""

import pytest
import torch
from by_hand import DRAWS, INDEX, SEED, check, cross_entropy, kl, one, sample
from made_up import float_images, generator, normal, same_weights, spread, uint8_images

from lavae_companion.comparisons import (
    CVAE,
    ConditionalObjective,
    JointObjective,
    LavaeStyleObjective,
    NonLinearMaps,
    random_maps,
)
from lavae_core.errors import InvalidInputError, StoreError
from lavae_core.latent_maps import order_penalty
from lavae_core.models import LAVAE
from lavae_core.objectives import MapObjective
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


def test_cvae_uses_its_condition_on_both_sides():
    model, x, z = CVAE(n_conditions=2), float_images(1), normal(1, 16)
    one, other = torch.eye(2)[:1], torch.eye(2)[1:]
    assert not torch.equal(model.encode(x, one)[0], model.encode(x, other)[0])
    assert not torch.equal(model.decode(z, one), model.decode(z, other))


def test_cvae_round_trip(tmp_path, capfd):
    model = CVAE(n_conditions=3)
    model.save_pretrained(tmp_path)
    assert same_weights(CVAE.from_pretrained(str(tmp_path)), model)
    assert capfd.readouterr().out == ""


def test_the_cvae_has_the_papers_size():
    count = sum(parameter.numel() for parameter in CVAE(n_conditions=4).parameters())
    assert count == 571_809 + 4 * (2 * 16 + 6272)


@pytest.mark.parametrize(("name", "value"), [("latent_dim", "16"), ("n_conditions", 0)])
def test_sizes_that_are_refused(name, value):
    with pytest.raises(InvalidInputError, match=f"{name}.*{value!r}"):
        CVAE(**{name: value})


def test_a_cvae_is_no_lavae(tmp_path):
    CVAE().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(StoreError, match="LAVAE") as caught:
        LAVAE.from_pretrained(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("word", "value"), [("L4", "'L4'"), ("L1^x", r"L1\^x"), (None, "None")])
def test_words_that_are_refused(word, value):
    with pytest.raises(InvalidInputError, match=value):
        NonLinearMaps(3)(normal(1, 16), word)


def test_non_linear_maps():
    mu, maps = normal(3, 10, 16), NonLinearMaps()
    logvar = torch.full_like(mu, -100.0)  # no noise
    expected = {
        f"L{i + 1}": sum((net(mu[0, n]) - mu[i + 1, n]).square().mean() for n in INDEX)
        for i, net in enumerate(maps.networks)
    }
    check(MapObjective(maps, mu, logvar).losses(INDEX, generator(SEED)), expected)


def test_non_linear_maps_compose_but_have_no_inverse():
    maps, z = NonLinearMaps(), normal(3, 16)
    assert sum(p.numel() for p in maps.networks[0].parameters()) == 136 + 72 + 144
    first, second = maps.networks
    assert torch.equal(maps(z, "L1 L2^2"), second(second(first(z))))
    assert torch.equal(maps(z, ""), z)
    with pytest.raises(InvalidInputError, match="L1"):
        maps(z, "L2 L1^-1")


def test_random_maps_are_far_from_the_identity_and_from_each_other():
    maps = random_maps(3, 16)
    assert maps.names == ["L1", "L2", "L3"] and maps.matrices.requires_grad
    matrices = maps.matrices.data
    assert (matrices - torch.eye(16)).norm(dim=(1, 2)).min() > 3
    assert torch.pdist(matrices.flatten(1)).min() > 1
    assert matrices.abs().max() <= 1 / 4  # as nn.Linear with 16 inputs
