"""Which schedule gives the most for its minutes: a recorded search, judged on a split of the
training set. The last 10,000 training images are held out; the test set is never looked at.

    python benchmarks/schedule_search.py

Every candidate is an ordinary experiment of the store, so an interrupted search goes on where it
stopped. The result is benchmarks/schedule_search.csv, a row for each candidate.
"""

from dataclasses import asdict
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
SEEDS = (0, 1, 2)  # what the maps cost varies more between seeds than between most schedules

# One thing is changed at a time from the first: batch, learning rate, warm-up.
STAGE_1 = (
    Schedule(epochs=1),
    Schedule(epochs=1, batch=32),
    Schedule(epochs=1, lr=4e-3),
    Schedule(epochs=1, lr=1e-3),
    Schedule(epochs=1, warmup=1500),
)


def held_out(pair: str, seed: int):
    """uint8 (4, 10,000, 28, 28): the variants of the held-out training images."""
    images = data.load("train").images
    every = augmentations.variants(images, Pair.parse(pair), split="train", seed=seed)
    return every[:, N_TRAIN:]


def minutes(experiment: Experiment) -> float:
    """What the experiment itself took to train, from its manifest."""
    return artifacts.minutes(f"{experiment.KIND}-{artifacts.key_of(experiment.spec())}")


def row(stage1: Stage1, scores: pd.DataFrame, bound: float) -> dict[str, float | str]:
    """A line of the result: the schedule, its minutes, and the held-out BCE of each variant."""
    return {
        **asdict(stage1.schedule), "seed": stage1.setting.seed, "minutes": round(minutes(stage1), 2),
        **scores["bce"].round(2), "own_latents_total": round(bound, 2),
    }  # fmt: skip


def search() -> None:
    """Train and judge every candidate, seed by seed; writes what is known after each."""
    rows = []
    for seed in SEEDS:
        setting = Setting(seed=seed, runtime=runtime.start(), n_train=N_TRAIN)
        images = held_out(FLIPS, seed)
        for schedule in STAGE_1:
            stage1 = Stage1(setting, FLIPS, schedule)
            model = load_or_train(Maps(stage1))
            bound = autoencoding_scores(model, images).loc["total", "bce"]
            rows.append(row(stage1, lavae_scores(model, images), bound))
            pd.DataFrame(rows).to_csv(OUTPUT, index=False)
            print(rows[-1], flush=True)


if __name__ == "__main__":
    search()
