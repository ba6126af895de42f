"""Fixtures of the tests of the runner."""

from pathlib import Path

import pytest


@pytest.fixture
def sources(tmp_path, home) -> Path:
    """The folder for the notebooks of a test, which has a LAVAE_HOME of its own."""
    return tmp_path / "notebooks"
