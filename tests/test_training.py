"""The loop: its optimizer, schedule and randomness, and what a killed run leaves behind."""

import contextlib
import io
import math
from dataclasses import replace

import pytest
import torch
from adabelief_pytorch import AdaBelief
from made_up import normal, same_weights, spread, uint8_images
from safetensors.torch import load_file, save_file
from torch import nn

from lavae_core import training
from lavae_core.errors import TrainingError
from lavae_core.models import LAVAE
from lavae_core.profiles import Schedule
from lavae_core.runtime import Runtime
from lavae_core.tasks import Stage1
from lavae_core.training import learning_rate, samples_per_step, total_steps, train

TOTAL = 14  # steps of the small runs: 12 samples in batches of 5, and 7 epochs
SCHEDULE = Schedule(epochs=7, batch=5, lr=0.01, warmup=3)


class Killed(Exception):
    """What a test raises in the middle of a run."""


class Regression:
    """A small task that uses both kinds of randomness; `at_step` maps a call to what happens."""

    def __init__(self, at_step=None, size=12):
        self.module = spread(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)))
        with torch.no_grad():
            for seed, parameter in enumerate(self.module.parameters()):
                parameter.copy_(normal(*parameter.shape, seed=seed))
        self.size, self.images_per_sample = size, 1
        self.inputs, self.targets = normal(size, 4), normal(size, 2, seed=1)
        self.at_step, self.seen = at_step or {}, []

    def losses(self, index, generator):
        self.seen.append(index.tolist())
        x = self.inputs[index] + 0.1 * torch.randn(len(index), 4, generator=generator)
        loss = (self.module(x) - self.targets[index]).square().sum()
        what = self.at_step.get(len(self.seen), 0.0)
        if isinstance(what, Exception):
            raise what
        return {"error": loss, "extra": loss.detach() * what}


@pytest.fixture
def run(cpu, tmp_path, monkeypatch):
    """A function that trains a task, with a state saved after every fourth step."""
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 4)
    monkeypatch.setattr(training, "LOG_STEPS", 2)

    def go(task, schedule=SCHEDULE, seed=0, runtime=cpu):
        state = tmp_path / "state"
        told = train(task, schedule, seed=seed, runtime=runtime, checkpoint=state, label="test")
        state.unlink(missing_ok=True)  # as the caller does once the model is safe
        return told["curve"]

    return go


@pytest.fixture
def undisturbed(run):
    task = Regression()
    return task, run(task)


# --- optimizer and schedule ----------------------------------------------------------------------


