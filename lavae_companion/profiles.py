"""How much work to do: the schedules and sizes of smoke, quick, long and paper, as data."""

from dataclasses import dataclass, field, replace

from lavae_core.errors import require_known, require_whole
from lavae_core.training import Schedule


@dataclass(frozen=True)
class Start(Schedule):
    """Training on principal components; originals: how many, in all variants, they are taken from."""

    originals: int = 3000  # of 500 they are too rough for good maps (benchmarks/NOTES.md)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("originals", self.originals, 1)


@dataclass(frozen=True)
class Profile:
    """Sizes, and one schedule for each kind of training.

    n_train, n_test: images of the split, the first ones (None: all).
    start: training on principal components before stage 1 of a family (None: random weights).
    flips: stage 1 of the pair of Table I; base: of every other family; cvae (conditional), cvae_lavae,
    vae, joint: the models it is compared with; head: stage 3; maps: non-linear maps, and stage 2 by gradient descent.
    through_maps: the pair of Table I trained through the maps. It is in no key but those of the models
    that it trains.
    antithetic: where training decodes a sample of a posterior, it decodes two, mu + sigma e and
    mu - sigma e, and averages their errors: the same loss in expectation, with less noise in its
    gradient. False: one sample, as in the paper.
    n_projected: latents in a projection and in the accuracies beside it, equally many per variant.
    n_pairs: pairs in Figure 7.
    """

    name: str
    n_train: int | None
    n_test: int | None
    start: Start | None
    flips: Schedule
    base: Schedule
    cvae: Schedule
    cvae_lavae: Schedule
    vae: Schedule
    joint: Schedule
    head: Schedule
    maps: Schedule
    antithetic: bool
    n_projected: int
    n_pairs: int
    through_maps: Schedule = field(metadata={"key": None}, kw_only=True)


_SMOKE = Schedule(epochs=0.5, lr=4e-3, warmup=10)
_FLIPS = Schedule(epochs=2.5, batch=128, lr=8e-3, warmup=500, decay="linear")
_BASE = replace(_FLIPS, epochs=1, lr=6e-3)
_START = Start(epochs=0.25, batch=128, lr=3e-3, warmup=100, decay="constant")
# As many images encoded and decoded as LAVAE with its start (PROTOCOL.md); the LAVAE-style CVAE decodes
# each into three variants, and in 5 epochs encodes 300,000 for LAVAE's 660,000 but decodes 900,000.
_CVAE = replace(_FLIPS, epochs=_FLIPS.epochs + _START.epochs, lr=4e-3)
_PAPER = Schedule(epochs=100, lr=1e-3, warmup=0, decay="constant")

_SMOKE_PROFILE = Profile(
    "smoke", n_train=2000, n_test=500,
    start=Start(epochs=0.1, lr=4e-3, warmup=5, originals=250),
    flips=_SMOKE, base=_SMOKE, cvae=_SMOKE, cvae_lavae=_SMOKE, vae=_SMOKE, joint=_SMOKE,
    head=Schedule(epochs=0.5, batch=128, lr=6e-3, warmup=10),
    maps=Schedule(epochs=5, lr=3e-3, warmup=10), antithetic=True, n_projected=200, n_pairs=2,
    through_maps=_SMOKE,
)  # fmt: skip
_QUICK_PROFILE = Profile(
    "quick", n_train=None, n_test=None,
    start=_START, flips=_FLIPS, base=_BASE, cvae=_CVAE,
    cvae_lavae=replace(_CVAE, epochs=5.0),
    vae=Schedule(epochs=3), joint=_BASE,
    head=Schedule(epochs=0.5, batch=128, lr=6e-3, warmup=200),
    maps=Schedule(epochs=60, batch=512, lr=3e-3, warmup=200), antithetic=True,
    n_projected=2000, n_pairs=4, through_maps=replace(_FLIPS, epochs=4, lr=7e-3),
)  # fmt: skip
# As quick, with more epochs for the pair of Table I.
_LONG = replace(_FLIPS, epochs=6.5, lr=4e-3)
_LONG_PROFILE = replace(_QUICK_PROFILE, name="long", flips=_LONG, through_maps=_LONG)
_PAPER_PROFILE = Profile(
    "paper", n_train=None, n_test=None,
    start=None, flips=_PAPER, base=_PAPER, cvae=_PAPER, cvae_lavae=_PAPER, vae=_PAPER, joint=_PAPER, head=_PAPER,
    maps=Schedule(epochs=60, lr=1e-3, warmup=0, decay="constant"), antithetic=False,
    n_projected=2000, n_pairs=7, through_maps=_PAPER,
)  # fmt: skip

PROFILES = {p.name: p for p in (_SMOKE_PROFILE, _QUICK_PROFILE, _LONG_PROFILE, _PAPER_PROFILE)}


def resolve(name: str) -> Profile:
    """The profile of that name. Raises InvalidInputError for an unknown name."""
    require_known("profile", name, PROFILES)
    return PROFILES[name]
