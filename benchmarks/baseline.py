"""The baseline of the benchmarks: a straightforward PyTorch implementation of the paper's training.

It runs in fp32 and contiguous memory, with a Dataset that augments image by image, a DataLoader, the
first transposed convolution on every latent, a sigmoid before the cross-entropy, and an optimizer
that steps tensor by tensor. Stages 2 and 3 encode every batch again. Networks, losses and the batch
of 64 are those of lavae_core. It is written for this comparison and used for nothing else.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from adabelief_pytorch import AdaBelief
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as tv

LATENT_DIM = 16
LR = 1e-3
FLIPS = (lambda x: x, tv.horizontal_flip, tv.vertical_flip,
         lambda x: tv.vertical_flip(tv.horizontal_flip(x)))  # fmt: skip


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 64, 4, 2, 1), nn.ReLU(), nn.Conv2d(64, 128, 4, 2, 1), nn.ReLU(),
            nn.Flatten(),
        )  # fmt: skip
        self.mu, self.logvar = nn.Linear(6272, LATENT_DIM), nn.Linear(6272, LATENT_DIM)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(x)
        return self.mu(features), self.logvar(features)


def decoder() -> nn.Module:
    return nn.Sequential(
        nn.Linear(LATENT_DIM, 6272), nn.Unflatten(1, (128, 7, 7)),
        nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(64, 1, 4, 2, 1),
        nn.Sigmoid(),
    )  # fmt: skip


class Variants(Dataset):
    """An item is an original with its three variants if `whole`, else a single one of the four."""

    def __init__(self, images: Tensor, whole: bool):
        self.images, self.whole = images, whole

    def __len__(self) -> int:
        return len(self.images) * (1 if self.whole else 4)

    def __getitem__(self, index: int) -> Tensor:
        if self.whole:
            image = self.images[index][None]
            return torch.stack([tv.to_dtype(flip(image), torch.float32, True) for flip in FLIPS])
        place, variant = divmod(index, 4)
        return tv.to_dtype(FLIPS[variant](self.images[place][None]), torch.float32, True)


def optimizer(module: nn.Module) -> AdaBelief:
    return AdaBelief(
        module.parameters(), lr=LR, eps=1e-16, betas=(0.9, 0.999), weight_decouple=False,
        rectify=False, print_change_log=False,
    )  # fmt: skip


def sample(mu: Tensor, logvar: Tensor) -> Tensor:
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)


def stage1(images: Tensor) -> Iterator[float]:
    """Steps of 64 images; each yields its loss."""
    encoder, decode = Encoder(), decoder()
    optimize = optimizer(nn.ModuleList([encoder, decode]))
    for x in DataLoader(Variants(images, whole=False), batch_size=64, shuffle=True):
        optimize.zero_grad()
        mu, logvar = encoder(x)
        loss = F.binary_cross_entropy(decode(sample(mu, logvar)), x, reduction="sum")
        loss = loss - 0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum()
        loss.backward()
        optimize.step()
        yield loss.item()


def stage2(images: Tensor) -> Iterator[float]:
    """Steps of 64 originals with their variants, encoded in each step; each yields its loss."""
    encoder = Encoder().requires_grad_(False)
    maps = nn.ModuleList(nn.Linear(LATENT_DIM, LATENT_DIM, bias=False) for _ in range(2))
    optimize, identity = optimizer(maps), torch.eye(LATENT_DIM)
    for x in DataLoader(Variants(images, whole=True), batch_size=64, shuffle=True):
        optimize.zero_grad()
        z, first, second = (sample(*encoder(x[:, variant])) for variant in range(3))
        loss = F.mse_loss(maps[0](z), first) + F.mse_loss(maps[1](z), second)
        for latent_map in maps:
            loss = loss + (identity - latent_map.weight @ latent_map.weight).pow(2).sum()
        loss.backward()
        optimize.step()
        yield loss.item()


def stage3(images: Tensor) -> Iterator[float]:
    """Steps of 64 originals decoded into their four variants; each yields its loss."""
    encoder, decode = Encoder().requires_grad_(False), decoder()
    first, second = (nn.Linear(LATENT_DIM, LATENT_DIM, bias=False) for _ in range(2))
    optimize = optimizer(decode)
    for x in DataLoader(Variants(images, whole=True), batch_size=64, shuffle=True):
        optimize.zero_grad()
        with torch.no_grad():
            mu, _ = encoder(x[:, 0])
            latents = mu, first(mu), second(mu), second(first(mu))
        loss = sum(
            F.binary_cross_entropy(decode(z), x[:, variant], reduction="sum")
            for variant, z in enumerate(latents)
        )
        loss.backward()
        optimize.step()
        yield loss.item()


@torch.no_grad()
def evaluation(images: Tensor) -> Iterator[float]:
    """Batches of 64 originals, each variant encoded from the original and decoded; yields a BCE."""
    encoder, decode = Encoder(), decoder()
    maps = [nn.Linear(LATENT_DIM, LATENT_DIM, bias=False) for _ in range(2)]
    words = ([], maps[:1], maps[1:], maps)
    for x in DataLoader(Variants(images, whole=True), batch_size=64):
        total = 0.0
        for variant, word in enumerate(words):
            z, _ = encoder(x[:, 0])
            for latent_map in word:
                z = latent_map(z)
            total += F.binary_cross_entropy(decode(z), x[:, variant], reduction="sum").item()
        yield total


@torch.no_grad()
def word(latents: Tensor) -> Tensor:
    """Latents (N, 16) through three maps, layer after layer, in batches of 64."""
    maps = [nn.Linear(LATENT_DIM, LATENT_DIM, bias=False) for _ in range(3)]
    mapped = []
    for z in latents.split(64):
        for latent_map in maps:
            z = latent_map(z)
        mapped.append(z)
    return torch.cat(mapped)
