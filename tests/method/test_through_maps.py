"""Training through the maps: the maps of a step, the losses, their gradient, and what is resumed."""

import pytest
import torch
import torch.nn.functional as F
from made_up import generator, normal, same_weights, spread, uint8_images
from torch import nn

from lavae_core import training
from lavae_core.augmentations import Family, variants
from lavae_core.models import LAVAE
from lavae_core.runtime import Runtime
from lavae_core.through_maps import RIDGE, ThroughMapsObjective, ridge_maps
from lavae_core.training import Schedule, train

INDEX = torch.tensor([4, 0, 9])
DIMS = 4
# A latent map whose images are exact in uint8: it permutes the pixels and inverts two of them.
SIGNED = torch.tensor([[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1], [0, 0, -1, 0]]).double()


class Linear(nn.Module):
    """Its latents are the first pixels less 0.5, without noise; it keeps what it decodes."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Module()
        self.maps.matrices = nn.Parameter(torch.eye(DIMS)[None])
        self.decoded = None

    def encode(self, x):
        mu = x.flatten(1)[:, :DIMS] - 0.5
        return mu, torch.full_like(mu, -200.0)

    def decode(self, z):
        self.decoded = z
        return z.new_zeros(len(z), 1, 28, 28)


def pixels_of(latents: torch.Tensor) -> torch.Tensor:
    """uint8 (N, 28, 28) whose latents are `latents` (N, DIMS), to within a grey level."""
    images = torch.zeros(len(latents), 28 * 28, dtype=torch.uint8)
    images[:, :DIMS] = ((latents + 0.5) * 255).round().to(torch.uint8)
    return images.view(-1, 28, 28)


def test_maps_of_a_linear_model_are_those_of_ridge_regression():
    """C = S R for latents that R maps, so each step's map is (S + r I)^-1 S R in closed form."""
    originals = pixels_of(torch.rand(12, DIMS, generator=generator(0)).double() - 0.5)
    latents = originals.flatten(1)[:, :DIMS].double() / 255 - 0.5
    model = Linear()
    objective = ThroughMapsObjective(
        model, torch.stack([originals, pixels_of(latents @ SIGNED)]), [1]
    )
    average, total = torch.zeros(DIMS, DIMS).double(), 0.0
    for index in (torch.arange(5), torch.arange(5, 12)):
        z = latents[index]
        average, total = 0.95 * average + 0.05 * z.t() @ z / len(z), 0.95 * total + 0.05
        s = average / total
        shrunk = torch.linalg.solve(s + RIDGE * s.trace() / DIMS * torch.eye(DIMS), s @ SIGNED)
        objective.losses(index, generator(1))
        decoded = model.decoded[-len(z) :].double()
        torch.testing.assert_close(decoded, z @ shrunk, rtol=0, atol=1e-5)
        assert (shrunk - SIGNED).norm() < 0.01 * SIGNED.norm()


def posteriors(model: LAVAE, images: torch.Tensor, index: torch.Tensor):
    """mu and log-variance (V, B, 16) of a batch."""
    encoded = [model.encode(image[index][:, None] / 255) for image in images]
    return tuple(torch.stack(each) for each in zip(*encoded, strict=True))


def plain_losses(model, images, singles, weight, signs, noise, held=False) -> torch.Tensor:
    """The sum of the losses of a first batch, from formulas; held: no gradient through the maps."""
    mu, logvar = posteriors(model, images, INDEX)
    m = mu.double()
    s = m[0].t() @ m[0]
    s = s + RIDGE * s.trace() / 16 * torch.eye(16)
    maps = [(torch.linalg.inv(s) @ m[0].t() @ m[i]).float() for i in singles]
    total = 0.5 * (logvar.exp() + mu.square() - 1 - logvar).sum()
    for sign in signs:
        z = mu + (logvar / 2).exp() * sign * noise
        pairs = [(1.0, z[v], v) for v in range(len(images))]
        pairs += [
            (weight, z[0] @ (matrix.detach() if held else matrix), v)
            for matrix, v in zip(maps, singles, strict=True)
        ]
        for factor, latents, v in pairs:
            target = images[v][INDEX][:, None] / 255
            error = F.binary_cross_entropy_with_logits(
                model.decode(latents), target, reduction="sum"
            )
            total = total + factor * error / len(signs)
    return total


