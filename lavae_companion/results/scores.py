"""Scores of every test image, and the rows of pictures beside them.

Unit: binary cross-entropy (BCE) and squared error (SSE), each summed over the 784 pixels; the
posterior mean is decoded, nothing is sampled (the paper's Table I). A table shows means over images.
"""

from collections.abc import Mapping
from itertools import permutations

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from lavae_companion.comparisons import CVAE
from lavae_core.augmentations import Family, to_float
from lavae_core.errors import InvalidInputError, require_known, require_whole
from lavae_core.latent_maps import inverse_word, letters
from lavae_core.models import CHUNK, FEATURES, LAVAE, NATIVE, encode

Scores = dict[str, Tensor]  # for each variant (2, N): BCE and squared error of every image
REVERSE = "L2 L1"
EPSILON = 1e-5  # of a mean image: a pixel that no training image used may be used in a test image


@torch.no_grad()
def image_scores(decode, codes: Tensor, targets: Tensor) -> Tensor:
    """(2, N): BCE and squared error of decode(codes) against each uint8 target (N, 28, 28)."""
    parts = []
    for code, target in zip(codes.split(CHUNK), targets.split(CHUNK), strict=True):
        logits, expected = decode(code), to_float(target)
        bce = F.binary_cross_entropy_with_logits(logits, expected, reduction="none")
        squared = (torch.sigmoid(logits) - expected).square()
        parts.append(torch.stack([bce.sum((1, 2, 3)), squared.sum((1, 2, 3))]))
    return torch.cat(parts, dim=1)


def through_maps(
    model: LAVAE,
    family: Family,
    images: Tensor,
    head: str = NATIVE,
    maps=None,
    mu: Tensor | None = None,
) -> Scores:
    """Each variant, reached from the original by its word (Table I, Figure 7).

    images: uint8 (V, N, 28, 28), the variants of the family that `head` decodes into. Only the
    originals are encoded: those of a transfer head's family are the same images.
    maps: other latent maps than the model's own. mu: posterior means of the originals, if known.
    """
    mu = encode(model, images[0])[0] if mu is None else mu
    latent_maps = model.maps if maps is None else maps
    return {
        variant: image_scores(lambda z: model.decode(z, head), latent_maps(mu, word), target)
        for (variant, word), target in zip(family.latent_words.items(), images, strict=True)
    }


def directly_encoded(
    model: LAVAE, family: Family, images: Tensor, mu: Tensor | None = None
) -> Scores:
    """Each variant, encoded and decoded itself as by a plain VAE: the upper bound for any map.
    mu: as in `through_maps`."""
    known = [] if mu is None else [mu]
    latents = [*known, *(encode(model, each)[0] for each in images[len(known) :])]
    return {
        variant: image_scores(model.decode, z, target)
        for variant, z, target in zip(family.variants, latents, images, strict=True)
    }


def flipped_outputs(model: LAVAE, flips: Family, images: Tensor) -> Scores:
    """Each variant (V, N, 28, 28) of the pair of flips without a latent map: the original encoded
    and decoded, and the logits flipped in image space."""
    mu, _ = encode(model, images[0])
    axes = {"": (), "A1": (-1,), "A2": (-2,), "A1 A2": (-1, -2)}
    return {
        variant: image_scores(lambda z, over=axes[word]: model.decode(z).flip(over), mu, target)
        for variant, word, target in zip(flips.variants, flips.words, images, strict=True)
    }


def conditions_of(family: Family, trained: Family) -> Tensor:
    """Conditions (V, n) of a family's variants, by their words: the one-hot of a word among the n
    of `trained`, and of another one the sum of the one-hots of its letters.

    Raises InvalidInputError for a letter that was not trained.
    """
    one_hots = dict(zip(trained.words, torch.eye(len(trained.words)), strict=True))
    for word in (word for word in family.words if word not in one_hots):
        for name, _ in letters(word):
            require_known(f"trained letter of the word {word!r}:", name, trained.words)
        one_hots[word] = sum(power * one_hots[name] for name, power in letters(word))
    return torch.stack([one_hots[word] for word in family.words])


