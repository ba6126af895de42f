"""Fixtures that several test modules share."""

import pytest


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty LAVAE_HOME; nothing of the user's environment reaches the test."""
    for name in ("PROFILE", "SEED", "DEVICE", "DATA", "PROGRESS_FILE", "USED_FILE"):
        monkeypatch.delenv(f"LAVAE_{name}", raising=False)
    folder = tmp_path / "home"
    monkeypatch.setenv("LAVAE_HOME", str(folder))
    return folder


@pytest.fixture
def cpu():
    """The CPU in fp32 with deterministic algorithms, as a Runtime."""
    from lavae_core import runtime

    return runtime.start("cpu", "fp32")