def test_flat_adabelief_is_adabelief_of_every_parameter():
    flat, separate = Regression().module, Regression().module
    before = Regression().module
    ours = training._FlatAdaBelief(flat)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = AdaBelief(
            separate.parameters(), lr=1.0, eps=1e-16, betas=(0.9, 0.999), weight_decouple=False,
            rectify=False, print_change_log=False,
        )  # fmt: skip
    for step in range(25):
        lr = 0.02 / (1 + step)
        x = normal(8, 4, seed=step)
        (1e-4 * flat(x).square().sum()).backward()  # so small that the paper's eps matters
        ours.step(lr)
        theirs.zero_grad()
        (1e-4 * separate(x).square().sum()).backward()
        theirs.param_groups[0]["lr"] = lr
        theirs.step()
        for a, b in zip(flat.parameters(), separate.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
    assert not torch.allclose(flat[0].weight, before[0].weight, atol=1e-3)


def test_flat_adabelief_leaves_frozen_parameters_alone():
    module = Regression().module
    module[2].requires_grad_(False)
    before = module[2].weight.clone()
    optimizer = training._FlatAdaBelief(module)
    module(normal(8, 4)).square().sum().backward()
    optimizer.step(0.1)
    assert torch.equal(module[2].weight, before)
    assert optimizer.flat.numel() == 4 * 3 + 3


def test_learning_rate():
    schedule = Schedule(1, lr=0.5, warmup=10)
    cosine = [learning_rate(schedule, step, 100) for step in range(100)]
    assert math.isclose(cosine[0], 0.5 / 10)
    assert math.isclose(cosine[4], 0.5 * 0.5 * 0.5 * (1 + math.cos(0.04 * math.pi)))
    assert math.isclose(cosine[50], 0.25)
    assert 0 < cosine[99] < 0.5 * 0.001
    assert all(a > b for a, b in zip(cosine[10:], cosine[11:], strict=False))

    linear = Schedule(1, lr=0.5, warmup=4, decay="linear")
    found = [learning_rate(linear, step, 100) for step in (0, 50, 99)]
    assert found == pytest.approx([0.125, 0.25, 0.005])

    constant = Schedule(1, lr=0.5, warmup=4, decay="constant")
    found = [learning_rate(constant, step, 100) for step in (0, 1, 3, 4, 99)]
    assert found == [0.125, 0.25, 0.5, 0.5, 0.5]
    assert learning_rate(Schedule(1, lr=0.5, warmup=0), 0, 100) == 0.5


@pytest.mark.parametrize("decay", ["cosine", "linear", "constant"])
def test_each_step_has_the_rate_of_its_schedule(decay, run, monkeypatch):
    rates, step = [], training._FlatAdaBelief.step

    def listening(optimizer, lr):
        rates.append(lr)
        step(optimizer, lr)

    monkeypatch.setattr(training._FlatAdaBelief, "step", listening)
    schedule = replace(SCHEDULE, decay=decay)
    run(Regression(), schedule)
    assert rates == [learning_rate(schedule, step, TOTAL) for step in range(TOTAL)]


@pytest.mark.parametrize(
    ("size", "images", "schedule", "per_step", "steps"),
    [
        (100, 1, Schedule(3, batch=10), 10, 30),
        (105, 1, Schedule(3, batch=10), 10, 30),  # the last, partial batch is left out
        (100, 1, Schedule(0.5, batch=10), 10, 5),
        (100, 4, Schedule(1, batch=40), 10, 10),
        (100, 3, Schedule(1, batch=64), 21, 4),
        (5, 1, Schedule(2, batch=64), 5, 2),
        (5, 4, Schedule(1, batch=2), 1, 5),
        (5, 1, Schedule(0.01, batch=1), 1, 1),
    ],
)
def test_number_of_samples_and_steps(size, images, schedule, per_step, steps):
    task = Regression(size=size)
    task.images_per_sample = images
    assert samples_per_step(task, schedule) == per_step
    assert total_steps(task, schedule) == steps


# --- randomness ----------------------------------------------------------------------------------


def test_an_epoch_sees_every_sample_once_and_in_an_order_of_its_own(run):
    task = Regression()
    run(task, Schedule(epochs=3, batch=4))
    epochs = [sum(task.seen[start : start + 3], []) for start in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 3


def test_a_run_is_determined_by_its_seed(run, undisturbed):
    first, curve = undisturbed
    torch.manual_seed(1)  # the global generator has no say
    again = Regression()
    assert run(again) == curve
    assert same_weights(again.module, first.module)
    assert again.seen == first.seen

    other = Regression()
    run(other, seed=1)
    assert not same_weights(other.module, first.module)
    assert other.seen != first.seen


def test_the_noise_of_a_step_is_drawn_anew(run):
    drawn = []

    class Listening(Regression):
        def losses(self, index, generator):
            drawn.append(torch.rand(1, generator=generator).item())
            return super().losses(index, generator)

    run(Listening())
    assert len(set(drawn)) == TOTAL


def test_training_lowers_the_loss(run):
    curve = run(Regression(), Schedule(epochs=60, batch=6, lr=0.03, warmup=5))
    assert curve[-1]["error"] < 0.5 * curve[0]["error"]


def test_the_curve_has_a_row_for_every_window(undisturbed):
    _, curve = undisturbed
    assert [row["step"] for row in curve] == [2, 4, 6, 8, 10, 12, 14]


def test_the_curve_holds_means_over_images_also_of_a_window_that_is_not_full(run):
    class Flat(Regression):
        """Costs 6 a sample of two images, whatever the weights are."""

        def losses(self, index, generator):
            error = super().losses(index, generator)["error"]
            return {"error": 0 * error + 6.0 * len(index)}

    task = Flat()
    task.images_per_sample = 2
    curve = run(task, Schedule(epochs=1.5, batch=10, lr=0.0))  # three steps of five samples
    assert curve == [{"step": 2, "error": 3.0}, {"step": 3, "error": 3.0}]


# --- killed and resumed --------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 4, 5, 8, 9, 11, 14])
def test_a_killed_run_goes_on_to_the_same_bits(at, run, undisturbed, tmp_path):
    expected, curve = undisturbed
    with pytest.raises(Killed):
        run(Regression({at: Killed()}))
    resumed = Regression()
    assert run(resumed) == curve
    assert same_weights(resumed.module, expected.module)
    saved = (at - 1) // 4 * 4  # the loss of step `at` raised, so at - 1 steps were done
    assert len(resumed.seen) == TOTAL - saved
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_tells_the_seconds_of_its_earlier_part(run, cpu, tmp_path):
    with pytest.raises(Killed):
        run(Regression({6: Killed()}))
    path = tmp_path / "state"
    signed(path, step="4", seconds="1000")
    told = train(Regression(), SCHEDULE, seed=0, runtime=cpu, checkpoint=path, label="test")
    assert 1000 < told["seconds"] < 1100


def test_killed_twice(run, undisturbed):
    expected, curve = undisturbed
    for at in (6, 6):  # in step 6, and then in step 4 + 6
        with pytest.raises(Killed):
            run(Regression({at: Killed()}))
    resumed = Regression()
    assert run(resumed) == curve
    assert same_weights(resumed.module, expected.module)
    assert len(resumed.seen) == TOTAL - 8


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_killed_stage_1_goes_on_to_the_same_bits(precision, run):
    class Stage1UntilStep6(Stage1):
        calls = 0

        def losses(self, index, generator):
            self.calls += 1
            if self.calls == 6:
                raise Killed
            return super().losses(index, generator)

    schedule, runtime = Schedule(epochs=2, batch=4, lr=1e-3, warmup=2), Runtime("cpu", precision)
    models = [spread(LAVAE(), scale=0.01) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    tasks = [Stage1(model, uint8_images(4, 4)) for model in models]
    curve = run(tasks[0], schedule, runtime=runtime)
    with pytest.raises(Killed):
        broken = LAVAE()
        broken.load_state_dict(models[1].state_dict())
        run(Stage1UntilStep6(broken, uint8_images(4, 4)), schedule, runtime=runtime)
    assert run(tasks[1], schedule, runtime=runtime) == curve
    assert same_weights(models[0], models[1])


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def signed(path, change=lambda state: None, **told):
    """Write the state again after `change`, with a digest that fits it."""
    state, told = load_file(path), {"step": "8", "curve": "[]", "seconds": "1"} | told
    change(state)
    save_file(state, path, told | {"digest": training._digest(state, **told)})


def of_another_model(state):
    state.update({name: tensor[:-1].clone() for name, tensor in state.items()})


def with_one_shape_that_differs(state):
    state["exp_avg"] = state["exp_avg"][:1].clone()


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "truncated": truncate,
    "emptied": lambda path: path.write_bytes(b""),
    "no safetensors": lambda path: path.write_bytes(b"x" * 500),
    "no metadata": lambda path: save_file(load_file(path), path),
    "no step": lambda path: save_file(load_file(path), path, {"curve": "[]", "digest": "0"}),
    "a bit flipped": flip_a_bit,
    "step is no number": lambda path: signed(path, step="eight"),
    "curve is no JSON": lambda path: signed(path, curve="["),
    "seconds are no number": lambda path: signed(path, seconds="long"),
    "a moment is missing": lambda path: signed(path, lambda state: state.pop("exp_avg_var")),
    "another model": lambda path: signed(path, of_another_model),
    "one shape differs": lambda path: signed(path, with_one_shape_that_differs),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_starts_the_run_again(damage, run, undisturbed, tmp_path):
    expected, curve = undisturbed
    with pytest.raises(Killed):
        run(Regression({11: Killed()}))
    damage(tmp_path / "state")
    again = Regression()
    assert run(again) == curve
    assert same_weights(again.module, expected.module)
    assert len(again.seen) == TOTAL


def test_a_save_that_was_cut_short_leaves_the_state_before_it(run, undisturbed, tmp_path):
    expected, _ = undisturbed
    with pytest.raises(Killed):
        run(Regression({11: Killed()}))
    (tmp_path / "state.partial").write_bytes(b"half")
    resumed = Regression()
    run(resumed)
    assert same_weights(resumed.module, expected.module)
    assert len(resumed.seen) == TOTAL - 8


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite(value, run, undisturbed, tmp_path):
    expected, _ = undisturbed
    with pytest.raises(TrainingError, match=r"^test: .* not finite at step 11 of 14; .*0\.01"):
        run(Regression({11: value}))
    assert (tmp_path / "state").is_file()
    resumed = Regression()
    run(resumed)
    assert same_weights(resumed.module, expected.module)
    assert len(resumed.seen) == TOTAL - 8


def test_parameters_own_their_memory_afterwards(undisturbed, tmp_path):
    task, _ = undisturbed
    storages = {parameter.untyped_storage().data_ptr() for parameter in task.module.parameters()}
    assert len(storages) == 4
    save_file(task.module.state_dict(), tmp_path / "weights")  # refuses shared memory
