"""The same code on a CUDA device; skipped, and said so, where there is none."""

import pytest
import torch
from made_up import normal, same_weights, spread, uint8_images

from lavae_core import evaluation, plotting, runtime, tasks, training
from lavae_core.experiments import encode
from lavae_core.models import LAVAE, Decoder
from lavae_core.profiles import Schedule

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="this machine has no CUDA device"
)
FEW = Schedule(epochs=4, batch=8, lr=1e-3, warmup=2)


def trained(started, folder, images):
    """A LAVAE after a few steps of stage 1, and its loss curve."""
    model = spread(LAVAE(), scale=0.01).to(started.device)
    told = training.train(
        tasks.Stage1(model, images.to(started.device)), FEW, seed=0, runtime=started,
        checkpoint=folder / "state", label="test",
    )  # fmt: skip
    return model, told["curve"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_trainings_give_the_same_bits(precision, tmp_path):
    started = runtime.start("cuda", precision)
    one, other = (trained(started, tmp_path, uint8_images(4, 8)) for _ in range(2))
    assert same_weights(one[0].cpu(), other[0].cpu())
    assert one[1] == other[1]


def test_a_head_learns_on_the_device(tmp_path):
    started = runtime.start("cuda")
    task = tasks.Stage3(Decoder().cuda(), normal(4, 8, 16).cuda(), uint8_images(4, 8).cuda())
    schedule = Schedule(epochs=50, batch=8, lr=1e-3, warmup=2)
    told = training.train(
        task, schedule, seed=0, runtime=started, checkpoint=tmp_path / "state", label="test"
    )
    losses = [row["reconstruction"] for row in told["curve"]]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.9 * losses[0]


def test_the_networks_are_the_same_functions_as_on_the_cpu():
    model, images = spread(LAVAE(), scale=0.01), uint8_images(4, 6)
    expected = evaluation.lavae_scores(model, images)
    found = evaluation.lavae_scores(model.cuda(), images.cuda())
    torch.testing.assert_close(
        torch.tensor(found.to_numpy()), torch.tensor(expected.to_numpy()), rtol=1e-3, atol=1e-3
    )


def test_pictures_are_drawn_of_what_is_on_the_device():
    model, images = spread(LAVAE(), scale=0.01).cuda(), uint8_images(3).cuda()
    mu, _ = encode(model, images)
    plotting.digit_rows({"x": images, "z": evaluation.decoded(model, mu, "")}, "on the device")
