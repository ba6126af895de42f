"""The command line of run_all.sh."""

import argparse
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

from lavae_companion import data
from lavae_companion.profiles import PROFILES
from lavae_companion.runner import environment
from lavae_companion.runner.files import say, shown
from lavae_companion.runner.notebooks import BEYOND, Notebook, choose, discover, of_items
from lavae_companion.runner.run import Settings, run_notebooks
from lavae_core import runtime
from lavae_core.errors import InvalidInputError, LavaeError, require_seed

DESCRIPTION = (
    "Reproduce every figure and table of the paper. An interrupted run resumes where it stopped."
)
# Outputs of the notebooks that judge several seeds, and of the one that needs the fair controls too.
JUDGING, VERDICTS = ("claims", "transfer_explained"), ("verdicts",)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit status. Errors are one line each."""
    options = _parse(arguments)
    for variable in ("LAVAE_HOME", "LAVAE_DATA"):  # kernels run in another folder
        if os.environ.get(variable):
            os.environ[variable] = os.path.abspath(os.environ[variable])
    os.environ["LAVAE_SHIPPED"] = "1" if options.shipped else ""
    try:
        status = _run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # who reads the output has gone, as in --list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # a shell's number for it
    except (LavaeError, OSError) as error:
        say(f"error: {error}")
        return 2 if isinstance(error, InvalidInputError) else 1
    except KeyboardInterrupt:
        say("\ninterrupted; run again to resume")
        return 130


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("run_all.sh", description=DESCRIPTION, allow_abbrev=False)
    add = parser.add_argument
    add("--profile", choices=list(PROFILES), default="quick",
        help="smoke: minutes, for tests; quick: the default; long: more epochs for Table I; "
        "paper: the paper's epochs, days")  # fmt: skip
    add("--only", nargs="+", default=[], metavar="NUMBER", help="only these notebooks, such as 07")
    add("--figure", nargs="+", default=[], metavar="NUMBER",
        help="only these figures of the paper, such as 7, or table; prints where the pictures are")  # fmt: skip
    add("--shipped", action="store_true",
        help="the paper's figures and Table I from the weights in weights/; nothing is trained")  # fmt: skip
    add("--force", action="store_true", help="re-run notebooks that are up to date")
    add(
        "--commit",
        action="store_true",
        help="for maintainers: replace figures/ and the notebooks' outputs in git",
    )
    add("--device", default="cpu", help="cpu, cuda or cuda:N")
    add("--dataset", default="mnist",
        help="mnist, fashion, or the path of a data set of your own")  # fmt: skip
    add("--seed", type=int, default=0, help="another seed than that of the committed results")
    add("--seeds", type=int, nargs="+", metavar="SEED",
        help="measure the claims for these seeds, then judge them (20 minutes to an hour a seed)")  # fmt: skip
    add("--verdicts", action="store_true",
        help="judge every claim with its fair controls (one to two hours a seed; resumes)")  # fmt: skip
    add("--beyond", action="store_true",
        help="what the paper left open: about an hour of training, resumes")  # fmt: skip
    add("--scheduler", help="address of a Dask cluster that runs --seeds, tcp://host:port")
    alone = parser.add_mutually_exclusive_group()
    alone.add_argument("--list", action="store_true", help="list the notebooks and what they write")
    alone.add_argument("--check", action="store_true", help="run every test")
    options = parser.parse_args(arguments)
    given = {name for name in vars(options) if getattr(options, name) != parser.get_default(name)}
    if options.check and given != {"check"}:
        parser.error("--check takes no other option")
    if "shipped" in given and (others := given - {"shipped", "only", "figure", "force", "list"}):
        parser.error(
            f"--shipped does not go with --{min(others)}: its models are of seed 0, and quick"
        )
    if len(chosen := given & {"only", "figure", "beyond"}) > 1:
        parser.error(f"--{min(chosen)} does not go with --{max(chosen)}")
    sweeps = options.seeds or options.verdicts
    if options.scheduler and not sweeps:
        parser.error("--scheduler goes with --seeds or --verdicts")
    if sweeps and given & {"only", "figure", "beyond", "list", "force", "seed", "dataset"}:
        parser.error(
            "--seeds and --verdicts do not go with --only, --figure, --beyond, --list, --force, "
            "--seed or --dataset"
        )
    return options


def _run(options: argparse.Namespace) -> int:
    if options.check:
        from lavae_companion.runner.check import check

        return check()
    numbers = [number for word in options.only for number in re.split(r"[,\s]+", word) if number]
    everything = discover()
    chosen = of_items(everything, options.figure) or choose(everything, numbers)
    if options.beyond:
        chosen = [notebook for notebook in everything if notebook.output_stem in BEYOND]
    if options.shipped and not numbers:
        chosen = [notebook for notebook in chosen if notebook.item]
    if options.list:
        asked = numbers or options.figure or options.shipped or options.beyond
        for notebook in chosen if asked else everything:
            print(f"{notebook.number}  {notebook.title()}  [figures/{notebook.output_stem}*]")
        return 0
    settings = _settings(options)
    if different := environment.unlike_the_lock():
        say(f"versions that differ from requirements.lock, so results may too: {different}")
    if settings.seeds:
        from lavae_companion.runner.sweep import sweep

        sweep(settings, options.scheduler)
        stems = VERDICTS if settings.verdicts else JUDGING
        chosen = [notebook for notebook in everything if notebook.output_stem in stems]
    elif settings.dataset != "mnist":  # the others are about the paper's data set, or need none
        chosen = [notebook for notebook in chosen if "dataset" in notebook.parameters()]
        if not chosen:
            raise InvalidInputError(f"--dataset is no parameter of notebook {', '.join(numbers)}")
    from lavae_companion.runner.report import write_report

    run_notebooks(chosen, settings)
    print(f"\nreport: {shown(write_report(everything, settings))}")
    if options.figure:
        print("pictures:", *map(shown, _pictures(chosen, settings)), sep="\n")
    return 0


def _pictures(notebooks: list[Notebook], settings: Settings) -> list[Path]:
    return [
        path
        for notebook in notebooks
        for path in sorted(settings.figures(notebook).glob(f"{notebook.output_stem}*.png"))
    ]


def _settings(options: argparse.Namespace) -> Settings:
    """Raises InvalidInputError for a seed, device or data set that is not allowed."""
    seeds = tuple(dict.fromkeys(options.seeds or ([options.seed] if options.verdicts else ())))
    for seed in (options.seed, *seeds):
        require_seed(seed)
    runtime.require_device(options.device)
    data.require_dataset(options.dataset)
    settings = Settings(options.profile, options.seed, options.device, options.dataset, seeds)
    if data.label(options.dataset) == "own":  # kernels run in another folder
        settings = replace(settings, dataset=str(Path(options.dataset).absolute()))
    force = options.force or bool(seeds)
    settings = replace(settings, force=force, verdicts=options.verdicts, commit=options.commit)
    return replace(settings, shipped=options.shipped)
