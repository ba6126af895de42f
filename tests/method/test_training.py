"""The loop: its optimizer, schedule and randomness, and what a killed run leaves behind."""

import contextlib
import io
import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from adabelief_pytorch import AdaBelief
from made_up import normal, same_weights, spread, uint8_images
from safetensors.torch import load_file, save_file
from torch import nn

from lavae_core import training
from lavae_core.errors import InvalidInputError, TrainingError
from lavae_core.models import LAVAE
from lavae_core.objectives import VAEObjective
from lavae_core.runtime import Runtime
from lavae_core.training import Schedule, learning_rate, samples_per_step, total_steps, train

TOTAL = 14  # steps of the small runs: 12 samples in batches of 5, and 7 epochs
SCHEDULE = Schedule(epochs=7, batch=5, lr=0.01, warmup=3)


class Killed(Exception):
    """What a test raises in the middle of a run."""


class Regression:
    """A small objective that uses both kinds of randomness; `at_step` maps a call to what happens."""

    def __init__(self, at_step=None, size=12, width=3, noise=0.1, scale=1.0):
        layers = nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 2)
        self.module = nn.Sequential(*layers)
        with torch.no_grad():
            for seed, parameter in enumerate(self.module.parameters()):
                parameter.copy_(normal(*parameter.shape, seed=seed))
        self.size, self.images_per_sample = size, 1
        self.inputs, self.targets = normal(size, 4), normal(size, 2, seed=1)
        self.noise, self.scale = noise, scale
        self.at_step, self.seen = at_step or {}, []

    def losses(self, index, generator):
        self.seen.append(index.tolist())
        x = self.inputs[index] + self.noise * torch.randn(len(index), 4, generator=generator)
        loss = self.scale * (self.module(x) - self.targets[index]).square().sum()
        event = self.at_step.get(len(self.seen), 0.0)
        if isinstance(event, Exception):
            raise event
        return {"error": loss, "extra": loss.detach() * event}


@pytest.fixture
def run(cpu, tmp_path, monkeypatch):
    """A function that trains an objective, with a state saved after every fourth step."""
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 4)
    monkeypatch.setattr(training, "LOG_STEPS", 2)

    def run(objective, schedule=SCHEDULE, seed=0, runtime=cpu):
        state = tmp_path / "state"
        result = train(
            objective, schedule, seed=seed, runtime=runtime, checkpoint=state, label="test"
        )
        state.unlink(missing_ok=True)  # as the caller does once the model is safe
        return result["curve"]

    return run


@pytest.fixture
def undisturbed(run):
    objective = Regression()
    return objective, run(objective)


# --- optimizer and schedule ----------------------------------------------------------------------


