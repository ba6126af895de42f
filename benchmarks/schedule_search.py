"""Which schedule gives the most for its minutes: a recorded search, judged on a split of the
training set. The last 10,000 training images are held out; the test set is never looked at.

    python benchmarks/schedule_search.py

Every candidate is an ordinary experiment of the store, so an interrupted search goes on where it
stopped. The result is benchmarks/schedule_search.csv, a row for each candidate.
"""

from pathlib import Path

import pandas as pd

from lavae_core import artifacts, augmentations, data, runtime
from lavae_core.augmentations import Pair
from lavae_core.evaluation import autoencoding_scores, lavae_scores
from lavae_core.experiments import Experiment, Maps, Setting, Stage1, load_or_train
from lavae_core.paper import FLIPS
from lavae_core.profiles import Schedule

OUTPUT = Path(__file__).with_name("schedule_search.csv")
N_TRAIN = 50_000
BASE = Schedule(epochs=2)

# One thing is changed at a time from BASE, two epochs long: its learning rate, then its batch.
STAGE_1 = [
    BASE,
    Schedule(epochs=2, lr=4e-3),
    Schedule(epochs=2, lr=6e-3),
    Schedule(epochs=2, lr=1e-3),
    Schedule(epochs=2, batch=32),
    Schedule(epochs=2, batch=128, lr=4e-3),
]


def held_out(pair: str, seed: int):
    """uint8 (4, 10,000, 28, 28): the variants of the held-out training images."""
    images = data.load("train").images
    every = augmentations.variants(images, Pair.parse(pair), split="train", seed=seed)
    return every[:, N_TRAIN:]


def minutes(experiment: Experiment) -> float:
    """What the experiment itself took to train, from its manifest."""
    return artifacts.minutes(f"{experiment.KIND}-{artifacts.key_of(experiment.spec())}")


def row(stage: str, experiment: Experiment, schedule: Schedule, scores: pd.DataFrame, bound: float):
    """A line of the result: the schedule, its minutes, and the held-out BCE of each variant."""
    return {
        "stage": stage, "epochs": schedule.epochs, "batch": schedule.batch, "lr": schedule.lr,
        "warmup": schedule.warmup, "decay": schedule.decay, "minutes": minutes(experiment),
        **scores["bce"].round(2), "own_latents_total": round(bound, 2),
    }  # fmt: skip


def search(setting: Setting) -> pd.DataFrame:
    """Train and judge every candidate; writes what is known after each."""
    images = held_out(FLIPS, setting.seed)
    rows = []
    for schedule in STAGE_1:
        stage1 = Stage1(setting, FLIPS, schedule)
        model = load_or_train(Maps(stage1))
        bound = autoencoding_scores(model, images).loc["total", "bce"]
        rows.append(row("stage 1", stage1, schedule, lavae_scores(model, images), bound))
        pd.DataFrame(rows).to_csv(OUTPUT, index=False)
        print(rows[-1], flush=True)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    search(Setting(seed=0, runtime=runtime.start(), n_train=N_TRAIN))
