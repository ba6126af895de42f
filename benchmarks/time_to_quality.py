"""Minutes of training against Table I's total, for this project and for the baseline.

    python benchmarks/run.py && python benchmarks/time_to_quality.py

One point of this project is one whole schedule. Its minutes are those of its manifest, of the
manifest of its initialisation, and of stage 2 in results.csv. The baseline trains at a constant rate,
as the paper does: its quality is that of the same training by this project's loop, its minutes are
its epochs at the baseline's seconds per step in results.csv, plus 60 epochs of stage 2. The paper's
point is its published total and epochs, at the baseline's speed; times_faster compares with it.
Writes time_to_quality.csv, where the rows of other machines stay, and .png, of this machine.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import tables
from run import EPOCH_1, PAPER_EPOCHS, keep, machine
from torch import Tensor

from lavae_companion import figures, paper, store
from lavae_companion.experiments import (
    Experiment,
    FittedMaps,
    TrainedVAE,
    from_principal,
    load_or_train,
)
from lavae_companion.paper import FLIPS
from lavae_companion.profiles import resolve
from lavae_companion.results.scores import Scores, through_maps
from lavae_companion.study import Study
from lavae_core.training import Schedule

HERE = Path(__file__).parent
QUICK, START = resolve("quick").flips, resolve("quick").start
OURS = (replace(QUICK, epochs=1), QUICK, resolve("long").flips)
BASELINE = tuple(
    Schedule(epochs=epochs, lr=1e-3, warmup=0, decay="constant") for epochs in (0.5, 1, 2)
)


def point(stage1: TrainedVAE, images: Tensor) -> dict[str, float]:
    """Epochs, minutes of stage 1, and mean BCE of each variant."""
    model = load_or_train(FittedMaps(stage1))
    minutes = {"epochs": stage1.schedule.epochs, "minutes": minutes_of(stage1)}
    return minutes | mean_bce(through_maps(model, FLIPS, images))


def mean_bce(scores: Scores) -> dict[str, float]:
    """Mean BCE per image of each variant, and their sum as "total"."""
    means = {variant: each[0].double().mean().item() for variant, each in scores.items()}
    return means | {"total": sum(means.values())}


def minutes_of(experiment: Experiment) -> float:
    """Minutes of a finished training, including that of its initialisation."""
    parts = [part for part in (experiment, experiment.start) if part is not None]
    return sum(store.minutes(f"{e.KIND}-{store.key_of(e.spec())}") for e in parts)


def measure() -> pd.DataFrame:
    """A row for each point of both curves, and one for the paper."""
    study = Study("quick", 0)
    seconds = measured_seconds(machine(study.setting.runtime))
    epoch = seconds.loc["stage 1, a step of 64 images", "baseline_s"] * EPOCH_1 / 60
    stage2 = seconds.loc["stage 2, whole"] / 60
    images = study.variants(FLIPS)
    antithetic = study.profile.antithetic
    plain = [TrainedVAE(study.setting, FLIPS, each, antithetic=antithetic) for each in OURS]
    rows = [{"who": "this project"} | point(from_principal(each, START), images) for each in plain]
    for row in rows:
        row["minutes"] += stage2["ours_s"]
    for schedule in BASELINE:
        row = {"who": "baseline"} | point(TrainedVAE(study.setting, FLIPS, schedule), images)
        rows.append(row | {"minutes": schedule.epochs * epoch + stage2["baseline_s"]})
    published = paper.TABLE_1.loc["LAVAE"].to_dict()
    minutes = PAPER_EPOCHS["stage 1"] * epoch + stage2["baseline_s"]
    rows.append({"who": "paper", "epochs": PAPER_EPOCHS["stage 1"], "minutes": minutes} | published)
    table = pd.DataFrame(rows).round(2)
    table["times_faster"] = (table["minutes"].iloc[-1] / table["minutes"]).round(1)
    table["machine"] = machine(study.setting.runtime)
    return table


def measured_seconds(this_machine: str) -> pd.DataFrame:
    """Seconds of run.py on this machine, by work. Exits where results.csv has no such rows."""
    results = pd.read_csv(HERE / "results.csv")
    if this_machine not in set(results["machine"]):
        raise SystemExit(
            f"error: results.csv has no rows of {this_machine}; first python benchmarks/run.py"
        )
    return results[results["machine"] == this_machine].set_index("work")[["baseline_s", "ours_s"]]


def draw(table: pd.DataFrame) -> None:
    figure = figures.curves(
        table, "minutes", "total", "who", "Time to quality, flips",
        "minutes of training (baseline and paper: steps times seconds per step)",
        "total BCE of Table I (test set)",
    )  # fmt: skip
    figure.savefig(HERE / "time_to_quality.png", metadata={"Software": None})


if __name__ == "__main__":
    table = measure()
    keep(table, HERE / "time_to_quality.csv")
    draw(table)
    tables.write()
    print(table.to_string(index=False))
