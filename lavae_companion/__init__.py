"""The companion: what the paper measured, and how it is told."""

from lavae_core import threads as threads  # first: it is to be there before torch
