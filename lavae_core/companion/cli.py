"""The command line of run_all.sh."""

import argparse
import os
import re
import sys
from dataclasses import replace

from lavae_core.companion.files import shown
from lavae_core.companion.notebooks import Notebook, choose, discover
from lavae_core.companion.settings import Settings
from lavae_core.errors import InvalidInputError, LavaeError, require_seed
from lavae_core.profiles import PROFILES

DESCRIPTION = (
    "Makes every figure and table of the paper anew; a next call goes on where one stopped."
)

JUDGING = ("claims", "transfer_explained")  # what the notebooks that read the measurements write


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit status. Errors are one line each."""
    options = _parse(arguments)
    for variable in ("LAVAE_HOME", "LAVAE_DATA"):  # kernels run in another folder
        if os.environ.get(variable):
            os.environ[variable] = os.path.abspath(os.environ[variable])
    try:
        status = _run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # who reads the output has gone, as in --list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # a shell's number for it
    except InvalidInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (LavaeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the next call goes on here", file=sys.stderr)
        return 130


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("run_all.sh", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument(
        "--profile",
        choices=list(PROFILES),
        default="quick",
        help="smoke: minutes, for tests; quick: the default; long: more epochs for Table I; "
        "paper: the paper's epochs, days",
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NUMBER", help="only these notebooks, such as 07"
    )
    parser.add_argument("--force", action="store_true", help="run also what is done")
    parser.add_argument("--device", help="cpu, cuda or cuda:N")
    parser.add_argument("--seed", type=int, help="another seed than that of the committed results")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        metavar="SEED",
        help="measure the claims for these seeds, then judge them (20 minutes to an hour a seed; goes on where it stopped)",
    )
    parser.add_argument("--scheduler", help="of a Dask cluster that runs --seeds, tcp://host:port")
    alone = parser.add_mutually_exclusive_group()
    alone.add_argument("--list", action="store_true", help="list the notebooks and what they write")
    alone.add_argument("--check", action="store_true", help="run every test")
    options = parser.parse_args(arguments)
    others = ("profile", "only", "force", "device", "seed", "seeds", "scheduler")
    if options.check and any(getattr(options, n) != parser.get_default(n) for n in others):
        parser.error("--check takes no other option")
    if options.scheduler and not options.seeds:
        parser.error("--scheduler goes with --seeds")
    other_work = options.only or options.list or options.force or options.seed is not None
    if options.seeds and other_work:
        parser.error("--seeds does not go with --only, --list, --force or --seed")
    return options


def _run(options: argparse.Namespace) -> int:
    if options.check:
        from lavae_core.companion.check import check

        return check()
    everything = discover()
    chosen = choose(
        everything, [n for word in options.only for n in re.split(r"[,\s]+", word) if n]
    )
    if options.list:
        _list(chosen)
        return 0
    for seed in options.seeds or [options.seed or 0]:
        require_seed(seed)
    _require_device(options.device)
    settings = Settings(options.profile, options.seed, options.device, options.force)
    if options.seeds:
        chosen, settings = _sweep(options, everything, settings)
    from lavae_core.companion.report import write_report
    from lavae_core.companion.running import run_notebooks

    run_notebooks(chosen, settings)
    print(f"\nreport: {shown(write_report(everything, settings))}")
    return 0


def _sweep(options, everything: list[Notebook], settings: Settings):
    """Measure the seeds; the notebooks that judge them, to be run again, and the settings for it."""
    from lavae_core.companion.sweep import sweep

    sweep(sorted(set(options.seeds)), settings, options.scheduler)
    judging = [notebook for notebook in everything if notebook.output_stem in JUDGING]
    return judging, replace(settings, force=True)


def _list(notebooks: list[Notebook]) -> None:
    for notebook in notebooks:
        print(f"{notebook.number}  {notebook.title()}  [figures/{notebook.output_stem}*]")


def _require_device(device: str | None) -> None:
    if device is None or device == "cpu":
        return
    from lavae_core import runtime  # torch: seconds; only who asks for a GPU waits for them

    runtime.require_device(device)
