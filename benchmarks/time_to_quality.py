"""Minutes of training against Table I's total, for this project and for the baseline.

    python benchmarks/run.py && python benchmarks/time_to_quality.py

A point of ours is a whole schedule (warm-up, then down to zero) of so many epochs; its minutes are
those of its manifest, of its start's and of stage 2 as run.py measured it. The baseline's
mathematics is the paper's schedule at a constant rate: its quality is that of the same training by
this project's loop, its minutes are its epochs times what run.py measured for its step, and 60
epochs of stage 2. The published point is the paper's total after the published epochs at the
baseline's speed; times_faster is against its minutes. Writes time_to_quality.csv, where the rows of
other machines stay, and .png, of this machine.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd
from run import EPOCH_1, PAPER_EPOCHS, keep, machine

from lavae_core import artifacts, paper, plotting
from lavae_core.evaluation import lavae_scores
from lavae_core.experiments import Experiment, Maps, Stage1, load_or_train
from lavae_core.paper import FLIPS
from lavae_core.principal import from_principal
from lavae_core.profiles import Schedule, resolve
from lavae_core.study import Study

HERE = Path(__file__).parent
QUICK, START = resolve("quick").flips, resolve("quick").start
OURS = (replace(QUICK, epochs=1), QUICK, resolve("long").flips)
BASELINE = tuple(
    Schedule(epochs=epochs, lr=1e-3, warmup=0, decay="constant") for epochs in (0.5, 1, 2)
)


def point(stage1: Stage1, images) -> dict[str, float]:
    """Epochs, minutes of stage 1, and BCE of each variant."""
    scores = lavae_scores(load_or_train(Maps(stage1)), images)["bce"]
    return {"epochs": stage1.schedule.epochs, "minutes": minutes_of(stage1), **scores}


def minutes_of(experiment: Experiment) -> float:
    """Minutes that a trained experiment took, a stage 1 with its start."""
    parts = [part for part in (experiment, experiment.start) if part is not None]
    return sum(artifacts.minutes(f"{e.KIND}-{artifacts.key_of(e.spec())}") for e in parts)


def measure() -> pd.DataFrame:
    """A row for each point of both curves, and the published one."""
    study = Study("quick", 0)
    seconds = measured_seconds(machine(study.setting.runtime))
    epoch = seconds.loc["stage 1, a step of 64 images", "baseline_s"] * EPOCH_1 / 60
    stage2 = seconds.loc["stage 2, whole"] / 60
    images = study.variants(FLIPS)
    antithetic = study.profile.antithetic
    plain = [Stage1(study.setting, FLIPS, schedule, antithetic=antithetic) for schedule in OURS]
    rows = [{"who": "this project"} | point(from_principal(each, START), images) for each in plain]
    for row in rows:
        row["minutes"] += stage2["here_s"]
    for schedule in BASELINE:
        found = {"who": "baseline"} | point(Stage1(study.setting, FLIPS, schedule), images)
        rows.append(found | {"minutes": schedule.epochs * epoch + stage2["baseline_s"]})
    published = paper.TABLE_1.loc["LAVAE"].to_dict()
    minutes = PAPER_EPOCHS["stage 1"] * epoch + stage2["baseline_s"]
    rows.append(
        {"who": "published", "epochs": PAPER_EPOCHS["stage 1"], "minutes": minutes} | published
    )
    found = pd.DataFrame(rows).round(2)
    found["times_faster"] = (found["minutes"].iloc[-1] / found["minutes"]).round(1)
    found["machine"] = machine(study.setting.runtime)
    return found


def measured_seconds(here: str) -> pd.DataFrame:
    """What run.py measured on this machine, by work; another machine's would not compare."""
    results = pd.read_csv(HERE / "results.csv")
    if here not in set(results["machine"]):
        raise SystemExit(
            f"error: results.csv has no rows of {here}; first python benchmarks/run.py"
        )
    return results[results["machine"] == here].set_index("work")[["baseline_s", "here_s"]]


def draw(table: pd.DataFrame) -> None:
    figure = plotting.curves(
        table, "minutes", "total", "who", "Time to quality, flips",
        "minutes of training (baseline and published: steps times seconds a step)",
        "total BCE of Table I (test set)",
    )  # fmt: skip
    figure.savefig(HERE / "time_to_quality.png", metadata={"Software": None})


if __name__ == "__main__":
    table = measure()
    keep(table, HERE / "time_to_quality.csv")
    draw(table)
    print(table.to_string(index=False))
