"""What an executed notebook keeps on its way to git."""

import nbformat
import pytest

from lavae_companion.paths import CHECKOUT
from lavae_companion.runner.normalise import normalised
from lavae_core.errors import LavaeError

new = nbformat.v4


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return nbformat.reads(normalised(notebook, "07_a"), as_version=4)


def with_outputs(*outputs: nbformat.NotebookNode, **metadata) -> nbformat.NotebookNode:
    cell = new.new_code_cell("x", metadata=metadata, execution_count=9, outputs=list(outputs))
    return new.new_notebook(cells=[new.new_markdown_cell("# A"), cell])


def stream(text: str, name: str = "stdout") -> nbformat.NotebookNode:
    return new.new_output("stream", text=text, name=name)


def test_results_stay_and_the_rest_goes():
    slider = {"application/vnd.jupyter.widget-view+json": {"model_id": "1f"}, "text/plain": "x"}
    notebook = with_outputs(
        stream("a\n"),
        stream("\rstage 1: 40%", "stderr"),
        stream("b\n"),
        new.new_output("display_data", slider),
        new.new_output("execute_result", {"text/plain": "2"}, execution_count=9),
        tags=["parameters"],
        papermill={"duration": 1.5},
    )
    notebook.metadata = {"widgets": {"state": {}}, "papermill": {"duration": 2}}
    result = clean(notebook)
    assert [cell.id for cell in result.cells] == ["cell-00", "cell-01"]
    assert set(result.metadata) == {"kernelspec", "language_info"}
    code = result.cells[1]
    assert (code.execution_count, code.metadata) == (1, {"tags": ["parameters"]})
    printed, value = code.outputs
    assert (printed.name, printed.text) == ("stdout", "a\nb\n")
    assert (value.execution_count, value.data["text/plain"]) == (1, "2")


def test_normalising_twice_gives_identical_bytes():
    once = normalised(with_outputs(stream("a\n")), "07_a")
    assert normalised(nbformat.reads(once, as_version=4), "07_a") == once


@pytest.mark.parametrize("folder", [CHECKOUT, "/home/somebody"])
def test_a_path_of_this_machine_in_an_output_is_refused(folder, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    with pytest.raises(LavaeError, match=f"07_a: cell 1 .*{folder}"):
        clean(with_outputs(stream(f"saved {folder}/x.csv")))


def test_a_home_at_the_root_is_in_every_path_and_no_secret(monkeypatch):
    monkeypatch.setenv("HOME", "/")
    assert "/usr/x" in normalised(with_outputs(stream("/usr/x")), "07_a")