@pytest.mark.parametrize("decay", ["cosine", "linear", "constant"])
def test_training_is_adabelief_with_the_rates_of_the_schedule(decay, run):
    schedule = replace(SCHEDULE, decay=decay)
    trained = Regression(noise=0.0, scale=1e-4)  # gradients so small that the paper's eps matters
    run(trained, schedule)

    separate = Regression(noise=0.0, scale=1e-4)
    with contextlib.redirect_stdout(io.StringIO()):
        optimizer = AdaBelief(
            separate.module.parameters(), lr=1.0, eps=1e-16, betas=(0.9, 0.999),
            weight_decouple=False, rectify=False, print_change_log=False,
        )  # fmt: skip
    for step, index in enumerate(trained.seen):
        optimizer.param_groups[0]["lr"] = learning_rate(schedule, step, TOTAL)
        optimizer.zero_grad()
        separate.losses(torch.tensor(index), torch.Generator())["error"].backward()
        optimizer.step()
    for name, weight in trained.module.state_dict().items():
        torch.testing.assert_close(weight, separate.module.state_dict()[name], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(trained.module[0].weight, Regression().module[0].weight, atol=1e-3)


def test_frozen_parameters_stay(run):
    objective = Regression()
    objective.module[2].requires_grad_(False)
    run(objective)
    before, after = Regression().module, objective.module
    assert torch.equal(after[2].weight, before[2].weight)
    assert not torch.equal(after[0].weight, before[0].weight)


def test_learning_rate():
    schedule = Schedule(1, lr=0.5, warmup=10)
    cosine = [learning_rate(schedule, step, 100) for step in range(100)]
    assert math.isclose(cosine[0], 0.5 / 10)
    assert math.isclose(cosine[4], 0.5 * 0.5 * 0.5 * (1 + math.cos(0.04 * math.pi)))
    assert math.isclose(cosine[50], 0.25)
    assert 0 < cosine[99] < 0.5 * 0.001
    assert all(a > b for a, b in zip(cosine[10:], cosine[11:], strict=False))

    linear = Schedule(1, lr=0.5, warmup=4, decay="linear")
    rates = [learning_rate(linear, step, 100) for step in (0, 50, 99)]
    assert rates == pytest.approx([0.125, 0.25, 0.005])

    constant = Schedule(1, lr=0.5, warmup=4, decay="constant")
    rates = [learning_rate(constant, step, 100) for step in (0, 1, 3, 4, 99)]
    assert rates == [0.125, 0.25, 0.5, 0.5, 0.5]
    assert learning_rate(Schedule(1, lr=0.5, warmup=0), 0, 100) == 0.5


@pytest.mark.parametrize(
    "options",
    [{"epochs": 0}, {"epochs": -1}, {"epochs": "two"}, {"epochs": float("inf")}, {"batch": 0},
     {"batch": 1.5}, {"lr": float("nan")}, {"lr": -0.1}, {"warmup": -1}, {"warmup": True},
     {"decay": "exponential"}],
    ids=str,
)  # fmt: skip
def test_schedules_that_are_refused(options):
    (value,) = options.values()
    with pytest.raises(InvalidInputError, match=repr(value)):
        Schedule(**{"epochs": 1} | options)


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
    objective = Regression(size=size)
    objective.images_per_sample = images
    assert samples_per_step(objective, schedule) == per_step
    assert total_steps(objective, schedule) == steps


# --- randomness ----------------------------------------------------------------------------------


def test_an_epoch_sees_every_sample_once_and_in_an_order_of_its_own(run):
    objective = Regression()
    run(objective, Schedule(epochs=3, batch=4))
    epochs = [sum(objective.seen[start : start + 3], []) for start in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 3


def test_a_run_is_determined_by_its_seed(run, undisturbed):
    first, curve = undisturbed
    torch.manual_seed(1)  # the global generator has no influence
    again = Regression()
    assert run(again) == curve
    assert same_weights(again.module, first.module)
    assert again.seen == first.seen

    other = Regression()
    run(other, seed=1)
    assert not same_weights(other.module, first.module)
    assert other.seen != first.seen


def test_every_step_has_noise_of_its_own(run):
    drawn = []

    class Listening(Regression):
        def losses(self, index, generator):
            drawn.append(torch.rand(1, generator=generator).item())
            return super().losses(index, generator)

    run(Listening())
    assert len(set(drawn)) == TOTAL


# --- the curve and the bar -----------------------------------------------------------------------


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

    objective = Flat()
    objective.images_per_sample = 2
    curve = run(objective, Schedule(epochs=1.5, batch=10, lr=0.0))  # three steps of five samples
    assert curve == [{"step": 2, "error": 3.0}, {"step": 3, "error": 3.0}]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_and_a_log_stays_empty(run, monkeypatch):
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        monkeypatch.setattr(sys, "stderr", stream)
        run(Regression())
    assert "test: " in terminal.getvalue() and f"/{TOTAL}" in terminal.getvalue()
    assert log.getvalue() == ""


def test_a_resumed_run_shows_what_was_done_before(run, monkeypatch):
    with pytest.raises(Killed):
        run(Regression({11: Killed()}))
    monkeypatch.setattr(sys, "stderr", Terminal())
    run(Regression())
    assert f"8/{TOTAL}" in sys.stderr.getvalue()


IN_A_KERNEL = """
import sys, torch
from pathlib import Path
from types import SimpleNamespace
from lavae_core import objectives, runtime, training
from lavae_core.models import Decoder
shell = SimpleNamespace(kernel=None)
sys.modules["IPython"] = SimpleNamespace(get_ipython=lambda: shell)
images = torch.zeros(1, 2, 28, 28, dtype=torch.uint8)
objective = objectives.HeadObjective(Decoder(), torch.zeros(1, 2, 16), images)
training.train(objective, training.Schedule(1), seed=0, runtime=runtime.start("cpu", "fp32"),
               checkpoint=Path("state"), label="a head")
"""


@pytest.mark.parametrize(("disabled", "bar"), [("", True), ("1", False)])
def test_a_kernel_shows_a_bar_unless_tqdm_is_switched_off(disabled, bar, tmp_path):
    environment = {name: each for name, each in os.environ.items() if "TQDM" not in name}
    if disabled:
        environment["TQDM_DISABLE"] = disabled
    done = subprocess.run(
        [sys.executable, "-c", IN_A_KERNEL], env=environment, cwd=tmp_path,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ("a head: " in done.stderr) == bar


# --- killed and resumed --------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 4, 5, 8, 9, 11, 14])
def test_a_killed_run_resumes_to_the_same_bits(at, run, undisturbed, tmp_path):
    expected, curve = undisturbed
    with pytest.raises(Killed):
        run(Regression({at: Killed()}))
    resumed = Regression()
    assert run(resumed) == curve
    assert same_weights(resumed.module, expected.module)
    saved = (at - 1) // 4 * 4  # the loss of step `at` raised, so at - 1 steps were done
    assert len(resumed.seen) == TOTAL - saved
    assert not list(tmp_path.iterdir())


def test_the_seconds_of_a_resumed_run_include_its_earlier_part(run, cpu, tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])

    class Slow(Regression):
        """Takes ten seconds a step."""

        def losses(self, index, generator):
            clock[0] += 10
            return super().losses(index, generator)

    with pytest.raises(Killed):
        run(Slow({6: Killed()}))
    clock[0] += 1000  # until a person starts it again
    result = train(
        Slow(), SCHEDULE, seed=0, runtime=cpu, checkpoint=tmp_path / "state", label="test"
    )
    assert result["seconds"] == 10 * TOTAL


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
def test_a_killed_stage_1_resumes_to_the_same_bits(precision, run):
    class UntilStep6(VAEObjective):
        calls = 0

        def losses(self, index, generator):
            self.calls += 1
            if self.calls == 6:
                raise Killed
            return super().losses(index, generator)

    schedule, runtime = Schedule(epochs=2, batch=4, lr=1e-3, warmup=2), Runtime("cpu", precision)
    start = spread(LAVAE(), scale=0.01)
    whole, killed, resumed = LAVAE(), LAVAE(), LAVAE()
    for model in (whole, killed, resumed):
        model.load_state_dict(start.state_dict())
    curve = run(VAEObjective(whole, uint8_images(4, 4)), schedule, runtime=runtime)
    with pytest.raises(Killed):
        run(UntilStep6(killed, uint8_images(4, 4)), schedule, runtime=runtime)
    assert run(VAEObjective(resumed, uint8_images(4, 4)), schedule, runtime=runtime) == curve
    assert same_weights(resumed, whole) and not same_weights(resumed, start)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "emptied": lambda path: path.write_bytes(b""),
    "no safetensors": lambda path: path.write_bytes(b"x" * 500),
    "no metadata": lambda path: save_file(load_file(path), path),
    "no step": lambda path: save_file(load_file(path), path, {"curve": "[]", "digest": "0"}),
    "a bit flipped": flip_a_bit,
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


def test_the_state_of_another_model_starts_the_run_again(run, undisturbed):
    expected, curve = undisturbed
    with pytest.raises(Killed):
        run(Regression({11: Killed()}, width=5))
    again = Regression()
    assert run(again) == curve
    assert same_weights(again.module, expected.module)


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
    with pytest.raises(TrainingError, match=r"test.* 11 of 14.*0\.01"):
        run(Regression({11: value}))
    assert (tmp_path / "state").is_file()
    resumed = Regression()
    run(resumed)
    assert same_weights(resumed.module, expected.module)
    assert len(resumed.seen) == TOTAL - 8


def test_parameters_own_their_memory_afterwards(undisturbed, tmp_path):
    objective, _ = undisturbed
    storages = {each.untyped_storage().data_ptr() for each in objective.module.parameters()}
    assert len(storages) == 4
    save_file(objective.module.state_dict(), tmp_path / "weights")  # refuses shared memory
