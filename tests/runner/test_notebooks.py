"""What is read of a notebook without running it; and of the committed ones, that it is as it must be."""

import json
import re
from pathlib import Path

import pytest
import torch
from edited import EDITS, faults_of
from made_up import uint8_images
from tiny import write_notebook

from lavae_companion import data, store
from lavae_companion.runner import cli
from lavae_companion.runner.notebooks import Notebook, choose, discover, of_items
from lavae_companion.runner.run import Settings
from lavae_core.errors import InvalidInputError, LavaeError


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("07_figure_07_transfer_heatmap", "figure_07"),
        ("12_table_01_reconstruction", "table_01"),
        ("13_appendix_d_more_pairs", "appendix_d"),
        ("17_claim_non_linear_maps", "claim_non_linear_maps"),
        ("03_figure_03", "figure_03"),
    ],
)
def test_output_stem(name, stem):
    assert Notebook(Path(f"{name}.ipynb")).output_stem == stem


def test_notebooks_are_sorted_and_chosen_by_number(tmp_path):
    for name in ("02_b", "01_a"):
        write_notebook(tmp_path, name, f"# Title of {name}")
    notebooks = discover(tmp_path)
    assert [n.title() for n in notebooks] == ["Title of 01_a", "Title of 02_b"]
    assert choose(notebooks, ["2"]) == notebooks[1:]
    assert choose(notebooks, []) == notebooks
    with pytest.raises(InvalidInputError, match="09"):
        choose(notebooks, ["9"])
    write_notebook(tmp_path, "02_c")
    with pytest.raises(LavaeError, match="02_b.*02_c"):
        discover(tmp_path)


@pytest.mark.parametrize(
    ("asked", "stems"),
    [
        (["7"], ["figure_07"]),
        (["07", "figure 10"], ["figure_07", "figure_10"]),
        (["Figure_1"], ["figure_01"]),
        (["fig. 11", "Fig3"], ["figure_03", "figure_11"]),
        (["table"], ["table_01"]),
        (["Table 1", "table_01"], ["table_01"]),
        ([], []),
    ],
)
def test_the_papers_items_are_chosen_as_people_write_them(asked, stems):
    assert [notebook.output_stem for notebook in of_items(discover(), asked)] == stems


@pytest.mark.parametrize("asked", ["12", "", "table 2", "heatmap", "7a"])
def test_items_that_the_paper_does_not_have(asked):
    with pytest.raises(InvalidInputError, match="'" + asked):
        of_items(discover(), [asked])


def test_a_folder_without_notebooks(tmp_path):
    with pytest.raises(LavaeError, match=tmp_path.name):
        discover(tmp_path)


def test_parameters_are_read_as_literals(tmp_path):
    """Those that papermill's own inspection reads wrongly among them."""
    cell = (
        'pairs: list = [  # two\n    "a # b,c",\n    "d,e",\n]\n'
        'name: str | None = "x # y"  # a comment\nseeds: list = [0, 1]'
    )
    path = write_notebook(tmp_path, "01_a", parameters=cell)
    expected = {"pairs": ["a # b,c", "d,e"], "name": "x # y", "seeds": [0, 1]}
    assert Notebook(path).parameters() == expected


@pytest.mark.parametrize(
    ("cell", "named"),
    [
        ("seed: int", "seed: int"),
        ("seed = 0", "seed = 0"),
        ("seed: int = int(0)", r"int\(0\)"),
        ("import os", "import os"),
        ("seed: int =", "syntax"),
        ('profile: str = "quick"\nseed: int = 0', "device"),
        ('profile: str = "quick"\ndevice: str = "cpu"', "seed"),
        ('device: str = "cpu"\nseeds: list = [0]', "profile"),
    ],
)
def test_a_parameter_cell_without_a_literal_is_refused(tmp_path, cell, named):
    notebook = Notebook(write_notebook(tmp_path, "01_a", parameters=cell))
    with pytest.raises(LavaeError, match=f"01_a.*{named}|{named}.*01_a") as caught:
        Settings().parameters(notebook)
    assert "\n" not in str(caught.value)


def test_a_notebook_has_one_parameter_cell(tmp_path):
    path = write_notebook(tmp_path, "01_a")
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"cells": content["cells"] * 2}))
    with pytest.raises(LavaeError, match="01_a has 2 cells"):
        Notebook(path).parameters()


def test_a_copy_without_notebooks_says_what_to_do(tmp_path):
    with pytest.raises(LavaeError, match="pip install -e"):
        discover(tmp_path / "notebooks")


