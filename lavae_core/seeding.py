"""Explicit randomness: every random number belongs to a named stream of the seed."""

import hashlib

import torch


def stream(*words: object) -> int:
    """A 63-bit seed for the stream that `words` name, equal on every machine and in every process."""
    digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(device: torch.device | str, *words: object) -> torch.Generator:
    """A torch.Generator on `device` at the start of the stream that `words` name."""
    return torch.Generator(device=device).manual_seed(stream(*words))
