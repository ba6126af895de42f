"""LAVAE: linear maps in the latent space of a VAE that act as image augmentations.

A family of augmentations fills the latent space (stage 1), linear maps are fitted to it (stage 2),
and a new decoder head transfers the maps to another family (stage 3).
"""

from lavae_core import threads  # first: it is to be there before torch
from lavae_core.augmentations import AUGMENTATIONS, Family, augmentation, to_float, variants
from lavae_core.errors import LavaeError
from lavae_core.latent_maps import LatentMaps, Moments, fit_exact, inverse_word
from lavae_core.models import LAVAE, Decoder, Encoder, encode
from lavae_core.training import Schedule, train

__version__ = "2.0.0"
__all__ = [
    "AUGMENTATIONS", "LAVAE", "Decoder", "Encoder", "Family", "LatentMaps", "LavaeError", "Moments",
    "Schedule", "augmentation", "encode", "fit_exact", "inverse_word", "threads", "to_float", "train", "variants",
]  # fmt: skip
