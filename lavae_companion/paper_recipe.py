"""Table I by the paper's own recipe: `python -m lavae_companion.paper_recipe` trains it, in days.

The profile paper: random weights, one sample, batches of 64, a constant rate of 1e-3, 100 epochs. A
stage 1 takes about 100 minutes on two cores with bfloat16 instructions. The command resumes. After
every model it replaces figures/paper_recipe.csv, whose rows are the models that are finished.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from lavae_companion import outputs
from lavae_companion.command import exit_status
from lavae_companion.experiments import FittedMaps, at_epochs, load_or_train
from lavae_companion.paper import CVAE, CVAE_LAVAE, FLIPS, MINI_EDGE, ROTATE_FLIP, SHEAR_CANNY
from lavae_companion.paths import FIGURES
from lavae_companion.results import scores
from lavae_companion.results.scores import Scores
from lavae_companion.study import Study
from lavae_core.augmentations import PAIR_VARIANTS, Family

PROFILE, SEED, NAME = "paper", 0, "paper_recipe"
Row = tuple[str, Family]  # a model, and the pair that it is scored on


def _lavae(solver: str) -> Callable[[Study, Family], Scores]:
    return lambda study, pair: scores.through_maps(
        study.lavae(pair, solver), pair, study.variants(pair)
    )


def after(epochs: int) -> Callable[[Study, Family], Scores]:
    """Scores of LAVAE after so many epochs: a state that a training at a constant rate went through."""

    def measure(study: Study, pair: Family) -> Scores:
        stage1 = at_epochs(study.stage1(pair), epochs)
        return scores.through_maps(load_or_train(FittedMaps(stage1)), pair, study.variants(pair))

    return measure


def _directly_encoded(study: Study, pair: Family) -> Scores:
    return scores.directly_encoded(study.lavae(pair), pair, study.variants(pair))


def _conditional(study: Study, pair: Family) -> Scores:
    return scores.by_condition(study.cvae(pair, "conditional"), pair, study.variants(pair))


def _lavae_style(study: Study, pair: Family) -> Scores:
    model = study.cvae(pair, "lavae")
    return scores.by_condition(model, pair, study.variants(pair), pair.singles)


def _vae(study: Study, pair: Family) -> Scores:
    return scores.directly_encoded(study.vae(), pair, study.variants(pair))


def _head(study: Study, pair: Family) -> Scores:
    model = study.transfer(MINI_EDGE, pair)
    return scores.through_maps(model, pair, study.variants(pair), str(pair))


# In the order of what a reader asks first.
ROWS: dict[Row, Callable[[Study, Family], Scores]] = {
    ("LAVAE", FLIPS): _lavae("exact"),
    ("LAVAE after 32 epochs", FLIPS): after(32),
    ("LAVAE after 64 epochs", FLIPS): after(64),
    ("LAVAE, maps by gradient descent", FLIPS): _lavae("sgd"),
    ("directly encoded", FLIPS): _directly_encoded,
    (CVAE, FLIPS): _conditional,
    (CVAE_LAVAE, FLIPS): _lavae_style,
    ("VAE", FLIPS): _vae,
    ("LAVAE", SHEAR_CANNY): _lavae("exact"),
    (f"head on {MINI_EDGE}", SHEAR_CANNY): _head,
    ("LAVAE", ROTATE_FLIP): _lavae("exact"),
}


def write(study: Study, rows: Mapping[Row, Callable], folder: Path) -> None:
    """Measure the models one after the other, trained first where they are not; after each of them
    replace `folder`/paper_recipe.csv and .json."""
    about = outputs.provenance(study.profile.name, study.setting, [study.setting.seed])
    done = []
    for (model, pair), measure in rows.items():
        print(f"{model}, {pair}: trained first if it is not there yet ...", flush=True)
        bce = {variant: each[0].mean().item() for variant, each in measure(study, pair).items()}
        done.append({"model": model, "pair": str(pair), **bce, "total": sum(bce.values())})
        table = pd.DataFrame(done).set_index(["model", "pair"])
        table.to_csv(folder / f"{NAME}.csv", float_format="%.4f")
        (folder / f"{NAME}.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        print(table.tail(1).round(2).to_string(), flush=True)


def read(pair: Family | str, dataset: str = "mnist") -> pd.DataFrame:
    """BCE of the finished models for a pair: index model, columns the variants and "total"; without
    rows where none is finished, and on other data."""
    file = FIGURES / f"{NAME}.csv"
    columns = [*PAIR_VARIANTS, "total"]
    if dataset != "mnist" or not file.is_file():
        return pd.DataFrame(columns=columns, dtype=float)
    table = pd.read_csv(file)
    return table[table["pair"] == str(pair)].set_index("model")[columns]


def main() -> int:
    """Train and measure everything; return the exit status. Errors are one line."""
    return exit_status(lambda: write(Study(PROFILE, SEED), ROWS, FIGURES))


if __name__ == "__main__":
    sys.exit(main())
