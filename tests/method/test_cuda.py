"""The same code on a CUDA device; skipped, and said so, where there is none."""

import pytest
import torch
from made_up import float_images, normal, same_weights, spread, uint8_images

from lavae_core import runtime
from lavae_core.models import LAVAE, Decoder, encode
from lavae_core.objectives import HeadObjective, VAEObjective
from lavae_core.training import Schedule, train

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="this machine has no CUDA device"
)
FEW = Schedule(epochs=4, batch=8, lr=1e-3, warmup=2)


def trained(started, folder, images):
    """A LAVAE after a few steps of stage 1, and its loss curve."""
    model = spread(LAVAE(), scale=0.01).to(started.device)
    result = train(
        VAEObjective(model, images.to(started.device)), FEW, seed=0, runtime=started,
        checkpoint=folder / "state", label="test",
    )  # fmt: skip
    return model, result["curve"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_trainings_give_the_same_bits(precision, tmp_path):
    started = runtime.start("cuda", precision)
    one, other = (trained(started, tmp_path, uint8_images(4, 8)) for _ in range(2))
    assert same_weights(one[0].cpu(), other[0].cpu())
    assert one[1] == other[1]


def test_a_head_learns_on_the_device(tmp_path):
    started = runtime.start("cuda")
    objective = HeadObjective(Decoder().cuda(), normal(4, 8, 16).cuda(), uint8_images(4, 8).cuda())
    schedule = Schedule(epochs=50, batch=8, lr=1e-3, warmup=2)
    result = train(
        objective, schedule, seed=0, runtime=started, checkpoint=tmp_path / "state", label="test"
    )
    losses = [row["reconstruction"] for row in result["curve"]]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.9 * losses[0]


def test_the_networks_are_the_same_functions_as_on_the_cpu():
    model, x, images = spread(LAVAE(), scale=0.01), float_images(3), uint8_images(6)
    expected = model.augment(x, "L1 L2^-1").detach(), *encode(model, images)
    model.cuda()
    result = model.augment(x.cuda(), "L1 L2^-1").detach(), *encode(model, images.cuda())
    for one, other in zip(result, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-3, atol=1e-3)
