"""Fixtures that several test modules share."""

import hypothesis
import pytest
import torch

# The same examples in every run, and none stored in the checkout.
hypothesis.settings.register_profile("same", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("same")


@pytest.fixture(autouse=True)
def same_weights_each_time():
    """Modules that a test makes without a seed start from the same weights in every run."""
    torch.manual_seed(0)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty LAVAE_HOME; no other setting of the user's environment reaches the test."""
    for name in ("LAVAE_DATA", "LAVAE_OUTPUT", "TQDM_DISABLE", "TQDM_MININTERVAL"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    monkeypatch.setenv("LAVAE_HOME", str(folder))
    return folder


@pytest.fixture
def cpu():
    """The CPU in fp32 with deterministic algorithms, as a Runtime."""
    from lavae_core import runtime

    return runtime.start("cpu", "fp32")


@pytest.fixture
def setting(home, cpu, monkeypatch):
    """A Setting whose training images are 16 of noise."""
    from made_up import uint8_images

    from lavae_companion import data
    from lavae_companion.experiments import Setting

    def load(split, dataset="mnist", limit=None):
        assert split == "train"
        return data.ImageSet(uint8_images(16)[:limit], torch.zeros(16)[:limit])

    monkeypatch.setattr(data, "load", load)
    return Setting(seed=0, runtime=cpu)


@pytest.fixture(scope="session")
def mnist():
    """A function that returns a split of the real MNIST, fetched where it is not there yet.

    Of session scope, so that it reads the user's own home and reads each split once.
    """
    from lavae_companion import data

    splits = {split: data.load(split) for split in ("train", "test")}
    return splits.__getitem__
