"""What a notebook holds in its hand: the models of one profile and seed, the test images, and the
way its pictures, tables and verdicts reach the figures folder."""

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from filelock import FileLock
from matplotlib.figure import Figure
from torch import Tensor

from lavae_core import augmentations, data, paths, profiles, runtime
from lavae_core.augmentations import Pair
from lavae_core.errors import (
    InvalidInputError,
    LavaeError,
    StoreError,
    require_known,
    require_number,
    require_seed,
    require_whole,
)  # fmt: skip
from lavae_core.experiments import (
    Conditional,
    Head,
    Joint,
    Latents,
    Maps,
    NonLinear,
    Setting,
    Stage1,
    load_or_train,
)  # fmt: skip
from lavae_core.latent_maps import NonLinearMaps
from lavae_core.models import CVAE, LAVAE
from lavae_core.paper import FLIPS, PAIRS, VERDICTS
from lavae_core.principal import from_principal
from lavae_core.provenance import provenance

VERDICT_COLUMNS = ["item", "claim", "published", "here", "verdict", "notebook"]


class Study:
    """profile: "smoke", "quick", "long" or "paper". seed: a whole number from 0. device: "cpu", "cuda".

    None means the environment's LAVAE_PROFILE, LAVAE_SEED or LAVAE_DEVICE (run_all.sh sets them),
    else quick, 0 and cpu. Raises InvalidInputError for a value that is not allowed.
    """

    def __init__(
        self, profile: str | None = None, seed: int | None = None, device: str | None = None
    ):
        _one_line_errors()
        self.profile = profiles.resolve(profile)
        if device is None:
            device = os.environ.get("LAVAE_DEVICE") or "cpu"
        self.setting = Setting(_seed(seed), runtime.start(device), self.profile.n_train)

    # -- models: loaded, or trained first ------------------------------------------------------

    def stage1(self, pair: str | None) -> Stage1:
        """The stage-1 experiment of a pair (None: a plain VAE); not yet trained."""
        profile = self.profile
        if pair is None:
            return Stage1(self.setting, None, profile.vae, antithetic=profile.antithetic)
        name = str(Pair.parse(pair))
        schedule = profile.flips if name == FLIPS else profile.base
        plain = Stage1(self.setting, name, schedule, antithetic=profile.antithetic)
        return from_principal(plain, profile.start)

    def lavae(self, pair: str, solver: str = "exact", lambda_inv: float = 1.0) -> LAVAE:
        """LAVAE of a pair with its latent maps (stages 1 and 2)."""
        schedule = self.profile.maps if solver == "sgd" else None
        require_number("lambda_inv", lambda_inv)
        return load_or_train(Maps(self.stage1(pair), solver, float(lambda_inv), schedule))

    def transfer(self, trained: str, evaluated: str) -> LAVAE:
        """LAVAE of `trained` with a further head, named `evaluated`, for that pair (stage 3)."""
        target = str(Pair.parse(evaluated))
        return load_or_train(Head(Maps(self.stage1(trained)), target, self.profile.head))

    def vae(self) -> LAVAE:
        """A plain VAE: the same networks, trained on the originals alone."""
        return load_or_train(self.stage1(None))

    def cvae(self, pair: str, how: str) -> CVAE:
        """A CVAE of a pair; how: "conditional" or "lavae" (Section V-C)."""
        name, profile = str(Pair.parse(pair)), self.profile
        return load_or_train(Conditional(self.setting, name, how, profile.cvae, profile.antithetic))

    def joint(self, pair: str) -> LAVAE:
        """LAVAE of a pair with stages 1 and 2 trained at once."""
        name, profile, start = str(Pair.parse(pair)), self.profile, self.stage1(pair).start
        return load_or_train(Joint(self.setting, name, profile.joint, profile.antithetic, start))

    def nonlinear(self, pair: str) -> NonLinearMaps:
        """Non-linear latent maps on the stage 1 of a pair."""
        return load_or_train(NonLinear(self.stage1(pair), self.profile.maps))

    def latents(self, pair: str) -> Tensor:
        """Posterior means (N, 16) of the training originals."""
        return load_or_train(Latents(self.stage1(pair), 1))[0][0]

    # -- data ----------------------------------------------------------------------------------

    def test_set(self) -> data.ImageSet:
        """The test images of this profile, uint8 (N, 28, 28), and their labels (N,)."""
        return data.load("test", dataset=self.setting.dataset, limit=self.profile.n_test)

    def variants(self, pair: str) -> Tensor:
        """uint8 (4, N, 28, 28) on the device: original, first, second, composed test images."""
        found = augmentations.variants(
            self.test_set().images, Pair.parse(pair), split="test", seed=self.setting.seed
        )
        return found.to(self.setting.runtime.device)

    def originals(self, at_most: int) -> Tensor:
        """uint8 (N, 28, 28) on the device: the first test images, at most that many.

        Raises InvalidInputError for less than one.
        """
        require_whole("the number of images", at_most, 1)
        return self.test_set().images[:at_most].to(self.setting.runtime.device)

    def swapped(self, pair: str) -> Tensor:
        """uint8 (N, 28, 28) on the device: the test images composed in the other order, A1(A2(x))."""
        parsed = Pair.parse(pair)
        return self.variants(f"{parsed.second},{parsed.first}")[3]

    def commuting_share(self, pair: str) -> float:
        """Share of the test images for which A2(A1(x)) and A1(A2(x)) are the same image."""
        same = self.variants(pair)[3] == self.swapped(pair)
        return same.all(-1).all(-1).float().mean().item()

    def heatmap_pairs(self, count: int | None = None) -> list[str]:
        """The first `count` (2 to 7) of the paper's pairs; None: as many as the profile says.

        Raises InvalidInputError for another count.
        """
        number = self.profile.n_pairs if count is None else count
        require_whole("the number of pairs", number, 2, len(PAIRS))
        return PAIRS[:number]

    def examples(self, digits: list[int]) -> list[int]:
        """Indices of the first test images that show these digits; of one that is asked for again,
        of the next. Raises InvalidInputError for what is no list of digits, or for too many."""
        if not isinstance(digits, list | tuple):
            raise InvalidInputError(f"digits must be a list such as [2, 7], got {digits!r}")
        labels = self.test_set().labels
        chosen: list[int] = []
        for digit in digits:
            require_known("digit", digit, range(10))
            places = (labels == digit).nonzero().flatten().tolist()
            rank = digits[: len(chosen)].count(digit)
            if rank >= len(places):
                raise InvalidInputError(f"only {len(places)} test images show a {digit}")
            chosen.append(places[rank])
        return chosen

    # -- results -------------------------------------------------------------------------------

    def save_figure(self, figure: Figure, name: str) -> None:
        """Write name.png and name.pdf, the same bytes for the same picture."""
        folder = self._folder()
        with _writing(name):
            figure.savefig(folder / f"{name}.png", metadata={"Software": None})
            figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})

    def save_table(self, table: pd.DataFrame, name: str) -> None:
        """Write name.csv, numbers with four decimals. Raises InvalidInputError for an empty table."""
        folder = self._folder()
        if table.empty:
            raise InvalidInputError(f"the table {name} is empty; ask for at least one row")
        with _writing(name):
            table.to_csv(folder / f"{name}.csv", float_format="%.4f")

    def save_provenance(self, seeds: Iterable[int], name: str) -> None:
        """Write name.json: on what the numbers of name.csv were measured."""
        told = provenance(self.profile.name, self.setting, seeds)
        with _writing(name):
            (self._folder() / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")

    def record(self, item: str, claim: str, published: str, here: str, verdict: str) -> None:
        """Print one comparison with the paper and keep it in paper_vs_here.csv.

        verdict: "agrees", "agrees in part" or "does not agree". A row of the same item is replaced.
        Raises InvalidInputError for another verdict, or an item that no notebook makes.
        """
        require_known("verdict", verdict, VERDICTS)
        row = {"item": item, "claim": claim, "published": published, "here": here,
               "verdict": verdict, "notebook": _notebook(item)}  # fmt: skip
        path = self._folder() / "paper_vs_here.csv"
        with _writing(path.stem), FileLock(f"{paths.home() / path.name}.lock"):
            table = pd.DataFrame(columns=VERDICT_COLUMNS)
            if path.is_file():  # as text: "69.10" stays "69.10", and "n/a" stays "n/a"
                table = pd.read_csv(path, dtype=str, keep_default_na=False)
            table = table[table["item"] != item]
            rows = [*table.to_dict("records"), row]
            table = pd.DataFrame(rows, columns=VERDICT_COLUMNS)
            table = table.sort_values(["notebook", "item"])
            partial = path.with_suffix(".partial")
            table.to_csv(partial, index=False)
            partial.replace(path)
        print(f"{item}: {claim}\n  published: {published}\n  here:      {here}\n  -> {verdict}")

    def _folder(self) -> Path:
        setting = self.setting
        folder = paths.figures_dir(self.profile.name, setting.seed, setting.runtime.device)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the figures folder: {error.strerror}") from error
        return folder


@contextmanager
def _writing(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write {name} to the figures folder: {error.strerror}") from error


def _notebook(item: str) -> str:
    """Name of the notebook that makes an item such as "Figure 7" or "Appendix D"."""
    slug = re.sub(r"(?<=_)(\d)$", r"0\1", item.lower().replace(" ", "_").replace("-", "_"))
    found = sorted((paths.CHECKOUT / "notebooks").glob(f"[0-9][0-9]_{slug}*.ipynb"))
    if not found:
        raise InvalidInputError(f"no notebook makes {item!r}")
    return found[0].stem


def _seed(seed: int | str | None) -> int:
    given = (os.environ.get("LAVAE_SEED") or "0") if seed is None else seed
    if isinstance(given, str) and re.fullmatch(r"[0-9]+", given):
        given = int(given)
    require_seed(given)
    return given


def _one_line_errors() -> None:
    """In a notebook, show an error of this package as its one line, not as a traceback."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        shell.set_custom_exc((LavaeError,), _show_line)


def _show_line(shell, kind, error, traceback, tb_offset=None) -> list[str]:
    lines = [f"{kind.__name__}: {error}"]
    shell._showtraceback(kind, error, lines)
    return lines