@torch.no_grad()
def cvae_outputs(
    model: CVAE, family: Family, images: Tensor, trained: Family | None = None
) -> Tensor:
    """Logits (V, N, 1, 28, 28): the originals (N, 28, 28) encoded, decoded into each variant.

    trained: the family whose variants the model's one-hots stand for; None: `family`. Raises
    InvalidInputError for one of another size, or as `conditions_of`.
    """
    known, n_conditions = trained or family, model.encoder.to_mu.in_features - FEATURES
    if len(known.words) != n_conditions:
        raise InvalidInputError(f"a CVAE of {n_conditions} conditions was not trained on {known}")
    conditions = conditions_of(family, known).to(images.device)
    parts = []
    for part in images.split(CHUNK):
        mu, _ = model.encode(to_float(part), conditions[0].expand(len(part), -1))
        parts.append(torch.stack([model.decode(mu, c.expand(len(mu), -1)) for c in conditions]))
    return torch.cat(parts, dim=1)


def by_condition(
    model: CVAE, family: Family, images: Tensor, trained: Family | None = None
) -> Scores:
    """Each variant by a CVAE: the original encoded, decoded with the condition of the variant.
    trained, and errors, as in `cvae_outputs`."""
    logits = cvae_outputs(model, family, images[0], trained)
    return {
        variant: image_scores(lambda code: code, output, target)
        for variant, output, target in zip(family.variants, logits, images, strict=True)
    }


def mean_image(family: Family, images: Tensor, means: Tensor) -> Scores:
    """Each variant (V, N, 28, 28) against its mean image (V, 28, 28) in [0, 1] of other images:
    what needs no latent at all."""
    scores = {}
    for variant, target, mean in zip(family.variants, images, means, strict=True):
        logits = torch.logit(mean, eps=EPSILON).float().expand(len(target), 1, 28, 28)
        scores[variant] = image_scores(lambda code: code, logits, target)
    return scores


def reverse(model: LAVAE, originals: Tensor, target: Tensor) -> Tensor:
    """(2, N): the reverse composition z L2 L1 of `originals` against `target`, both (N, 28, 28)."""
    mu, _ = encode(model, originals)
    return image_scores(model.decode, model.maps(mu, REVERSE), target)


def word_between(family: Family, source: str, target: str) -> str:
    """The word that leads from one variant to another by way of the original (any-to-any)."""
    words = family.latent_words
    for variant in (source, target):
        require_known("variant", variant, words)
    return f"{inverse_word(words[source])} {words[target]}".strip()


def any_to_any(model: LAVAE, family: Family, images: Tensor) -> dict[tuple[str, str], Tensor]:
    """BCE (N,) of every route (source, target) between two variants, by inverse maps."""
    by_variant = dict(zip(family.variants, images, strict=True))
    latents = {variant: encode(model, each)[0] for variant, each in by_variant.items()}
    routes = {}
    for source, target in permutations(family.variants, 2):
        z = model.maps(latents[source], word_between(family, source, target))
        routes[source, target] = image_scores(model.decode, z, by_variant[target])[0]
    return routes


def round_trip_error(model: LAVAE, images: Tensor, word: str) -> float:
    """Relative error |z L^-1 L - z| / |z| over the latents of images (N, 28, 28)."""
    mu, _ = encode(model, images)
    again = model.maps(model.maps(mu, inverse_word(word)), word)
    return ((again - mu).norm() / mu.norm()).item()


@torch.no_grad()
def map_residuals(model: LAVAE, family: Family, images: Tensor) -> pd.DataFrame:
    """Residuals of the linear maps: z L_i of the originals against the latents of A_i(x).

    images: uint8 (1 + k, N, 28, 28), originals and single variants. A row for each map and
    principal direction of its residuals, the largest first; `residual` is their mean square, in
    variances of the posterior: below 1 it is smaller than the noise that the decoder saw in training.
    """
    originals, _ = encode(model, images[0])
    rows = []
    for name, variant in zip(model.maps.names, images[1:], strict=True):
        mu, logvar = encode(model, variant)
        residual = ((model.maps(originals, name) - mu) / (0.5 * logvar).exp()).double()
        squares = torch.linalg.eigvalsh(residual.t() @ residual / len(residual)).flip(0).tolist()
        rows += [{"map": name, "direction": i, "residual": s} for i, s in enumerate(squares, 1)]
    return pd.DataFrame(rows)


# -- recursion (Figure 5) ------------------------------------------------------------------------


