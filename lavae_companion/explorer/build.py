"""Write the explorer: models, test images, scripts and style in one page that needs no network."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment
from torch import Tensor

from lavae_companion.data import ImageSet
from lavae_companion.figures.style import variant_styles
from lavae_companion.weights import halved
from lavae_core import augmentations
from lavae_core.augmentations import SIDE, Family
from lavae_core.errors import InvalidInputError
from lavae_core.models import LAVAE, encode_variants

PICKED = 3  # test images of each label that a reader can choose
N_FITTED, N_MAPPED = 500, 100  # test images that give the map its axes, and of them the marks
SCRIPTS = ("network.js", "words.js", "drawing.js", "stations.js", "views.js", "explorer.js")
USED = ("encoder.conv", "encoder.to_mu", "decoders.native", "maps")


def build(models: Mapping[Family, LAVAE], test: ImageSet, path: Path, source: str) -> None:
    """Write the page of these trained models to `path`, their networks in half precision.

    test: images to choose from and for the map of the latent space. source: says where the models
    are from. Raises InvalidInputError for a family whose augmentations do more than move pixels.
    """
    content = {
        "models": [_model(family, model, test.images) for family, model in models.items()],
        "images": [_image(test, index) for index in _picks(test.labels)],
    }
    page = Environment(autoescape=True).from_string(_read("template.html"))
    text = page.render(
        content=json.dumps(content),
        scripts="\n".join(_read(name) for name in SCRIPTS),
        style=_read("explorer.css"),
        source=source,
        n_mapped=N_MAPPED,
    )
    path.write_text(text, encoding="utf-8")


def moved_from(name: str) -> np.ndarray:
    """uint16 (784,): the pixel of an image that each pixel of its augmentation is taken from.

    Raises InvalidInputError for an augmentation that does more than move pixels.
    """
    places = torch.arange(SIDE * SIDE)
    probe = torch.stack([places // SIDE, places % SIDE, places * 7919 % 251])
    probe = probe.to(torch.uint8).view(3, SIDE, SIDE)
    rows, columns, noise = augmentations.apply(name, probe).flatten(1).long()
    source = SIDE * rows + columns
    if not torch.equal(source.sort().values, places) or not torch.equal(
        noise, probe[2].flatten()[source].long()
    ):
        raise InvalidInputError(
            f"the explorer shows augmentations that only move pixels, such as flips and quarter "
            f"turns; {name!r} is none"
        )
    return source.numpy().astype(np.uint16)


def _model(family: Family, model: LAVAE, images: Tensor) -> dict[str, Any]:
    variants = augmentations.variants(images[:N_FITTED], family, split="test", seed=0)
    latents = encode_variants(model.cpu(), variants)[0].double()  # (V, N, 16)
    centre, styles = latents.mean((0, 1)).tolist(), variant_styles(family.variants)
    axes = {"discriminants": discriminants(latents), "components": components(latents)}
    return {
        "family": str(family),
        "generators": family.generators,
        "orders": family.orders,
        "sources": [_packed(moved_from(name)) for name in family.generators],
        "tensors": {
            name: _packed(weight.numpy())
            for name, weight in halved(model).items() if name.startswith(USED)
        },
        "maps": {name: {"centre": centre, "axes": each.tolist()} for name, each in axes.items()},
        "regions": [
            dict(name=name, word=word, colour=styles[name][0], marker=styles[name][1],
                 latents=_packed(part[:N_MAPPED].half().numpy()))
            for (name, word), part in zip(family.latent_words.items(), latents, strict=True)
        ],
    }  # fmt: skip


def components(latents: Tensor) -> Tensor:
    """The first two principal axes (2, d) of latents (V, N, d)."""
    points = latents.flatten(0, 1)
    return torch.linalg.svd(points - points.mean(0), full_matrices=False).Vh[:2]


def discriminants(latents: Tensor) -> Tensor:
    """The two axes (2, d) that separate the variants of latents (V, N, d) best (Fisher).

    The last variant is on the positive side of both, seen from the first.
    """
    means = latents.mean(1)
    within = torch.cov((latents - means[:, None]).flatten(0, 1).T)
    ridge = 1e-6 * within.trace() * torch.eye(len(within)).to(within)  # few images span few axes
    whitening = torch.linalg.inv(torch.linalg.cholesky(within + ridge))
    axes = torch.linalg.svd((means - means.mean(0)) @ whitening.T).Vh[:2] @ whitening
    return axes * torch.sign(axes @ (means[-1] - means[0]))[:, None]


def _picks(labels: Tensor) -> list[int]:
    return [
        index
        for label in torch.unique(labels)
        for index in (labels == label).nonzero().flatten()[:PICKED].tolist()
    ]


def _image(test: ImageSet, index: int) -> dict[str, Any]:
    return {"label": int(test.labels[index]), **_packed(test.images[index].numpy())}


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _packed(array: np.ndarray) -> dict[str, str]:
    data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    return {"dtype": str(array.dtype), "data": base64.b64encode(data).decode("ascii")}
