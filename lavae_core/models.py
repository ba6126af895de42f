"""The networks (Appendix C): encoder, decoder, LAVAE with its decoder heads and latent maps.

They know no loss and no optimizer. Images are (N, 1, 28, 28) floats in [0, 1]; decoders return
logits of that shape, so that the sigmoid belongs to the loss or to the picture.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavae_core.augmentations import Family, require_images, to_float
from lavae_core.errors import require_known, require_whole
from lavae_core.latent_maps import LatentMaps
from lavae_core.pretrained import Pretrained, read_shipped, shipped_list

LATENT_DIM = 16
FEATURES = 128 * 7 * 7
NATIVE = "native"  # the head that was trained together with the encoder
CHUNK = 500  # images that are encoded at a time outside of training


class Encoder(nn.Module):
    """q(z | x): two strided convolutions and two linear layers (333,024 parameters).

    n_conditions > 0 appends a one-hot of that length to the 6,272 features (CVAE).
    """

    def __init__(self, latent_dim: int = LATENT_DIM, n_conditions: int = 0):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, kernel_size=4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(64, 128, kernel_size=4, stride=2, padding=1)
        self.to_mu = nn.Linear(FEATURES + n_conditions, latent_dim)
        self.to_logvar = nn.Linear(FEATURES + n_conditions, latent_dim)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images (N, 1, 28, 28) to mu and log-variance, each (N, 16)."""
        features = self.features(x)
        if condition is not None:
            features = torch.cat([features, condition], dim=1)
        return self.to_mu(features), self.to_logvar(features)

    def features(self, x: Tensor) -> Tensor:
        """Images (N, 1, 28, 28) to the features (N, 6272) that both linear layers see."""
        x = x.contiguous(memory_format=torch.channels_last)
        hidden = F.relu(self.conv1(x), inplace=True)  # (N, 64, 14, 14)
        return F.relu(self.conv2(hidden), inplace=True).flatten(1)


