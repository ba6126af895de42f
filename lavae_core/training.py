"""The one training loop: any objective, AdaBelief, resumable to the bit.

All randomness of step t comes from streams of (seed, t). So a state is the parameters, the
optimizer's two moments, t, and what an objective averages over steps (its tensors in `running`, which
it updates in place), and a killed run resumes to the same bits.
"""

import contextlib
import hashlib
import io
import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from adabelief_pytorch import AdaBelief
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm.std import tqdm

from lavae_core.errors import TrainingError, require_known, require_number, require_whole
from lavae_core.objectives import Objective
from lavae_core.runtime import Runtime, generator, stream

DECAYS = ("cosine", "linear", "constant")
CHECKPOINT_STEPS = 500
LOG_STEPS = 50


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train with AdaBelief.

    epochs: passes over the samples, may be a fraction. batch: images. lr: peak learning rate, after
    `warmup` steps of linear warm-up; then a cosine or linear decay to zero, or constant (the paper).
    Raises InvalidInputError for a value that is not allowed.
    """

    epochs: float
    batch: int = 64
    lr: float = 2.5e-3
    warmup: int = 500
    decay: str = "cosine"

    def __post_init__(self) -> None:
        require_number("epochs", self.epochs, positive=True)
        require_whole("batch", self.batch, 1)
        require_number("learning rate", self.lr)
        require_whole("warm-up steps", self.warmup, 0)
        require_known("decay", self.decay, DECAYS)


def learning_rate(schedule: Schedule, step: int, total: int) -> float:
    """Learning rate of a step (0, ..., total - 1): linear warm-up times the schedule's decay."""
    warm = min(1.0, (step + 1) / schedule.warmup) if schedule.warmup else 1.0
    decay = {
        "cosine": 0.5 * (1 + math.cos(math.pi * step / total)),
        "linear": 1 - step / total,
        "constant": 1.0,
    }
    return schedule.lr * warm * decay[schedule.decay]


