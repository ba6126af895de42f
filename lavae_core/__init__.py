"""Composable latent-space augmentations (LAVAE): the method, its training and its evaluation."""

__version__ = "1.0.0"
