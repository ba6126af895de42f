"""Tiny notebooks for the tests of the runner: no kernel of theirs imports torch or matplotlib."""

from pathlib import Path

import nbformat

from lavae_companion.runner.run import Settings

PARAMETERS = 'profile: str = "quick"\nseed: int = 0\ndevice: str = "cpu"'
# A picture of one pixel.
SAVE_PICTURE = """
import base64, os, pathlib
pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
figures = pathlib.Path(os.environ["LAVAE_OUTPUT"])
figures.mkdir(exist_ok=True)
(figures / "figure_03.png").write_bytes(base64.b64decode(pixel + "awAAAABJRU5ErkJggg=="))
"""


def write_notebook(folder: Path, name: str, *cells: str, parameters: str = PARAMETERS) -> Path:
    """A notebook: a cell of parameters, then `cells`; those that begin with `# ` are markdown."""
    make = nbformat.v4
    made = [make.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    for cell in cells:
        made.append(
            make.new_markdown_cell(cell) if cell.startswith("# ") else make.new_code_cell(cell)
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ipynb"
    nbformat.write(make.new_notebook(cells=made), path)
    return path


def settings_of(sources: Path, profile: str = "smoke", **options) -> Settings:
    """Settings of a run of the notebooks in `sources`; their committed figures lie beside them."""
    return Settings(profile, notebooks=sources, committed=sources.with_name("figures"), **options)