@pytest.mark.parametrize("gradient", [0.0, 1.0])
@pytest.mark.parametrize(
    ("singles", "antithetic", "signs"), [([1, 2], True, [1, -1]), ([3, 1], False, [1])]
)
def test_losses_and_their_gradient(singles, antithetic, signs, gradient):
    """Of a first batch, whose own moments are the average: with gradient 1 it is differentiated as
    a whole, with 0 at maps that are held."""
    images, model = uint8_images(4, 10), spread(LAVAE())
    objective = ThroughMapsObjective(model, images, singles, 0.5, gradient, antithetic)
    assert (objective.size, objective.images_per_sample) == (10, 4)
    noise = torch.randn(12, 16, generator=generator(7)).unflatten(0, (4, 3))
    loss = sum(objective.losses(INDEX, generator(7)).values())
    arguments = model, images, singles, 0.5, signs, noise
    expected, other = (plain_losses(*arguments, held=held) for held in (not gradient, gradient))
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)
    weight = model.encoder.to_mu.weight
    computed, right, wrong = (torch.autograd.grad(x, weight)[0] for x in (loss, expected, other))
    assert (computed - right).norm() < 0.02 * right.norm() < 0.2 * (computed - wrong).norm()


def test_a_share_of_the_gradient():
    """It is linear in `gradient`: that of the held maps, and so much of the moments'."""
    model, gradients = spread(LAVAE()), []
    for share in (0.0, 0.25, 1.0):
        objective = ThroughMapsObjective(model, uint8_images(4, 10), [1, 2], 1.0, share)
        loss = objective.losses(INDEX, generator(7))["maps"]
        gradients.append(torch.autograd.grad(loss, model.encoder.to_mu.weight)[0])
    none, quarter, whole = gradients
    torch.testing.assert_close(quarter, 0.75 * none + 0.25 * whole, rtol=1e-3, atol=1e-3)
    assert (whole - none).norm() > 0.05 * none.norm()


def test_three_generators_and_no_word_of_several_letters():
    """The mapped loss and the maps are of the singles: what the other variants show is no matter."""
    family = Family.parse("flip_lr,flip_ud,rotate_cw")
    images = variants(uint8_images(10), family, split="train", seed=0)
    singles = [family.words.index(letter) for letter in family.letters]
    others = [place for place in range(1, 8) if place not in singles]
    changed, model, values = images.clone(), spread(LAVAE(n_maps=3)), []
    changed[others] = 255 - changed[others]
    for each in (images, changed):
        objective = ThroughMapsObjective(model, each, singles)
        values.append(objective.losses(INDEX, generator(7)))
        assert objective.running["cross"].shape == (3, 16, 16)
    assert objective.images_per_sample == 8
    torch.testing.assert_close(values[0]["maps"], values[1]["maps"])
    assert not torch.allclose(values[0]["reconstruction"], values[1]["reconstruction"])


def test_ridge_maps_exist_where_a_latent_dimension_is_not_used():
    mu = normal(20, DIMS).double() * torch.tensor([1.0, 1.0, 1.0, 0.0])
    maps = ridge_maps(mu.t() @ mu, (mu.t() @ mu @ SIGNED)[None])
    torch.testing.assert_close(mu @ maps[0], mu @ SIGNED, rtol=0, atol=1e-2)


def test_the_models_own_maps_are_left_alone():
    model = LAVAE()
    before = model.maps.matrices.detach().clone()
    objective = ThroughMapsObjective(model, uint8_images(4, 3), [1, 2])
    sum(objective.losses(torch.arange(3), generator(0)).values()).backward()
    assert torch.equal(model.maps.matrices, before) and not model.maps.matrices.requires_grad


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_killed_run_resumes_to_the_same_bits(precision, cpu, tmp_path, monkeypatch):
    """The running moments are part of the state: from zeros it would go on with other maps."""
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 3)
    images, start = uint8_images(4, 8), spread(LAVAE(), scale=0.01)

    class Killed(ThroughMapsObjective):
        calls, last = 0, 99

        def losses(self, index, generator):
            self.calls += 1
            if self.calls == self.last:
                raise KeyboardInterrupt
            return super().losses(index, generator)

    def run(last=99):
        model = LAVAE()
        model.load_state_dict(start.state_dict())
        objective = Killed(model, images, [1, 2], antithetic=True)
        objective.last = last
        train(
            objective, Schedule(epochs=4, batch=16, lr=1e-3, warmup=2), seed=0,
            runtime=Runtime("cpu", precision), checkpoint=tmp_path / "state", label="test",
        )  # fmt: skip
        (tmp_path / "state").unlink()  # as the caller does once the model is safe
        return objective

    whole = run()
    with pytest.raises(KeyboardInterrupt):
        run(last=6)
    resumed = run()
    assert (whole.calls, resumed.calls) == (8, 5)
    assert same_weights(resumed.module, whole.module)
    assert all(torch.equal(resumed.running[name], whole.running[name]) for name in whole.running)