@torch.no_grad()
def recursion(model: LAVAE, images: Tensor, word: str, steps: int) -> tuple[Tensor, Tensor]:
    """The output fed back `steps` times through encoder, map and decoder (Figure 5).

    images: uint8 (N, 28, 28). Returns images (steps + 1, N, 28, 28) in [0, 1], the input first, and
    the posterior means (steps + 1, N, 16) of each. Raises InvalidInputError without an image.
    """
    require_whole("steps", steps, 0)
    if not len(images):
        raise InvalidInputError("there are no images to start from; ask for at least one")
    parts = [_recursion(model, part, word, steps) for part in images.split(CHUNK)]
    outputs, latents = zip(*parts, strict=True)
    return torch.cat(outputs, dim=1), torch.cat(latents, dim=1)


def _recursion(model: LAVAE, images: Tensor, word: str, steps: int) -> tuple[Tensor, Tensor]:
    outputs = [to_float(images)]
    latents = [model.encode(outputs[0])[0]]
    for _ in range(steps):
        outputs.append(model.augment(outputs[-1], word))
        latents.append(model.encode(outputs[-1])[0])
    return torch.stack(outputs).squeeze(2), torch.stack(latents)


def two_step_changes(images: Tensor) -> Tensor:
    """Squared pixel distance of a recursion's images two steps apart, (steps - 1, N).

    Two applications of an involution are the identity, so images[t + 2] should equal images[t].
    Raises InvalidInputError for fewer than three steps: of two there is only the first return.
    """
    require_whole("steps", len(images) - 1, 3)
    return (images[2:] - images[:-2]).square().sum((-2, -1))


def drift(images: Tensor) -> Tensor:
    """Squared pixel distance of a recursion's last odd step from its first one, (N,).

    Odd steps of an involution should all show the same image. Raises InvalidInputError for fewer
    than three steps.
    """
    require_whole("steps", len(images) - 1, 3)
    last = len(images) - 1 - len(images) % 2
    return (images[last] - images[1]).square().sum((-2, -1))


def stable(images: Tensor) -> Tensor:
    """Which samples of a recursion (steps + 1, N, 28, 28) are stable, (N,): their drift is below
    their reconstruction error, the distance between the input and step 2.

    Raises InvalidInputError as `drift`.
    """
    return drift(images) < (images[2] - images[0]).square().sum((-2, -1))


# -- tables and rows of pictures -----------------------------------------------------------------


def side_by_side(scores: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """A row for each entry of `scores` and a column for each of its numbers.

    Raises InvalidInputError without an entry.
    """
    if not scores:
        raise InvalidInputError("there are no scores to compare; ask for at least one model")
    return pd.DataFrame({name: dict(row) for name, row in scores.items()}).T


@torch.no_grad()
def decoded(model: LAVAE, mu: Tensor, word: str, head: str = NATIVE) -> Tensor:
    """Images (N, 28, 28) in [0, 1]: latents (N, 16) mapped by a word and decoded."""
    return torch.sigmoid(model.decode(model.maps(mu, word), head)).squeeze(1)


def variant_rows(
    model: LAVAE, family: Family, images: Tensor, head: str = NATIVE
) -> dict[str, Tensor]:
    """Labelled rows of a picture: each variant (V, N, 28, 28) above its latent version."""
    mu, _ = encode(model, images[0])
    rows = {}
    for (variant, word), image in zip(family.latent_words.items(), images, strict=True):
        rows[f"{variant}, image"] = image
        rows[f"{variant}, z {word}".strip()] = decoded(model, mu, word, head)
    return rows


def cvae_rows(
    cvae: CVAE, lavae: LAVAE, family: Family, images: Tensor, trained: Family | None = None
) -> dict[str, Tensor]:
    """Rows of Figures 8 and 9: each variant, and both models' output from the original.
    trained, and errors, as in `cvae_outputs`."""
    outputs = cvae_outputs(cvae, family, images[0], trained).sigmoid().squeeze(2)
    mu, _ = encode(lavae, images[0])
    rows = {}
    words = family.latent_words.items()
    for (variant, word), image, output in zip(words, images, outputs, strict=True):
        rows["x" if variant == "original" else f"{variant}, image"] = image
        rows |= {f"{variant}, CVAE": output, f"{variant}, LAVAE": decoded(lavae, mu, word)}
    return rows
