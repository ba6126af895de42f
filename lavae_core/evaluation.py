"""Every number that a table prints.

Unit: binary cross-entropy (BCE) and squared error, each summed over the 784 pixels and averaged
over images; the posterior mean is decoded, nothing is sampled (the paper's Table I).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from lavae_core.augmentations import VARIANTS
from lavae_core.errors import InvalidInputError, require_whole
from lavae_core.experiments import CHUNK, encode
from lavae_core.latent_maps import REVERSE, VARIANT_WORDS, inverse_word
from lavae_core.models import CVAE, FEATURES, LAVAE, NATIVE
from lavae_core.tasks import to_float


@torch.no_grad()
def image_scores(decode, codes: Tensor, targets: Tensor) -> Tensor:
    """(2, N): BCE and squared error of decode(codes) against each uint8 target (N, 28, 28)."""
    parts = []
    for code, target in zip(codes.split(CHUNK), targets.split(CHUNK), strict=True):
        logits, wanted = decode(code), to_float(target)
        bce = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        squared = (torch.sigmoid(logits) - wanted).square()
        parts.append(torch.stack([bce, squared]).sum((2, 3, 4)))
    return torch.cat(parts, dim=1)


def score(decode, codes: Tensor, targets: Tensor) -> tuple[float, float]:
    """(BCE, squared error) of decode(codes) against uint8 targets (N, 28, 28)."""
    bce, squared = image_scores(decode, codes, targets).double().mean(1).tolist()
    return bce, squared


def _table(scores: Mapping[str, Tensor]) -> pd.DataFrame:
    means = {variant: each.double().mean(1).tolist() for variant, each in scores.items()}
    table = pd.DataFrame(means, index=["bce", "sse"]).T
    table.loc["total"] = table.sum()
    return table


def lavae_image_scores(
    model: LAVAE, images: Tensor, head: str = NATIVE, maps=None
) -> dict[str, Tensor]:
    """image_scores (2, N) of each variant, reached from the original by its word.

    images: uint8 (4, N, 28, 28), the variants of the pair that `head` decodes into. Only the
    originals are encoded: those of a transfer head's pair are the same images.
    maps: other latent maps than the model's own.
    """
    mu, _ = encode(model, images[0])
    latent_maps = model.maps if maps is None else maps
    return {
        variant: image_scores(lambda z: model.decode(z, head), latent_maps(mu, word), target)
        for (variant, word), target in zip(VARIANT_WORDS.items(), images, strict=True)
    }


def lavae_scores(model: LAVAE, images: Tensor, head: str = NATIVE, maps=None) -> pd.DataFrame:
    """Rows original, first, second, composed, total; columns bce, sse (Table I, Figure 7): binary
    cross-entropy and squared error, summed over pixels.

    Means of lavae_image_scores, whose arguments it has.
    """
    return _table(lavae_image_scores(model, images, head, maps))


def autoencoding_image_scores(model: LAVAE, images: Tensor) -> dict[str, Tensor]:
    """image_scores (2, N) of each variant, encoded and decoded itself: what a plain VAE does."""
    return {
        variant: image_scores(model.decode, encode(model, target)[0], target)
        for variant, target in zip(VARIANTS, images, strict=True)
    }


def autoencoding_scores(model: LAVAE, images: Tensor) -> pd.DataFrame:
    """As lavae_scores, each variant from its own latent: what maps without error would score."""
    return _table(autoencoding_image_scores(model, images))


def one_hots(n_conditions: int) -> Tensor:
    """Conditions (4, n_conditions) of the four variants; a two-hot where composed was not trained."""
    if n_conditions == len(VARIANTS):
        return torch.eye(n_conditions)
    trained = torch.eye(n_conditions)
    return torch.cat([trained, trained[1:2] + trained[2:3]])


@torch.no_grad()
def cvae_outputs(model: CVAE, images: Tensor) -> Tensor:
    """Logits (4, N, 1, 28, 28): the originals (N, 28, 28) encoded, decoded into each variant."""
    conditions = one_hots(model.encoder.to_mu.in_features - FEATURES).to(images.device)
    x = to_float(images)
    mu, _ = model.encode(x, conditions[0].expand(len(x), -1))
    return torch.stack([model.decode(mu, c.expand(len(x), -1)) for c in conditions])


def cvae_image_scores(model: CVAE, images: Tensor) -> dict[str, Tensor]:
    """image_scores (2, N) of each variant: the original encoded, decoded with another one-hot."""
    logits = torch.cat([cvae_outputs(model, part) for part in images[0].split(CHUNK)], dim=1)
    return {
        variant: image_scores(lambda code: code, output, target)
        for variant, output, target in zip(VARIANTS, logits, images, strict=True)
    }


def cvae_scores(model: CVAE, images: Tensor) -> pd.DataFrame:
    """As lavae_scores, for a CVAE."""
    return _table(cvae_image_scores(model, images))


@torch.no_grad()
def decoded(model: LAVAE, mu: Tensor, word: str, head: str = NATIVE) -> Tensor:
    """Images (N, 28, 28) in [0, 1]: latents (N, 16) mapped by a word and decoded."""
    return torch.sigmoid(model.decode(model.maps(mu, word), head)).squeeze(1)


def variant_rows(model: LAVAE, images: Tensor, head: str = NATIVE) -> dict[str, Tensor]:
    """Labelled rows of a picture: each variant (4, N, 28, 28) above its latent reconstruction."""
    mu, _ = encode(model, images[0])
    rows = {}
    for (variant, word), image in zip(VARIANT_WORDS.items(), images, strict=True):
        rows[f"{variant}, image"] = image
        rows[f"{variant}, z {word}"] = decoded(model, mu, word, head)
    return rows


def cvae_rows(cvae: CVAE, lavae: LAVAE, images: Tensor) -> dict[str, Tensor]:
    """Rows of Figures 8 and 9: each variant (4, N, 28, 28), and both models' from the original."""
    outputs = cvae_outputs(cvae, images[0]).sigmoid().squeeze(2)
    mu, _ = encode(lavae, images[0])
    rows = {}
    for (variant, word), image, output in zip(VARIANT_WORDS.items(), images, outputs, strict=True):
        rows["x" if variant == "original" else f"{variant}, image"] = image
        rows |= {f"{variant}, CVAE": output, f"{variant}, LAVAE": decoded(lavae, mu, word)}
    return rows