def samples_per_step(objective: Objective, schedule: Schedule) -> int:
    """Samples whose images fill a batch of the schedule, at least one and at most an epoch."""
    return max(1, min(schedule.batch // objective.images_per_sample, objective.size))


def total_steps(objective: Objective, schedule: Schedule) -> int:
    """Steps of a whole run: epochs times full batches of an epoch, at least one."""
    return max(
        1, round(schedule.epochs * (objective.size // samples_per_step(objective, schedule)))
    )


class _FlatAdaBelief:
    """AdaBelief on one flat vector that all parameters are views of: ten operations a step instead
    of ten for each parameter, with the same arithmetic. `running` is saved with its state."""

    def __init__(self, module: nn.Module, running: dict[str, Tensor]):
        self._running = running
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self.flat = torch.cat([p.detach().flatten() for p in self._parameters])
        self.flat.grad = torch.zeros_like(self.flat)
        offset = 0
        for parameter in self._parameters:
            end = offset + parameter.numel()
            parameter.data = self.flat[offset:end].view(parameter.shape)
            parameter.grad = self.flat.grad[offset:end].view(parameter.shape)
            offset = end
        with contextlib.redirect_stdout(io.StringIO()):  # it prints advice on construction
            self.optimizer = AdaBelief(
                [self.flat], lr=1.0, eps=1e-16, betas=(0.9, 0.999), weight_decouple=False,
                rectify=False, print_change_log=False,
            )  # fmt: skip
            self.optimizer.reset()

    def step(self, lr: float) -> None:
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.step()
        self.flat.grad.zero_()

    def release(self) -> None:
        """Give every parameter memory of its own again, as safetensors asks."""
        for parameter in self._parameters:
            parameter.data, parameter.grad = parameter.data.clone(), None

    def state(self) -> dict[str, Tensor]:
        moments = self.optimizer.state[self.flat]
        return {
            "parameters": self.flat,
            "exp_avg": moments["exp_avg"],
            "exp_avg_var": moments["exp_avg_var"],
            **self._running,
        }

    def restore(self, state: dict[str, Tensor], step: int) -> None:
        # All are looked up before any is copied: a state that does not fit changes nothing.
        saved = {name: state[name].view_as(tensor) for name, tensor in self.state().items()}
        for name, tensor in self.state().items():
            tensor.copy_(saved[name])
        self.optimizer.state[self.flat]["step"] = step


def train(
    objective: Objective,
    schedule: Schedule,
    *,
    seed: int,
    runtime: Runtime,
    checkpoint: Path,
    label: str,
    states: Mapping[int, Path] | None = None,
) -> dict[str, Any]:
    """Train `objective.module` in place; return its "curve" and "seconds".

    The curve has a row for every 50 steps: step, and each loss as a mean over those images.
    "seconds" includes earlier, interrupted runs up to their last checkpoint. The run resumes from
    the file `checkpoint` where it exists; the caller removes it once the result is safe. A progress
    bar on stderr, named `label`, is shown on a terminal and in a notebook.
    states: where else to write the state after so many steps, as a checkpoint of a shorter run.
    Raises TrainingError for a loss that is not finite, naming the step; the last state is kept.
    """
    total, batch = total_steps(objective, schedule), samples_per_step(objective, schedule)
    optimizer = _FlatAdaBelief(objective.module, getattr(objective, "running", {}))
    step, curve, earlier = _resume(checkpoint, optimizer)
    started = time.monotonic() - earlier
    bar = _progress_bar(label, total, step)
    batches = _Batches(objective.size, batch, seed, runtime.device)
    noise = torch.Generator(device=runtime.device)
    window: list[dict[str, float]] = []
    while step < total:
        noise.manual_seed(stream(seed, "noise", step))
        values = _backward(objective, batches.of(step), noise, runtime)
        if not math.isfinite(sum(values.values())):
            raise TrainingError(
                f"{label}: the loss is not finite at step {step + 1} of {total}; "
                f"the last good state is kept; lower the learning rate ({schedule.lr:g})"
            )
        optimizer.step(learning_rate(schedule, step, total))
        step += 1
        window.append(values)
        bar.update()
        if step % LOG_STEPS == 0 or step == total:
            row = {name: sum(each[name] for each in window) / len(window) for name in values}
            curve.append({"step": step, **row})
            bar.set_postfix({name: f"{each:.4g}" for name, each in row.items()}, refresh=False)
            window.clear()
        if step % CHECKPOINT_STEPS == 0 and step < total:
            _save(checkpoint, optimizer, step, curve, time.monotonic() - started)
        if states and step in states:
            _save(states[step], optimizer, step, curve, time.monotonic() - started)
    bar.close()
    optimizer.release()
    return {"curve": curve, "seconds": round(time.monotonic() - started, 3)}


def _progress_bar(label: str, total: int, done: int) -> tqdm:
    # The stderr of a kernel is no terminal; tqdm's own TQDM_DISABLE silences it there.
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    only_on_terminal = {} if hasattr(shell, "kernel") else {"disable": None}
    return tqdm(total=total, initial=done, desc=label, leave=False, **only_on_terminal)


def _backward(
    objective: Objective, index: Tensor, noise: torch.Generator, runtime: Runtime
) -> dict[str, float]:
    """Add the gradients of a batch to those of the parameters; each loss as a mean over images."""
    with runtime.autocast():
        terms = objective.losses(index, noise)
        loss = sum(terms.values())
    loss.backward()
    return {
        name: value.item() / (len(index) * objective.images_per_sample)
        for name, value in terms.items()
    }


class _Batches:
    """The samples of each step: every epoch a fresh permutation, drawn from (seed, epoch)."""

    def __init__(self, size: int, batch: int, seed: int, device: str):
        self._size, self._batch, self._seed, self._device = size, batch, seed, device
        self._epoch, self._permutation = -1, torch.empty(0)

    def of(self, step: int) -> Tensor:
        epoch, position = divmod(step, self._size // self._batch)
        if epoch != self._epoch:
            source = generator("cpu", self._seed, "order", epoch)
            self._permutation = torch.randperm(self._size, generator=source).to(self._device)
            self._epoch = epoch
        return self._permutation[position * self._batch : (position + 1) * self._batch]


def _save(path: Path, optimizer: _FlatAdaBelief, step: int, curve: list, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, state = path.with_suffix(".partial"), optimizer.state()
    metadata = {"step": str(step), "curve": json.dumps(curve), "seconds": f"{seconds:.3f}"}
    save_file(state, partial, metadata | {"digest": _digest(state, **metadata)})
    partial.replace(path)


def _digest(state: dict[str, Tensor], step: str, curve: str, seconds: str) -> str:
    """SHA-256 of all that a checkpoint holds: safetensors would not notice a flipped bit."""
    digest = hashlib.sha256(f"{step}/{curve}/{seconds}".encode())
    for name in sorted(state):
        digest.update(state[name].cpu().numpy())
    return digest.hexdigest()


def _resume(path: Path, optimizer: _FlatAdaBelief) -> tuple[int, list, float]:
    """Step, curve and seconds to resume from; a file that cannot be used is removed."""
    if not path.is_file():
        return 0, [], 0.0
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        state, digest = load_file(path), metadata.pop("digest")
        if _digest(state, **metadata) != digest:
            raise ValueError("damaged")
        step, curve = int(metadata["step"]), json.loads(metadata["curve"])
        seconds = float(metadata["seconds"])
        optimizer.restore(state, step)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError):
        path.unlink()
        return 0, [], 0.0
    return step, curve, seconds
