"""Colours, markers and sizes that the figures share.

The first four of COLOURS and most others are Okabe and Ito's. The last eight of COLOURS are in an
order that puts those first that a reader with protanopia or deuteranopia tells apart best.
"""

from collections.abc import Iterable, Sized
from itertools import cycle

import matplotlib.pyplot as plt

from lavae_core.augmentations import PAIR_VARIANTS
from lavae_core.errors import InvalidInputError

COLOURS = [
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#920000", "#004949", "#490092", "#222255",
    "#B66DFF", "#AA3377", "#117733", "#999933",
]  # fmt: skip
MARKERS = ["o", "^", "s", "D", "v", "P", "X", "<", ">", "p", "*", "h", "d"]
# Of models, samples, words and pairs: none has the colour of a variant.
OTHER_COLOURS = ["#D55E00", "#56B4E9", "#000000", "#999999", "#F0E442", "#7B3294", "#8C510A"]
PAGE_WIDTH = 7.0  # inches


def variant_styles(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The colour and marker of each variant, in order of first appearance.

    The four variants of a pair have the same style everywhere; other names get what is left of the
    list. Up to twelve variants differ in both.
    """
    names = dict.fromkeys(names)
    pair = dict(zip(PAIR_VARIANTS, zip(COLOURS, cycle(MARKERS)), strict=False))
    used = {pair[name] for name in names if name in pair}
    free = (style for style in zip(cycle(COLOURS), cycle(MARKERS)) if style not in used)
    return {name: pair[name] if name in pair else next(free) for name in names}


def subplots(rows: int = 1, columns: int = 1, **options):
    """plt.subplots in a constrained layout; by rcParams it would also move axes placed by hand."""
    return plt.subplots(rows, columns, layout="constrained", **options)


def require_some(what: str, items: Sized) -> None:
    """Raise InvalidInputError if `items` is empty."""
    if not len(items):
        raise InvalidInputError(f"there are no {what} to draw; give at least one")
