"""Saving and loading of models: safetensors and a config.json, as on the Hugging Face hub."""

import contextlib
import io
import warnings
from pathlib import Path

from safetensors import SafetensorError
from tqdm import TqdmWarning

from lavae_core.errors import StoreError

with warnings.catch_warnings():  # in a notebook without ipywidgets it warns about its own bars
    warnings.simplefilter("ignore", TqdmWarning)
    from huggingface_hub import PyTorchModelHubMixin


class Pretrained(PyTorchModelHubMixin):
    """`save_pretrained(folder)` and `from_pretrained(folder)`, strict: every weight must fit."""

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options):
        """The model in `folder`; StoreError if there is none, or one of another class or shape.

        `folder` is a folder of this machine: the hub is never asked.
        """
        if not Path(folder).is_dir():
            raise StoreError(f"{folder} holds no {cls.__name__}: there is no such folder")
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints that it loads
                return super().from_pretrained(folder, **options)
        except (OSError, ValueError, TypeError, AttributeError, RuntimeError,
                SafetensorError) as error:  # fmt: skip
            reason = " ".join(str(error).split())[:120]
            raise StoreError(f"{folder} holds no {cls.__name__} of this shape: {reason}") from error

    @classmethod
    def _from_pretrained(cls, **options):
        return super()._from_pretrained(**options | {"strict": True})
