"""Camera steps as words of latent maps, beside what else leads from one view to another (notebook 32).

L1 turns the yaw by +20 degrees, L2 the pitch. A word is all its letters L1, then all its letters L2.
"""

from collections.abc import Callable, Sequence
from itertools import product

import pandas as pd
import torch
from torch import Tensor

from lavae_companion.beyond import view_models
from lavae_companion.beyond.views import ANGLES, STEP, VIEWS, View, Word, render, word_between
from lavae_companion.comparisons import CVAE
from lavae_companion.experiments import load_or_train
from lavae_companion.results import fits
from lavae_companion.results.scores import image_scores
from lavae_companion.study import Study
from lavae_core.augmentations import to_float
from lavae_core.models import CHUNK, LAVAE, encode, encode_variants

N_FITTED = 5000  # training digits, whose views the maps are fitted to
FRONT: View = (0, 0)
LINE: list[View] = [(yaw, 0) for yaw in (-2 * STEP, *ANGLES, 2 * STEP)]  # the turntable
ALL_VIEWS: list[View] = [*VIEWS, LINE[0], LINE[-1]]
INSIDE, OUTSIDE = "inside", "outside"  # the views of the training
# Ways that go forwards only: all between trained views, and on the turntable those with an end at +-40.
WAYS = {
    INSIDE: [way for way in product(VIEWS, VIEWS) if way[0] != way[1] and min(word_between(*way)) >= 0],
    OUTSIDE: [
        (start, end)
        for start, end in product(LINE, LINE)
        if start < end and (start == LINE[0] or end == LINE[-1])
    ],
}  # fmt: skip

OWN, SAMPLES, OFFSET, THROUGH = "directly encoded", "samples", "means, offset", "through the maps"
RANDOM = "means, offset, random start"  # as the direct network has
LETTERS, ONCE = "direct, by letters", "direct, one call"
IDENTITY, NEAREST, MEAN, RENDERED = "identity", "nearest digit", "mean image", "decode, then render"
METHODS = (OWN, SAMPLES, OFFSET, THROUGH, RANDOM, LETTERS, ONCE, IDENTITY, NEAREST, MEAN, RENDERED)
DRAWN = (SAMPLES, OFFSET, THROUGH, LETTERS, ONCE, NEAREST)
EPSILON = 1 / 510  # of a picture that is a prediction: a pixel that was rounded to 0 is below


def fitted(fit: Callable[..., fits.Fit], *moments: Tensor) -> list[fits.Fit]:
    """A map for each letter, by `fit`, of means (and variances) (9, n, d): each is called "L1" and
    fitted to all pairs of VIEWS that are this letter apart. Raises InvalidInputError as `fit`."""
    maps = []
    for letter in ((1, 0), (0, 1)):
        pairs = [way for way in product(VIEWS, VIEWS) if word_between(*way) == letter]
        before, after = ([VIEWS.index(pair[side]) for pair in pairs] for side in (0, 1))
        maps.append(fit(*(torch.stack([m[before], m[after]]).flatten(1, 2) for m in moments)))
    return maps


def carry(maps: Sequence[fits.Fit], z: Tensor, word: Word) -> Tensor:
    """Latents (N, d) after a word, letter by letter."""
    for each, count in zip(maps, word, strict=True):
        for _ in range(abs(count)):
            z = each(z, "L1" if count > 0 else "L1^-1")
    return z


@torch.no_grad()
def in_one_call(model: CVAE, images: Tensor, word: Word) -> Tensor:
    """Logits (N, 1, 28, 28) of the direct network for uint8 images (N, 28, 28), the word its condition."""
    condition = torch.tensor([word], device=images.device).float()
    parts = []
    for part in images.split(CHUNK):
        repeated = condition.expand(len(part), -1)
        parts.append(model.decode(model.encode(to_float(part), repeated)[0], repeated))
    return torch.cat(parts)


