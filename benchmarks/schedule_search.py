"""Which schedule gives the most for its minutes: a recorded search, judged on a split of the
training set. The last 10,000 training images are held out; the test set is never looked at.

    python benchmarks/schedule_search.py

Every candidate is an ordinary experiment of the store, so an interrupted search goes on where it
stopped. The result is benchmarks/schedule_search.csv, a row for each candidate.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from time_to_quality import minutes_of
from torch import Tensor

from lavae_core import augmentations, data, runtime
from lavae_core.augmentations import Pair
from lavae_core.evaluation import autoencoding_scores, cvae_scores, lavae_scores
from lavae_core.experiments import (
    Conditional,
    Experiment,
    Head,
    Maps,
    Setting,
    Stage1,
    load_or_train,
)
from lavae_core.paper import FLIPS
from lavae_core.principal import from_principal
from lavae_core.profiles import Schedule, resolve

OUTPUT = Path(__file__).with_name("schedule_search.csv")
N_TRAIN = 50_000
SEED = 0
NEW_PAIR = "shear_x,canny"

QUICK = resolve("quick")
# One thing is changed at a time; then whole schedules; then what the quick profile begins with.
STAGE_1 = (
    (Schedule(epochs=2), None),
    (Schedule(epochs=2, lr=4e-3), None),
    (Schedule(epochs=2, batch=128), None),
    (Schedule(epochs=2, batch=128, lr=4e-3), None),
    (Schedule(epochs=2, batch=256, lr=6e-3), None),
    (Schedule(epochs=8), None),
    (Schedule(epochs=10, batch=128, lr=4e-3), None),
    (QUICK.flips, None),
    (QUICK.flips, QUICK.start),
)
STAGE_3 = (
    Schedule(epochs=0.5, batch=128, lr=6e-3, warmup=200),
    Schedule(epochs=0.5, batch=128, lr=3e-3, warmup=200),
    Schedule(epochs=0.5, batch=64, lr=6e-3, warmup=200),
)
CVAES = (Schedule(epochs=1), Schedule(epochs=1, lr=4e-3))


def held_out(pair: str) -> Tensor:
    """uint8 (4, 10,000, 28, 28): the variants of the held-out training images."""
    images = data.load("train").images
    every = augmentations.variants(images, Pair.parse(pair), split="train", seed=SEED)
    return every[:, N_TRAIN:]


def row(training: str, experiment: Experiment, scores: pd.DataFrame) -> dict[str, float | str]:
    """A line of the result: the schedule, its minutes, and the held-out BCE of each variant."""
    told = asdict(experiment.schedule) | {
        "start": "random weights" if experiment.start is None else "components",
        "seed": experiment.setting.seed,
        "minutes": round(minutes_of(experiment), 2),
    }
    return {"training": training, **told, **scores["bce"].round(2)}


def candidates() -> Iterator[dict[str, float | str]]:
    """Train and judge every candidate, one after the other."""
    setting = Setting(SEED, runtime.start(), N_TRAIN)
    flips, new = held_out(FLIPS), held_out(NEW_PAIR)
    for schedule, start in STAGE_1:
        stage1 = from_principal(Stage1(setting, FLIPS, schedule), start)
        model = load_or_train(Maps(stage1))
        own = autoencoding_scores(model, flips).loc["total", "bce"]
        found = row("stage 1", stage1, lavae_scores(model, flips))
        yield found | {"own_latents_total": round(own, 2)}
    for schedule in STAGE_3:
        head = Head(Maps(Stage1(setting, FLIPS, Schedule(epochs=2))), NEW_PAIR, schedule)
        yield row("stage 3", head, lavae_scores(load_or_train(head), new, NEW_PAIR))
    for schedule in CVAES:
        cvae = Conditional(setting, FLIPS, "conditional", schedule)
        yield row("CVAE", cvae, cvae_scores(load_or_train(cvae), flips))


def search() -> None:
    """Writes what is known after each candidate."""
    rows = []
    for found in candidates():
        rows.append(found)
        pd.DataFrame(rows).to_csv(OUTPUT, index=False)
        print(found, flush=True)


if __name__ == "__main__":
    search()
