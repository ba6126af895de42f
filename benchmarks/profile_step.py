"""Milliseconds of a stage-1 step by kind of work, of the baseline and of this project.

    python benchmarks/profile_step.py

torch.profiler's operators are grouped by name; the rest of the time is Python and the data loader.
The profiler takes time itself, so the sums are above those of run.py. Writes profile.csv, where the
rows of other machines stay.
"""

import tempfile
import time
from itertools import islice
from pathlib import Path

import baseline
import pandas as pd
import tables
import torch
from run import keep, machine
from torch.profiler import ProfilerActivity, profile

from lavae_companion import data
from lavae_companion.paper import FLIPS
from lavae_core import augmentations, runtime, training
from lavae_core.models import LAVAE
from lavae_core.objectives import VAEObjective
from lavae_core.training import Schedule

STEPS = 50
N_IMAGES = 10_000  # enough: a step sees 64

# The first group that has a part of an operator's name takes it.
GROUPS = {
    "convolutions, backward": ("convolution_backward", "im2col"),
    "convolutions, forward": ("convolution", "mkldnn", "slow_conv", "thnn_conv", "col2im"),
    "linear layers and maps": ("addmm", "aten::mm", "matmul", "linear"),
    "activations and loss": ("relu", "threshold", "clamp", "sigmoid", "binary_cross", "softplus",
                             "log_sigmoid"),
    "copies, gathering, batches": ("copy", "index", "cat", "stack", "flip", "to_copy", "empty",
                                   "fill", "zero", "select", "slice", "view"),
}  # fmt: skip


def group_of(name: str) -> str:
    groups = (group for group, parts in GROUPS.items() if any(part in name for part in parts))
    return next(groups, "optimizer and other arithmetic")


def account(steps) -> dict[str, float]:
    """Milliseconds per step and group of work; `steps` runs STEPS steps."""
    started = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        steps()
    wall = (time.perf_counter() - started) * 1e3 / STEPS
    groups: dict[str, float] = dict.fromkeys([*GROUPS, "optimizer and other arithmetic"], 0.0)
    for event in recorded.key_averages():
        if event.key.startswith("aten::"):
            groups[group_of(event.key)] += event.self_cpu_time_total / 1e3 / STEPS
    groups["Python and data loader"] = wall - sum(groups.values())
    return groups | {"step": wall}


def main() -> None:
    images = data.load("train", limit=N_IMAGES).images
    theirs = baseline.stage1(images)
    list(islice(theirs, 5))
    before = account(lambda: list(islice(theirs, STEPS)))
    started = runtime.start()  # not before: the baseline runs without this set-up
    variants = augmentations.variants(images, FLIPS, split="train", seed=0)
    objective = VAEObjective(LAVAE(), variants)

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            training.train(
                objective, Schedule(epochs=STEPS * 64 / objective.size), seed=0, runtime=started,
                checkpoint=Path(folder) / "state", label="profile",
            )  # fmt: skip

    ours()
    table = pd.DataFrame({"baseline_ms": before, "ours_ms": account(ours)}).round(2)
    table = table.rename_axis("work").reset_index().assign(machine=machine(started))
    keep(table, Path(__file__).with_name("profile.csv"))
    tables.write()
    print(table.drop(columns="machine").to_string(index=False))


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