def by_letters(model: CVAE, images: Tensor, word: Word) -> Tensor:
    """As `in_one_call`, a letter at a time: every output is the next input. The empty word is a letter."""
    letters = [(1 if word[0] > 0 else -1, 0)] * abs(word[0])
    letters += [(0, 1 if word[1] > 0 else -1)] * abs(word[1])
    for letter in letters or [(0, 0)]:
        logits = in_one_call(model, images, letter)
        images = as_image(logits)
    return logits


def as_image(logits: Tensor) -> Tensor:
    """uint8 (N, 28, 28) of logits (N, 1, 28, 28)."""
    return logits.sigmoid()[:, 0].mul(255).round().to(torch.uint8)


def ranks(z: Tensor, bank: Tensor, right: int) -> Tensor:
    """(N,): rank from 1 of bank[right, n] by its distance to z[n] among all latents of bank (V, N, d)."""
    own = (z - bank[right]).norm(dim=1, keepdim=True)
    # A little nearer is no nearer: cdist is not exact to the last digit.
    return 1 + (torch.cdist(z, bank.flatten(0, 1)) < own * (1 - 1e-5)).sum(1)


class Camera:
    """Test digits, uint8 (n, 28, 28), from ALL_VIEWS as a body, and every way between two views."""

    def __init__(self, study: Study, body: str, digits: Tensor):
        self.body, self._device = body, study.setting.runtime.device
        trained = view_models.experiments(study, body).values()
        self.model, through, self.direct, random = (load_or_train(each) for each in trained)
        self.images = self._views(digits)  # (11, n, 28, 28)
        known = self._views(study.setting.originals()[:N_FITTED])
        self.means = known.double().div(255).mean(1)  # (11, 28, 28)
        self.known, logvar = encode_variants(self.model, known)
        among = len(VIEWS)
        self.maps = {
            SAMPLES: fitted(fits.linear, self.known[:among], logvar[:among].double().exp()),
            OFFSET: fitted(fits.AffineMaps, self.known[:among]),
            THROUGH: fitted(fits.linear, encode_variants(through, known[:among])[0]),
            RANDOM: fitted(fits.AffineMaps, encode_variants(random, known[:among])[0]),
        }
        self.latents = encode_variants(self.model, self.images)[0]  # (11, n, d)
        self.others = {  # the model of each other kind of maps, and its latents
            kind: (each, encode_variants(each, self.images)[0])
            for kind, each in {THROUGH: through, RANDOM: random}.items()
        }

    def _views(self, digits: Tensor) -> Tensor:
        views = [render(digits, self.body, view) for view in ALL_VIEWS]
        return torch.stack(views).to(self._device)

    def encoded(self, method: str) -> tuple[LAVAE, Tensor]:
        """The model that a method uses, and its latents (11, n, d) of the views."""
        return self.others.get(method, (self.model, self.latents))

    def mapped(self, kind: str, start: View, end: View) -> tuple[Tensor, Tensor]:
        """Logits and latents of the view `start` under the maps of that kind."""
        model, latents = self.encoded(kind)
        z = latents[ALL_VIEWS.index(start)]
        return self._decoded(model, carry(self.maps[kind], z, word_between(start, end)))

    def output(self, method: str, start: View, end: View) -> tuple[Tensor, Tensor | None]:
        """Logits (n, 1, 28, 28) that one of METHODS makes of the view `start`, and the latents (n, d) by
        which the view `end` is looked up, if it has any."""
        a, b, word = ALL_VIEWS.index(start), ALL_VIEWS.index(end), word_between(start, end)
        if method in self.maps:
            return self.mapped(method, start, end)
        if method in (OWN, IDENTITY):
            return self._decoded(self.model, self.latents[b if method == OWN else a])
        if method == NEAREST:
            nearest = torch.cdist(self.latents[a], self.known[a]).argmin(1)
            return self._decoded(self.model, self.known[b, nearest])
        if method == MEAN:
            return self._predicted(self.means[b].expand(self.images.shape[1], -1, -1)), None
        if method == RENDERED:
            front = self._decoded(self.model, self.latents[ALL_VIEWS.index(FRONT)])[0]
            turned = render(as_image(front).cpu(), self.body, end).to(self._device)
            return self._predicted(turned.double() / 255), None
        through = by_letters if method == LETTERS else in_one_call
        logits = through(self.direct, self.images[a], word)
        return logits, encode(self.model, as_image(logits))[0]

    def measure(self) -> pd.DataFrame:
        """A row for each method, way and image: its region, letters, cost (BCE), and the rank of the right
        view among all views of all digits, in latent space (NaN for a method without latents)."""
        rows = []
        for method, region in product(METHODS, WAYS):
            for start, end in WAYS[region]:
                logits, z = self.output(method, start, end)
                place = ALL_VIEWS.index(end)
                common = {"method": method, "region": region, "way": f"{start} -> {end}"}
                cost = image_scores(lambda code: code, logits, self.images[place])[0]
                rank = (
                    float("nan")
                    if z is None
                    else ranks(z, self.encoded(method)[1], place).cpu().numpy()
                )
                rows.append(pd.DataFrame(common | {
                    "letters": sum(word_between(start, end)), "image": range(len(cost)),
                    "cost": cost.double().cpu().numpy(), "rank": rank,
                }))  # fmt: skip
        return pd.concat(rows, ignore_index=True)

    @torch.no_grad()
    def _decoded(self, model: LAVAE, z: Tensor) -> tuple[Tensor, Tensor]:
        return model.decode(z), z

    def _predicted(self, pictures: Tensor) -> Tensor:
        return torch.logit(pictures[:, None], eps=EPSILON).float()


