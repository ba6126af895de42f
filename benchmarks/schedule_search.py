"""Which schedule gives the most for its minutes: a recorded search, judged on a split of the
training set. The last 10,000 training images are held out; the test set is never looked at.

    python benchmarks/schedule_search.py

The result is benchmarks/schedule_search.csv, a row for each candidate; one that has its row there is
not trained again (delete the file to begin anew), and one that was interrupted goes on where it
stopped.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
from run import family
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
STEEP = Schedule(epochs=3, batch=128, lr=6e-3, warmup=500, decay="linear")
# One thing is changed at a time; then whole schedules; then what a profile began with before its
# samples were antithetic, from random weights and from components; then these samples.
BEFORE = Schedule(epochs=6, batch=128, lr=4e-3, warmup=1000)
STAGE_1 = (
    (Schedule(epochs=2), None, False),
    (Schedule(epochs=2, lr=4e-3), None, False),
    (Schedule(epochs=2, batch=128), None, False),
    (Schedule(epochs=2, batch=128, lr=4e-3), None, False),
    (Schedule(epochs=2, batch=256, lr=6e-3), None, False),
    (Schedule(epochs=8), None, False),
    (Schedule(epochs=10, batch=128, lr=4e-3), None, False),
    (BEFORE, None, False),
    (BEFORE, QUICK.start, False),
    (STEEP, QUICK.start, False),
    (STEEP, QUICK.start, True),
    (replace(STEEP, lr=9e-3), QUICK.start, True),
    (replace(STEEP, epochs=2.5), QUICK.start, True),
    (replace(STEEP, epochs=2.5, lr=8e-3), QUICK.start, True),
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


def told(training: str, experiment: Experiment) -> dict[str, str]:
    """What a candidate is, as its row tells it."""
    antithetic = getattr(experiment, "antithetic", None)
    samples = {None: "", False: "one", True: "antithetic"}[antithetic]
    start = "random weights" if experiment.start is None else "components"
    schedule = asdict(experiment.schedule) | {"epochs": float(experiment.schedule.epochs)}
    what = {"training": training, **schedule, "start": start, "samples": samples, "seed": SEED}
    return {name: str(value) for name, value in what.items()}


def processor(experiment: Experiment) -> str:
    """What it was trained on, and in which precision."""
    return f"{family().strip(' ()')}, {experiment.setting.runtime.precision}"


def candidates() -> Iterator[tuple[str, Experiment]]:
    """The kind of training of each candidate, and the candidate."""
    setting = Setting(SEED, runtime.start(), N_TRAIN)
    for schedule, start, antithetic in STAGE_1:
        plain = Stage1(setting, FLIPS, schedule, antithetic=antithetic)
        yield "stage 1", from_principal(plain, start)
    for schedule in STAGE_3:
        yield "stage 3", Head(Maps(Stage1(setting, FLIPS, Schedule(epochs=2))), NEW_PAIR, schedule)
    for schedule in CVAES:
        yield "CVAE", Conditional(setting, FLIPS, "conditional", schedule)


def judged(experiment: Experiment) -> dict[str, float]:
    """Minutes of a candidate, trained now where it is not in the store, and its held-out BCE."""
    found: dict[str, float] = {}
    if isinstance(experiment, Stage1):
        model, images = load_or_train(Maps(experiment)), held_out(FLIPS)
        scores = lavae_scores(model, images)
        found["own_latents_total"] = autoencoding_scores(model, images).loc["total", "bce"]
    elif isinstance(experiment, Head):
        scores = lavae_scores(load_or_train(experiment), held_out(NEW_PAIR), NEW_PAIR)
    else:
        scores = cvae_scores(load_or_train(experiment), held_out(FLIPS))
    return {"minutes": minutes_of(experiment), **scores["bce"], **found}


def search() -> None:
    """Writes what is known after each candidate."""
    table = pd.read_csv(OUTPUT, dtype=str, keep_default_na=False) if OUTPUT.is_file() else None
    known = [] if table is None else table.to_dict("records")
    rows = []
    for training, experiment in candidates():
        what = told(training, experiment)
        row = next((row for row in known if what.items() <= row.items()), None)
        if row is None:
            numbers = {name: f"{value:.2f}" for name, value in judged(experiment).items()}
            row = what | {"processor": processor(experiment)} | numbers
            print(row, flush=True)
        rows.append(row)
        later = [row for row in known if row not in rows]
        pd.DataFrame(rows + later).to_csv(OUTPUT, index=False)


if __name__ == "__main__":
    search()