def mean_image_scores(images: Tensor) -> list[float]:
    """BCE of each variant (4, N, 28, 28) against its own mean image: what needs no latent at all."""
    wanted = images.float().div(255)
    mean = wanted.mean(dim=1, keepdim=True)
    bce = F.binary_cross_entropy(mean.expand_as(wanted), wanted, reduction="none")
    return bce.sum((-2, -1)).mean(1).tolist()


def mean_image_score(images: Tensor) -> float:
    """Sum of mean_image_scores over the four variants, comparable with a total."""
    return sum(mean_image_scores(images))


def side_by_side(scores: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """A row for each entry of `scores` and a column for each of its numbers.

    Raises InvalidInputError without an entry.
    """
    if not scores:
        raise InvalidInputError("there are no scores to compare; ask for at least one model")
    return pd.DataFrame({name: dict(row) for name, row in scores.items()}).T


def reverse_score(model: LAVAE, originals: Tensor, target: Tensor) -> tuple[float, float]:
    """(BCE, squared error) of the reverse composition z L2 L1 of `originals` against `target`.

    originals, target: uint8 (N, 28, 28). The target is the composed image of the order that the
    decoder knows, A2(A1(x)), or that of the reverse order, A1(A2(x)).
    """
    mu, _ = encode(model, originals)
    return score(model.decode, model.maps(mu, REVERSE), target)


def word_between(source: str, target: str) -> str:
    """The word that leads from one variant to another, by way of the original: any-to-any."""
    return f"{inverse_word(VARIANT_WORDS[source])} {VARIANT_WORDS[target]}".strip()


def any_to_any_scores(model: LAVAE, images: Tensor) -> pd.DataFrame:
    """BCE from the encoding of each variant (rows) to each variant (columns), by inverse maps."""
    table = pd.DataFrame(index=VARIANTS, columns=VARIANTS, dtype=float)
    for source, shown in zip(VARIANTS, images, strict=True):
        mu, _ = encode(model, shown)
        for target, wanted in zip(VARIANTS, images, strict=True):
            z = model.maps(mu, word_between(source, target))
            table.loc[source, target] = score(model.decode, z, wanted)[0]
    return table


def round_trip_error(model: LAVAE, images: Tensor, word: str) -> float:
    """Relative error |z L^-1 L - z| / |z| over the latents of images (N, 28, 28)."""
    mu, _ = encode(model, images)
    again = model.maps(model.maps(mu, inverse_word(word)), word)
    return ((again - mu).norm() / mu.norm()).item()


@torch.no_grad()
def map_residuals(model: LAVAE, images: Tensor) -> pd.DataFrame:
    """What linear maps miss: z L_i of the originals against the latents of variant i.

    images: uint8 (4, N, 28, 28). A row for each map and principal direction of its residuals, the
    largest first; `residual` is their mean square, in variances of the variant's posterior: below 1
    the residual hides in the noise that the decoder was trained with.
    """
    originals, _ = encode(model, images[0])
    rows = []
    for name, shown in zip(model.maps.names, images[1:3], strict=True):
        mu, logvar = encode(model, shown)
        residual = ((model.maps(originals, name) - mu) / (0.5 * logvar).exp()).double()
        squares = torch.linalg.eigvalsh(residual.t() @ residual / len(residual)).flip(0).tolist()
        rows += [{"map": name, "direction": i, "residual": s} for i, s in enumerate(squares, 1)]
    return pd.DataFrame(rows)


@torch.no_grad()
def recursion(model: LAVAE, images: Tensor, word: str, steps: int) -> tuple[Tensor, Tensor]:
    """The output fed back `steps` times through encoder, map and decoder (Figure 5).

    images: uint8 (N, 28, 28). Returns images (steps + 1, N, 28, 28) in [0, 1], the input first, and
    the posterior means (steps + 1, N, 16) of each. Raises InvalidInputError without an image.
    """
    require_whole("steps", steps, 0)
    if not len(images):
        raise InvalidInputError("there are no images to start from; ask for at least one")
    x = to_float(images)
    mu, _ = model.encode(x)
    shown, latents = [x], [mu]
    for _ in range(steps):
        shown.append(model.augment(shown[-1], word))
        latents.append(model.encode(shown[-1])[0])
    return torch.stack(shown).squeeze(2), torch.stack(latents)


def two_step_changes(images: Tensor) -> np.ndarray:
    """Squared pixel distance of a recursion's images two steps apart, (steps - 1, N).

    Two applications of an involution are the identity, so images[t + 2] should equal images[t].
    Raises InvalidInputError for less than three steps: of two there is only the first return.
    """
    require_whole("steps", len(images) - 1, 3)
    return (images[2:] - images[:-2]).square().sum((-2, -1)).cpu().numpy()


def drift(images: Tensor) -> Tensor:
    """Squared pixel distance of a recursion's last odd step from its first one, (N,).

    Odd steps of an involution should all show the same image. Raises InvalidInputError for less
    than three steps.
    """
    require_whole("steps", len(images) - 1, 3)
    last = len(images) - 1 - len(images) % 2
    return (images[last] - images[1]).square().sum((-2, -1))


def stable(images: Tensor) -> Tensor:
    """Which samples of a recursion (steps + 1, N, 28, 28) stay, (N,): those whose drift is below the
    change of the first two steps, which is the error of reconstruction.

    Raises InvalidInputError as `drift`.
    """
    strayed = drift(images)
    return strayed < (images[2] - images[0]).square().sum((-2, -1))


def quartiles(changes: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Mean and quartiles over images of curves (steps, N), a row for each step of each curve."""
    rows = {
        (word, step + 1): [values.mean(), *np.quantile(values, [0.25, 0.5, 0.75])]
        for word, curve in changes.items()
        for step, values in enumerate(curve)
    }
    table = pd.DataFrame(rows, index=["mean", "lower quartile", "median", "upper quartile"]).T
    return table.rename_axis(["word", "step"])
