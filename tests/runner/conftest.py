"""Fixtures of the tests of the runner."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def sources(tmp_path, home) -> Path:
    """The folder for the notebooks of a test, which has a LAVAE_HOME of its own."""
    return tmp_path / "notebooks"


@pytest.fixture(scope="module")
def browser():
    """A headless chromium; a test that asks for it is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    programs = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    if not any(programs):
        pytest.skip("chromium is not installed")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=next(filter(None, programs)), args=["--no-sandbox"]
        )
        yield opened
        opened.close()