def by_letter(measured: pd.DataFrame) -> pd.DataFrame:
    """Means of `Camera.measure` by region, letters and method: cost, ratio (over that of the view's own
    latent), H@1 and MRR."""
    table = measured.assign(**{"H@1": measured["rank"] == 1, "MRR": 1 / measured["rank"]})
    table["H@1"] = table["H@1"].where(table["rank"].notna())
    columns = ["cost", "H@1", "MRR"]
    means = (
        table.astype({"H@1": float})
        .groupby(["region", "letters", "method"], sort=False)[columns]
        .mean()
    )
    own = means["cost"].xs(OWN, level="method")
    means.insert(
        1, "ratio", means["cost"] / own.reindex(means.index.droplevel("method")).to_numpy()
    )
    return means


def dearer(
    measured: pd.DataFrame, one: str, other: str, region: str, letters: int
) -> Sequence[float]:
    """By how much method `one` costs more than `other` for words of so many letters: the mean over
    images and its 95% interval."""
    rows = measured[(measured["region"] == region) & (measured["letters"] == letters)]
    cost = rows.groupby(["method", "image"])["cost"].mean()
    difference = cost[one] - cost[other]
    half = 1.96 * difference.std() / len(difference) ** 0.5
    return difference.mean(), difference.mean() - half, difference.mean() + half


def turntable(camera: Camera, digits: Tensor) -> dict[str, Tensor]:
    """Rows of images (D, 5, 28, 28), each in [0, 1]: the digits, uint8 (D, 28, 28), along LINE as they are, and
    by two ways that know their front view only."""
    truth = torch.stack([render(digits, camera.body, view) for view in LINE], 1)
    words = [word_between(FRONT, view) for view in LINE]
    z = encode(camera.model, digits.to(camera.latents.device))[0]
    with torch.no_grad():
        mapped = [camera.model.decode(carry(camera.maps[OFFSET], z, word)) for word in words]
    direct = [by_letters(camera.direct, digits.to(z.device), word) for word in words]
    pictures = {"LAVAE": mapped, "direct": direct}
    stacked = {name: torch.cat(each, 1).sigmoid() for name, each in pictures.items()}
    return {"truth": truth / 255} | stacked