@pytest.mark.parametrize("text", ["{", "[]", '{"worksheets": []}'])
def test_a_file_that_is_no_notebook(tmp_path, text):
    (tmp_path / "01_a.ipynb").write_text(text)
    with pytest.raises(LavaeError, match="01_a.ipynb"):
        discover(tmp_path)[0].title()


# -- the committed notebooks ---------------------------------------------------------------------


@pytest.mark.parametrize("notebook", discover(), ids=lambda notebook: notebook.name)
def test_nbval_compares_every_cell_but_parameters_and_imports(notebook):
    first, second, *others = [cell for cell in notebook.cells() if cell["cell_type"] == "code"]
    assert first["metadata"]["tags"] == ["parameters"]
    assert re.search(r"study = (Study|measurements.study_of)\(", "".join(second["source"]))
    assert all(cell["metadata"].get("tags") == ["nbval-check-output"] for cell in others)
    assert EDITS[notebook.number].keys() <= notebook.parameters().keys()


SETS = data.home().absolute() / "data"
# A wrong value of every parameter that not all notebooks have.
WRONG = {
    "pair": "flip_lr,flap", "trained": "flip_lr,flap", "evaluated": "flip_lr,flap",
    "to_itself": "flip_lr,flap", "detail": "flip_lr,flap", "hard": "flip_lr,flap",
    "pairs": ["flip_lr,flip_ud", "flip_lr,flap"], "digit": 88, "digits": [2, 88], "ends": [2, 88],
    "steps": 1, "word": "L1 L7", "methods": ["PCA", "MDS"], "coverage": 1.5, "widths": [8, -8],
    "n_images": -8, "n_pairs": 1, "latent_dim": -8, "n_maps": -8, "n_conditions": -8,
    "separability": "forest", "seeds": [0, -8], "weights": [0.3, -8],
    "every": -8, "lengths": [1, -8], "n_words": -8, "left_out": [88], "n_labels": [1, -8],
    "draws": -8, "generators": "flip_lr,flap", "more_generators": "flip_lr,flap",
    "length": -8, "learned_only": ["flip_lr,flap"],
    "n_angles": -8, "most": -8, "dims": [0, -8],
    "bodies": ["slab", "flap"], "datasets": ["mnist", "flap"],
}  # fmt: skip
COMMON = {"profile", "seed", "device", "dataset"}
EDITED = [(each, name) for each in discover() for name in each.parameters().keys() - COMMON]


@pytest.mark.parametrize(
    ("notebook", "name"), sorted(EDITED, key=str), ids=lambda each: getattr(each, "number", each)
)
def test_a_wrong_parameter_is_refused_before_anything_trains(notebook, name, home, monkeypatch):
    def trained(*_):
        pytest.fail(f"{name} is checked too late")

    test_set = data.ImageSet(uint8_images(60), torch.arange(60) % 10)
    monkeypatch.setattr(data, "load", lambda split, **_: test_set)
    monkeypatch.setattr(store, "get_or_make", trained)
    variables = {}
    named = re.findall("flap|88|-8|L7|MDS|forest|1.5|1", str(WRONG[name]))[-1]
    with pytest.raises(InvalidInputError, match=named):
        for cell in notebook.cells():
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), variables)
                if "parameters" in cell["metadata"].get("tags", []):
                    variables[name] = WRONG[name]


def test_a_default_run_is_at_the_committed_values():
    notebooks = discover()
    assert not any(Settings().parameters(notebook) for notebook in notebooks)
    judging = {each.output_stem for each in notebooks if Settings(seeds=(0, 1)).parameters(each)}
    assert judging == {*cli.JUDGING, *cli.VERDICTS}


@pytest.mark.parametrize("notebook", discover(), ids=lambda notebook: notebook.name)
def test_every_link_of_a_notebook_leads_to_a_file(notebook):
    texts = ["".join(c["source"]) for c in notebook.cells() if c["cell_type"] == "markdown"]
    links = re.findall(r"\]\(([^)\s]+)\)", "\n".join(texts))
    local = [link for link in links if not link.startswith(("https://", "../figures/"))]
    assert [link for link in local if not (notebook.path.parent / link).exists()] == []


# Of the others, which train: python tests/runner/edited.py
@pytest.mark.filterwarnings("default")  # of the user's clients, not of ours
@pytest.mark.parametrize("number", ["01", "02", "11"])
def test_an_edited_notebook_changes_nothing_that_is_published(number, mnist, home, monkeypatch):
    home.mkdir()
    (home / "data").symlink_to(SETS)
    monkeypatch.delenv("LAVAE_OUTPUT", raising=False)
    (notebook,) = choose(discover(), [number])
    assert faults_of(notebook, EDITS[number] | {"profile": "smoke"}) == []
    assert list((home / "play").glob(f"{notebook.output_stem}*.png"))
