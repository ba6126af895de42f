"""A trained latent augmentation as one step of an ordinary torchvision.transforms.v2 pipeline."""

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from lavae_core.augmentations import require_images
from lavae_core.errors import InvalidInputError, require_known
from lavae_core.models import LAVAE, NATIVE


class LatentAugmentation(v2.Transform):
    """An augmentation made in the latent space (Section IV-C): encode, map by a word, decode.

        pipeline = v2.Compose([
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            LatentAugmentation(model, "L1 L2"),
        ])

    The posterior mean z of an image becomes z @ L1 @ L2 and is decoded: both augmentations, of
    which only the single ones were ever fitted. Inverses and powers are words too: "L1^-1", "L2^3".

    model: a trained LAVAE. word: letters of its maps, "" for the reconstruction. head: name of the
    decoder, the native one or a transfer head.

    Images are floats in [0, 1] of shape (1, 28, 28) or (N, 1, 28, 28), plain tensors or
    tv_tensors.Image, and keep shape, dtype, device and kind; gradients do not flow through. Other
    entries of a sample, such as its label, pass untouched. Raises InvalidInputError for a word or a
    head that the model does not have (at construction) and for other images.
    """

    def __init__(self, model: LAVAE, word: str, head: str = NATIVE):
        super().__init__()
        if not isinstance(model, LAVAE):
            raise InvalidInputError(f"model must be a LAVAE, got {type(model).__name__}")
        require_known("decoder head", head, model.decoders.keys())
        model.maps.require_fitted(word)
        model.maps.matrix(word)  # refuses unknown letters and inverses that do not exist
        self.model, self.word, self.head = model, word, head

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Called by v2.Transform for the image of a sample."""
        single = isinstance(inpt, Tensor) and inpt.dim() == 3
        batch = inpt[None] if single else inpt
        require_images(batch)
        with torch.no_grad():
            x = batch.as_subclass(Tensor).to(self.model.maps.matrices)
            result = self.model.augment(x, self.word, self.head).to(batch)
        result = result[0] if single else result
        return tv_tensors.wrap(result, like=inpt) if isinstance(inpt, tv_tensors.Image) else result