class Decoder(nn.Module):
    """p(x | z): a linear layer and two transposed convolutions (238,785 parameters).

    `layer_by_layer` is the definition. `forward` computes the same function in less time.
    """

    def __init__(self, latent_dim: int = LATENT_DIM, n_conditions: int = 0):
        super().__init__()
        self.from_z = nn.Linear(latent_dim + n_conditions, FEATURES)
        self.deconv1 = nn.ConvTranspose2d(128, 64, kernel_size=4, stride=2, padding=1)
        self.deconv2 = nn.ConvTranspose2d(64, 1, kernel_size=4, stride=2, padding=1)
        self._known: tuple[list[Tensor], Tensor] | None = None  # weights, and their affine map

    def layer_by_layer(self, z: Tensor) -> Tensor:
        """Latents (N, 16), conditions appended, to logits (N, 1, 28, 28)."""
        features = self.from_z(z).view(-1, 128, 7, 7)
        hidden = F.relu(self.deconv1(features))  # (N, 64, 14, 14)
        return self.deconv2(hidden)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Latents (N, 16) [and conditions (N, n_conditions)] to logits (N, 1, 28, 28).

        No non-linearity stands between `from_z` and `deconv1`, so both are one affine map of z, computed
        once a call (of frozen weights, once) instead of a convolution for every z: a quarter of the
        work for a batch of 64. `deconv2` has a single channel, for which libraries are slow: it is a
        product with the 16 weights of its window, and a sum of windows.
        """
        if condition is not None:
            z = torch.cat([z, condition], dim=1)
        hidden = F.pad(z, (0, 1), value=1.0) @ self._affine_map()
        hidden = F.relu(hidden, inplace=True)  # (N, 12544)
        windows = hidden.view(-1, 64) @ self.deconv2.weight.view(64, 16)  # (N * 196, 16)
        windows = windows.view(-1, 14 * 14, 16).transpose(1, 2)
        return F.fold(windows, (28, 28), 4, padding=1, stride=2) + self.deconv2.bias

    def _affine_map(self) -> Tensor:
        """`_affine()`, kept while the weights are frozen and have the same values. A comparison of
        values takes a twentieth of its time, and sees every way in which weights can change."""
        weights = [self.from_z.weight, self.from_z.bias, self.deconv1.weight, self.deconv1.bias]
        trains = torch.is_grad_enabled() and any(weight.requires_grad for weight in weights)
        if trains or torch.is_autocast_enabled(weights[0].device.type):
            return self._affine()
        if self._known is None or not all(map(_same, weights, self._known[0])):
            with torch.inference_mode(False), torch.no_grad():  # it may stand in a graph later
                self._known = [weight.clone() for weight in weights], self._affine()
        return self._known[1]

    def _affine(self) -> Tensor:
        """(17, 12544): the columns of the affine map and its offset, channels last."""
        images = torch.cat([self.from_z.weight.t(), self.from_z.bias[None]]).view(-1, 128, 7, 7)
        basis = F.conv_transpose2d(images, self.deconv1.weight, stride=2, padding=1)
        bias = F.pad(self.deconv1.bias[None].to(basis), (0, 0, len(basis) - 1, 0))  # offset only
        return (basis.permute(0, 2, 3, 1) + bias[:, None, None]).flatten(1)


def _same(one: Tensor, other: Tensor) -> bool:
    return (one.dtype, one.device) == (other.dtype, other.device) and torch.equal(one, other)


class LAVAE(nn.Module, Pretrained):
    """Latent Augmentation VAE (Section IV): an encoder, decoder heads and linear latent maps.

    heads: names of the decoders, the native one first; every further one is a transfer head
    (Section IV-B, stage 3). n_maps: number of latent maps L1, L2, ...
    """

    def __init__(
        self, latent_dim: int = LATENT_DIM, n_maps: int = 2, heads: tuple[str, ...] = (NATIVE,)
    ):
        super().__init__()
        require_whole("latent_dim", latent_dim, 1)
        require_whole("n_maps", n_maps, 0)
        self.encoder = Encoder(latent_dim)
        self.decoders = nn.ModuleDict({head: Decoder(latent_dim) for head in heads})
        self.maps = LatentMaps(n_maps, latent_dim)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, 1, 28, 28) in [0, 1] to mu and log-variance, each (N, 16)."""
        return self.encoder(x)

    def decode(self, z: Tensor, head: str = NATIVE) -> Tensor:
        """Latents (N, 16) to logits (N, 1, 28, 28) by the named decoder head."""
        require_known("decoder head", head, self.decoders.keys())
        return self.decoders[head](z)

    def augment(self, x: Tensor, word: str, head: str = NATIVE) -> Tensor:
        """Images to images: the posterior mean mapped by `word` ("L1 L2", "L2^-1") and decoded.

        x and result: (N, 1, 28, 28) floats in [0, 1]. Raises InvalidInputError for other input, and
        for a word of maps that were never fitted.
        """
        require_images(x)
        self.maps.require_fitted(word)
        mu, _ = self.encode(x)
        return torch.sigmoid(self.decode(self.maps(mu, word), head))

    def with_head(self, head: str, decoder: Decoder) -> "LAVAE":
        """A copy of this model that has `decoder` as a further head."""
        latent_dim, n_maps = self.maps.matrices.shape[-1], len(self.maps.matrices)
        model = LAVAE(latent_dim, n_maps, (*self.decoders.keys(), head))
        weights = {f"decoders.{head}.{name}": w for name, w in decoder.state_dict().items()}
        model.load_state_dict(self.state_dict() | weights)
        model.about = self.about
        return model

    @classmethod
    def shipped(cls, family: Family | str) -> "LAVAE":
        """The trained model of a family that comes with the checkout, such as "flip_lr,flip_ud".

        It is in fp32, in eval mode and without gradients; its networks were rounded to half
        precision. Raises InvalidInputError for a family that is not shipped, StoreError where the
        weights are missing or damaged.
        """
        names, key = shipped_list()["families"], str(Family.parse(family))
        require_known("family of the shipped weights", key, names)
        config, weights = read_shipped(names[key])
        model = cls(n_maps=config["n_maps"])
        model.load_state_dict(weights)
        model.about = config["about"]
        return model.eval().requires_grad_(False)


@torch.no_grad()
def encode(model: LAVAE, images: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 images (N, 28, 28) to mu and log-variance, each (N, 16), in fp32."""
    parts = [model.encode(to_float(part)) for part in images.split(CHUNK)]
    return torch.cat([mu for mu, _ in parts]), torch.cat([logvar for _, logvar in parts])


def encode_variants(model: LAVAE, images: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 images (V, N, 28, 28) to mu and log-variance, each (V, N, 16), in fp32."""
    mu, logvar = encode(model, images.flatten(0, 1))
    return mu.unflatten(0, images.shape[:2]), logvar.unflatten(0, images.shape[:2])
