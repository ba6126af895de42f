"""Saving and loading of models: safetensors and a config.json, as on the Hugging Face hub."""

import contextlib
import hashlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor
from tqdm import TqdmWarning

from lavae_core.errors import StoreError

with warnings.catch_warnings():  # in a notebook without ipywidgets it warns about its own bars
    warnings.simplefilter("ignore", TqdmWarning)
    from huggingface_hub import ModelCard, PyTorchModelHubMixin

SHIPPED = Path(__file__).resolve().parents[1] / "weights"  # comes with the checkout
SHIPPED_LIST = "weights.json"  # of its files: configuration, hash, scores; their provenance

CARD = """---
library_name: lavae_core
---
# {kind}

    from {module} import {kind}
    model = {kind}.from_pretrained(FOLDER)  # for inference: eval mode, no gradients

`model.about` and `config.json` say what it was trained on:

{about}
"""


class Pretrained(PyTorchModelHubMixin):
    """Models that are saved to a folder and loaded from one, strictly: every weight must fit.

    about: what the model was trained on, as JSON; kept in config.json.
    """

    about: dict[str, Any] = {}

    def save_pretrained(self, folder: str | Path, about: dict[str, Any] | None = None) -> None:
        """Write weights, config.json and a README.md; `about` replaces the model's."""
        self.about = self.about if about is None else about
        super().save_pretrained(folder, config=self._hub_mixin_config | {"about": self.about})

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options):
        """The model in `folder`, for inference: in eval mode, without gradients.

        `folder` is a folder of this machine: the hub is never asked. Raises StoreError if it holds
        no model, or one of another class or shape.
        """
        if not Path(folder).is_dir():
            raise StoreError(f"{folder} holds no {cls.__name__}: there is no such folder")
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints that it loads
                model = super().from_pretrained(folder, **options)
            model.about = json.loads(Path(folder, "config.json").read_text()).get("about", {})
        except (OSError, ValueError, TypeError, AttributeError, RuntimeError,
                SafetensorError) as error:  # fmt: skip
            reason = " ".join(str(error).split())[:120]
            raise StoreError(f"{folder} holds no {cls.__name__} of this shape: {reason}") from error
        return model.eval().requires_grad_(False)

    @classmethod
    def _from_pretrained(cls, **options):
        return super()._from_pretrained(**options | {"strict": True})

    def generate_model_card(self, **options) -> ModelCard:
        about = "\n".join(f"* {name}: {value}" for name, value in self.about.items())
        kind = type(self)
        return ModelCard(CARD.format(module=kind.__module__, kind=kind.__name__, about=about))


def shipped_list() -> dict[str, Any]:
    """The list of the weights that come with the checkout. Raises StoreError where there is none."""
    return json.loads(_read(SHIPPED_LIST))


def read_shipped(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and weights of one of the models in `shipped_list()`; they are half precision.

    Raises StoreError where its file, or that of a model with which it shares weights, is damaged.
    """
    entry = shipped_list()["models"][name]
    content = _read(entry["file"])
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise StoreError(f"weights/{entry['file']} is damaged; restore it with git")
    shared = read_shipped(entry["shares"])[1] if entry["shares"] else {}
    return entry["config"], shared | safetensors.torch.load(content)


def _read(file: str) -> bytes:
    try:
        return (SHIPPED / file).read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read weights/{file} of the checkout: {error.strerror}") from error
