"""Cached latents, their images gone: what a classifier learns when the maps augment them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from lavae_companion import data
from lavae_companion.results import geometry, statistics
from lavae_companion.study import Study
from lavae_core import augmentations
from lavae_core.augmentations import Family
from lavae_core.errors import InvalidInputError, require_whole
from lavae_core.latent_maps import inverse_word
from lavae_core.models import encode_variants

ORIGINALS, MAPPED, TRUE = "originals only", "+ z L", "+ true variants"
KNOWN, INFERRED = "undo, known pose", "undo, inferred pose"
GENERIC = ("+ noise", "+ extrapolation", "+ mixup")
ARMS = (ORIGINALS, MAPPED, TRUE, *GENERIC, KNOWN, INFERRED)
UPRIGHT, ALL = "original pose", "all poses"
HALF = 0.5  # DeVries and Taylor (2017): of a deviation for noise, of a difference to extrapolate
NEIGHBOURS, N_REFERENCE = 15, 2000  # that infer a pose, among so many cached latents in each
GROUP = ["test", "classifier", "labels"]

Labelled = tuple[np.ndarray, np.ndarray, np.ndarray]  # latents (M, d), labels and weights (M,)


class Cache:
    """Latents of the training originals, the maps, and latents of test images in all poses.

    left_out: labels without which all is done. n_images: test images, in an order of the seed.
    """

    def __init__(self, study: Study, family: Family, left_out: Sequence[int], n_images: int):
        self.setting, self.family, self.model = study.setting, family, study.lavae(family)
        train = data.load("train", dataset=self.setting.dataset, limit=self.setting.n_train)
        self.images, self.places = train.images, np.flatnonzero(~np.isin(train.labels, left_out))
        self.labels = train.labels.numpy()[self.places]
        self.latents = study.latents(family).double().cpu().numpy()[self.places]
        words = family.latent_words.values()
        self.maps, self.back = (  # (V, d, d)
            np.stack([self.model.maps.matrix(word).double().cpu().numpy() for word in some])
            for some in (words, map(inverse_word, words))
        )
        require_whole("n_images", n_images, 1)
        kept = np.flatnonzero(~np.isin(study.test_set.labels, left_out))
        tests = geometry.shuffled(study.variants(family)[:, kept], self.setting.seed)[:, :n_images]
        self.tests = encode_variants(self.model, tests)[0].double().cpu().numpy()  # (V, n, d)
        labels = geometry.shuffled(study.test_set.labels[None, kept], self.setting.seed)
        self.test_labels = labels[0, :n_images].numpy()

    def encoded(self, chosen: np.ndarray) -> np.ndarray:
        """Latents (V - 1, *, d) of the true variants of `chosen` (*): all that needs images."""
        places = self.places[chosen.ravel()]
        variants = augmentations.variants(
            self.images[places], self.family, split="train", seed=self.setting.seed, indices=places
        )[1:].to(self.setting.runtime.device)
        latents = encode_variants(self.model, variants)[0].double().cpu().numpy()
        return latents.reshape(len(variants), *chosen.shape, -1)

    def undone(self) -> dict[str, np.ndarray]:
        """The test latents (V, n, d) mapped back, by their pose and by the pose of neighbours."""
        reference = self.latents[:N_REFERENCE] @ self.maps
        poses = np.repeat(np.arange(len(self.maps)), reference.shape[1])
        nearest = KNeighborsClassifier(NEIGHBOURS).fit(np.concatenate(reference), poses)
        inferred = [self.back[nearest.predict(z)] for z in self.tests]  # V of (n, d, d)
        return {KNOWN: self.tests @ self.back,
                INFERRED: np.einsum("vnd,vnde->vne", self.tests, inferred)}  # fmt: skip


def draw(labels: np.ndarray, count: int, source: np.random.Generator) -> np.ndarray:
    """Indices (C, count): random samples of each of the C classes of labels (N,); fewer are the
    first of more. Raises InvalidInputError for more than the smallest class has, or one class."""
    classes, sizes = np.unique(labels, return_counts=True)
    require_whole("the number of classes", len(classes), 2)
    if count > sizes.min():
        raise InvalidInputError(
            f"{count} labels a class are too many, the smallest has {sizes.min()}"
        )
    order = source.permutation(len(labels))
    return np.stack([order[labels[order] == each][:count] for each in classes])


def training_sets(
    z: np.ndarray,
    labels: np.ndarray,
    maps: np.ndarray,
    true: np.ndarray,
    source: np.random.Generator,
) -> dict[str, Labelled]:
    """By arm, latents z (C, n, d) with labels (C, n) and as many copies as true (V - 1, C, n, d).

    Mixed latents are there with both labels, by their shares. All sets weigh as much as z: copies
    of z alone would change nothing.
    """
    flat, y, n_copies = z.reshape(-1, z.shape[-1]), labels.ravel(), len(true)
    others = np.stack([z[:, source.permutation(z.shape[1])] for _ in true])
    partner = np.concatenate([source.permutation(len(y)) for _ in true])
    share = source.uniform(size=(len(partner), 1))
    mixed = share * np.tile(flat, (n_copies, 1)) + (1 - share) * flat[partner]
    added = {
        MAPPED: z @ maps[1:, None],
        TRUE: true,
        "+ noise": z + HALF * z.std((0, 1)) * source.standard_normal(true.shape),
        "+ extrapolation": z + HALF * (z - others),
        "+ mixup": np.stack([mixed, mixed]),
    }
    targets, ones = np.tile(y, 1 + n_copies), np.ones(len(y) * (1 + n_copies))
    sets = {ORIGINALS: (flat, y, ones[: len(y)])}
    for arm, latents in added.items():
        sets[arm] = np.concatenate([flat, latents.reshape(-1, z.shape[-1])]), targets, ones
    weights = np.concatenate([ones[: len(y)], share[:, 0], 1 - share[:, 0]])
    sets["+ mixup"] = sets["+ mixup"][0], np.concatenate([targets, y[partner]]), weights
    return {arm: (x, t, w * len(y) / w.sum()) for arm, (x, t, w) in sets.items()}


def accuracies(cache: Cache, n_labels: Sequence[int], draws: int) -> pd.DataFrame:
    """Accuracies (0 to 1): a column for each arm, a row for each test set, classifier, number of
    labels a class and draw of them. Raises InvalidInputError for fewer than two draws."""
    require_whole("draws", draws, 2)
    require_whole("the length of n_labels", len(n_labels), 1)
    for count in n_labels:
        require_whole("the number of labels a class", count, 1)
    undone, rows = cache.undone(), []
    for number in range(draws):
        source = np.random.default_rng([cache.setting.seed, number])
        most = draw(cache.labels, max(n_labels), source)
        true = cache.encoded(most)
        for count in n_labels:
            few, labels = cache.latents[most[:, :count]], cache.labels[most[:, :count]]
            for arm, labelled in training_sets(
                few, labels, cache.maps, true[:, :, :count], source
            ).items():
                tests = {arm: cache.tests} | (undone if arm == ORIGINALS else {})
                for name, classifier, right in _scored(labelled, tests, cache.test_labels):
                    rows.append((classifier, count, number, name, right[0], right.mean()))
    table = pd.DataFrame(rows, columns=[*GROUP[1:], "draw", "arm", UPRIGHT, ALL])
    table = table.melt([*GROUP[1:], "draw", "arm"], var_name="test", value_name="accuracy")
    return table.pivot(index=[*GROUP, "draw"], columns="arm", values="accuracy")[[*ARMS]]


@threadpool_limits.wrap(limits=1)  # threads of so small fits mostly wait for each other
def _scored(
    labelled: Labelled, tests: Mapping[str, np.ndarray], expected: np.ndarray
) -> list[tuple[str, str, np.ndarray]]:
    """(Name of the test latents (V, n, d), classifier, accuracy in each pose (V,))."""
    latents, labels, weights = labelled
    main = weights >= weights.max() / 2  # a neighbour has one label: of the larger share
    linear, nearest = LogisticRegression(max_iter=2000), KNeighborsClassifier(1)
    models = {
        "logistic regression": linear.fit(latents, labels, sample_weight=weights),
        "nearest neighbour": nearest.fit(latents[main], labels[main]),
    }
    return [
        (name, kind, (model.predict(np.concatenate(z)).reshape(z.shape[:2]) == expected).mean(1))
        for name, z in tests.items()
        for kind, model in models.items()
    ]


def recovered(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Shares of the oracle's gain (1: all of it) over the originals only, of `accuracies`; NaN where
    the oracle has none. The mean over draws is the ratio of the mean gains."""
    gain = accuracy.sub(accuracy[ORIGINALS], axis=0)
    mean = gain.groupby(GROUP).transform("mean")
    oracle = mean[TRUE].where(mean[TRUE] > 0)
    share = mean.div(oracle, axis=0)
    return share + (gain - share.mul(gain[TRUE], axis=0)).div(oracle, axis=0)


def intervals(values: pd.DataFrame) -> pd.DataFrame:
    """Mean over draws and its 95% interval (value, low, high) of a table with rows as `accuracies`:
    a row for each test set, classifier, number of labels and arm."""
    rows = values.stack().groupby([*GROUP, "arm"], sort=False)
    ends = rows.apply(lambda each: statistics.interval(each.to_numpy(), np.zeros(len(each))))
    return pd.DataFrame(ends.tolist(), ends.index, ["value", "low", "high"])


def verdict(rows: pd.DataFrame, threshold: float, side: str) -> str:
    """Whether all `intervals` are on that side ("above" or "below") of a threshold."""
    sign = 1 if side == "above" else -1
    ends = np.sort(sign * rows[["low", "high"]], axis=1) - sign * threshold
    if (ends >= 0).all():
        return "holds"
    return "does not hold" if (ends < 0).all(1).any() else "inconclusive"
