"""What a person sees in JupyterLab after Run All: what runs, the pictures, an error in its one line.

The first test starts a kernel alone. The other drives JupyterLab in chromium (`-m ui`), with
notebook 03 in smoke; it takes a minute or two, and is skipped where there is no browser.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import nbclient
import nbformat
import pytest
from tiny import write_notebook

from lavae_companion.data import home as data_home
from lavae_companion.paths import NOTEBOOKS
from lavae_companion.runner.environment import scrubbed

SCRIPT = "application/javascript"
CONTEXT = "jupyterapp?.shell.currentWidget?.sessionContext"
SECONDS = 600  # at most, for what a busy machine may take long for


@pytest.mark.filterwarnings("default")  # of a client that no run of ours uses
@pytest.mark.parametrize("variable", ["", "LAVAE_OUTPUT"])
def test_only_a_persons_notebook_has_scripts(sources, tmp_path, monkeypatch, variable):
    monkeypatch.delenv("LAVAE_OUTPUT", raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
    path = write_notebook(
        sources, "01_a", "import lavae_companion\nprint(1)", "raise ValueError(7)"
    )
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(notebook, kernel_name="python3", allow_errors=True)
    client.execute(env=scrubbed(os.environ))
    found = [SCRIPT in output.get("data", {}) for cell in notebook.cells for output in cell.outputs]
    # Of the import: script, text; of the failure: error, script.
    assert found == ([False, False] if variable else [True, False, False, True])


@pytest.fixture
def lab(tmp_path, mnist):
    """A copy of notebook 03 in the smoke profile, and a function that opens it in JupyterLab."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path / "home"
    home.mkdir()
    (home / "data").symlink_to(data_home().absolute() / "data")
    notebook = json.loads((NOTEBOOKS / "03_figure_03_flips.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"]).replace('"quick"', '"smoke"')
        cell |= {"outputs": []} if cell["cell_type"] == "code" else {}
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "03.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    own = {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
        "--ServerApp.port_retries=0", "--LabApp.expose_app_in_browser=True", "--IdentityProvider.token=",
        f"--ServerApp.root_dir={tmp_path / 'notebooks'}",
    ]  # fmt: skip
    with subprocess.Popen(
        command,
        env=scrubbed(os.environ) | own | {"LAVAE_HOME": str(home), "OMP_WAIT_POLICY": "PASSIVE"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            _wait_for(f"http://127.0.0.1:{port}/api", server)
            yield f"http://127.0.0.1:{port}/lab/tree/03.ipynb"
        finally:
            server.terminate()


def _wait_for(url: str, server: subprocess.Popen) -> None:
    end = time.monotonic() + SECONDS
    while server.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail("JupyterLab did not start")


@pytest.fixture
def page(browser, lab):
    opened = browser.new_page(viewport={"width": 1400, "height": 900})
    opened.set_default_timeout(1000 * SECONDS)
    opened.goto(lab)
    opened.locator(".jp-CodeCell").first.wait_for()
    # Until the page itself knows its kernel, Run All asks for one.
    opened.wait_for_function(f"{CONTEXT}?.session?.kernel?.status == 'idle' && {CONTEXT}.isReady")
    yield opened
    opened.close()


def run_all(page) -> None:
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def edit(page, old: str, new: str) -> None:
    """Replace a text in the parameter cell, which may be far above the view."""
    source = "jupyterapp.shell.currentWidget.content.widgets[1].model.sharedModel"
    text = page.evaluate(f"{source}.getSource()")
    assert old in text
    page.evaluate(f"(text) => {source}.setSource(text)", text.replace(old, new))


def finish(page) -> None:
    page.wait_for_function(
        "![...document.querySelectorAll('.jp-InputPrompt')].some((p) => p.textContent == '[*]:')"
    )


def visible(page, locator) -> bool:
    """Whether the middle of an element is in the view of the notebook."""
    box, view = locator.bounding_box(), page.locator(".jp-WindowedPanel-outer").bounding_box()
    middle = box["y"] + box["height"] / 2
    return view["y"] < middle < view["y"] + view["height"]


@pytest.mark.ui
def test_run_all_in_jupyterlab(page):
    run_all(page)
    note = page.locator(".lavae-running")
    note.wait_for()
    page.wait_for_function("/stage 1.*%/.test(document.querySelector('.lavae-running').innerText)")
    assert visible(page, note)
    finish(page)
    assert note.is_hidden()
    picture = page.locator(".jp-RenderedImage img").first
    first = picture.get_attribute("src")

    edit(page, "[2, 7, 4, 5, 0, 9, 3, 6]", "[1, 8]")
    run_all(page)
    page.wait_for_function(
        "(old) => document.querySelector('.jp-RenderedImage img')?.src.slice(0, 9999) != old",
        arg=first[:9999],
    )
    finish(page)

    for old, new in (("flip_lr,flip_ud", "flip_lr,flap"), ("[1, 8]", "[1, 88]")):
        edit(page, old, new)
        run_all(page)
        error = page.locator(".jp-OutputArea-output", has_text="InvalidInputError")
        error.wait_for()
        assert (
            new[-4:].strip(", ]") in error.inner_text() and "\n" not in error.inner_text().strip()
        )
        page.wait_for_function(
            "(node) => node.getBoundingClientRect().top > 60", arg=error.element_handle()
        )
        assert visible(page, error)
        finish(page)
        edit(page, new, old)
