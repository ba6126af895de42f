"""The recorded search for schedules, judged on the last 10,000 training images, which are held out.
The test set is never looked at.

    python benchmarks/schedule_search.py

Writes schedule_search.csv, a row for each candidate. A candidate that has a row is not trained again
(delete the file to start over). An interrupted training resumes.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import tables
from run import processor_family
from time_to_quality import mean_bce, minutes_of
from torch import Tensor

from lavae_companion import data
from lavae_companion.experiments import (
    Experiment,
    FittedMaps,
    Setting,
    TrainedCVAE,
    TrainedVAE,
    TransferHead,
    from_principal,
    load_or_train,
)
from lavae_companion.paper import FLIPS, SHEAR_CANNY
from lavae_companion.profiles import resolve
from lavae_companion.results.scores import by_condition, directly_encoded, through_maps
from lavae_core import augmentations, runtime
from lavae_core.augmentations import Family
from lavae_core.training import Schedule

OUTPUT = Path(__file__).with_name("schedule_search.csv")
N_TRAIN = 50_000
SEED = 0

QUICK = resolve("quick")
STEEP = Schedule(epochs=3, batch=128, lr=6e-3, warmup=500, decay="linear")
# First one change at a time; then whole schedules; then the profile's schedule before antithetic
# samples, from random weights and from principal components; then antithetic samples.
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


def held_out(family: Family) -> Tensor:
    """uint8 (V, 10,000, 28, 28): the variants of the held-out training images."""
    images = data.load("train").images
    return augmentations.variants(images, family, split="train", seed=SEED)[:, N_TRAIN:]


def description(training: str, experiment: Experiment) -> dict[str, str]:
    """The columns of a candidate's row that say what it is."""
    antithetic = getattr(experiment, "antithetic", None)
    samples = {None: "", False: "one", True: "antithetic"}[antithetic]
    initial = "random weights" if experiment.start is None else "principal components"
    schedule = asdict(experiment.schedule) | {"epochs": float(experiment.schedule.epochs)}
    columns = {"training": training, **schedule, "initialisation": initial, "samples": samples}
    return {name: str(value) for name, value in (columns | {"seed": SEED}).items()}


def processor(experiment: Experiment) -> str:
    """Processor family and precision."""
    return f"{processor_family().strip(' ()')}, {experiment.setting.runtime.precision}"


def candidates() -> Iterator[tuple[str, Experiment]]:
    """Each candidate with the name of its kind of training."""
    setting = Setting(SEED, runtime.start(), N_TRAIN)
    for schedule, start, antithetic in STAGE_1:
        plain = TrainedVAE(setting, FLIPS, schedule, antithetic=antithetic)
        yield "stage 1", from_principal(plain, start)
    maps = FittedMaps(TrainedVAE(setting, FLIPS, Schedule(epochs=2)))
    for schedule in STAGE_3:
        yield "stage 3", TransferHead(maps, SHEAR_CANNY, schedule)
    for schedule in CVAES:
        yield "CVAE", TrainedCVAE(setting, FLIPS, "conditional", schedule)


def judged(experiment: Experiment) -> dict[str, float]:
    """Minutes and held-out BCE of a candidate, which is trained first if the store lacks it."""
    direct: dict[str, float] = {}
    if isinstance(experiment, TrainedVAE):
        model, images = load_or_train(FittedMaps(experiment)), held_out(FLIPS)
        scores = through_maps(model, FLIPS, images)
        upper_bound = mean_bce(directly_encoded(model, FLIPS, images))
        direct["directly_encoded_total"] = upper_bound["total"]
    elif isinstance(experiment, TransferHead):
        model, images = load_or_train(experiment), held_out(SHEAR_CANNY)
        scores = through_maps(model, SHEAR_CANNY, images, str(SHEAR_CANNY))
    else:
        scores = by_condition(load_or_train(experiment), FLIPS, held_out(FLIPS))
    return {"minutes": minutes_of(experiment), **mean_bce(scores), **direct}


def search() -> None:
    """Train and judge every candidate; write the table after each."""
    table = pd.read_csv(OUTPUT, dtype=str, keep_default_na=False) if OUTPUT.is_file() else None
    known = [] if table is None else table.to_dict("records")
    rows = []
    for training, experiment in candidates():
        columns = description(training, experiment)
        row = next((row for row in known if columns.items() <= row.items()), None)
        if row is None:
            numbers = {name: f"{value:.2f}" for name, value in judged(experiment).items()}
            row = columns | {"processor": processor(experiment)} | numbers
            print(row, flush=True)
        rows.append(row)
        later = [row for row in known if row not in rows]
        pd.DataFrame(rows + later).to_csv(OUTPUT, index=False)


if __name__ == "__main__":
    search()
    tables.write()
