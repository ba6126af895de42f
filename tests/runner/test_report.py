"""The HTML report opens from a file, without a network."""

import re
import textwrap
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import torch
from made_up import FLIPS, spread, uint8_images
from tiny import settings_of, write_notebook

from lavae_companion import data
from lavae_companion.data import ImageSet
from lavae_companion.results.claims import WIDTH
from lavae_companion.runner import report
from lavae_companion.runner.notebooks import discover
from lavae_companion.runner.report import write_report
from lavae_core.models import LAVAE


class _Loaded(HTMLParser):
    """Collects what a page makes the browser load."""

    def __init__(self):
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        names = ("href",) if tag == "link" else () if tag == "a" else ("src", "srcset", "data")
        self.addresses += [value for name, value in attrs if name in names and value]


def loaded(page: Path) -> list[str]:
    """Addresses of all that `page` loads, whether by a tag, by a style or by a script."""
    parser, text = _Loaded(), page.read_text()
    parser.feed(text)
    by_name = re.findall(r"""(?:url\(|import\(?|\.src\s*=\s*)\s*["']?(https?:[^"')\s]+)""", text)
    return parser.addresses + by_name


def write_executed(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook as if each of its cells had run."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = 1
    nbformat.write(notebook, path)


@pytest.fixture
def front(sources) -> Path:
    """The front page of a report on an executed notebook, on one that was not, and on a claim."""
    title = (
        "# Figure 3: a title\n\nInline $\\hat x_i^2$.\n\n$$\\sum_i L_i z$$\n\n"
        "\\begin{align}a&=b\\\\c&=d\\end{align}"
    )
    write_notebook(sources, "01_figure_03_a", title, "study.check('Figure 3')")
    write_notebook(sources, "21_claims")
    write_notebook(sources, "22_not_executed")
    settings = settings_of(sources)
    first, claims, _ = discover(sources)
    notebook = nbformat.read(first.path, as_version=4)
    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="0.2 <b>holds</b>")]
    settings.executed(first).parent.mkdir(parents=True)
    write_executed(notebook, settings.executed(first))
    figures = settings.figures(claims)
    figures.mkdir()
    for name in ("figure_03.gif", "figure_03.png", "figure_03_a.png"):
        (figures / name).write_bytes(b"picture")
    (figures / "claims.csv").write_text(
        "claim,section,verdict\nMSE < 1 & so on,Table I,holds in part\nMSE < 1 & so on,Table I,x\n"
    )
    return write_report(discover(sources), settings)


def test_nothing_is_loaded_from_elsewhere(front):
    pages = sorted(front.parent.glob("*.html"))
    assert [page.name for page in pages] == ["01_figure_03_a.html", "index.html"]
    for page in pages:
        assert [a for a in loaded(page) if not a.startswith(("data:", "pictures/"))] == []
        assert "mathjax" not in page.read_text().lower()
    assert pages[0].read_text().count("<math") == 3


def test_the_front_page_has_verdicts_pictures_and_checks(front):
    text = front.read_text()
    assert text.count("MSE &lt; 1 &amp; so on") == 1
    assert '<b class="holds-in-part">holds in part</b>' in text
    assert "Profile smoke, seed 0" in " ".join(text.split())
    assert '<a href="01_figure_03_a.html">Figure 3: a title</a>' in text
    assert '<img src="pictures/figure_03.png"' in text
    assert (front.parent / "pictures" / "figure_03.png").read_bytes() == b"picture"
    assert '<p class="in-0">0.2 &lt;b&gt;holds&lt;/b&gt;</p>' in text
    assert '<span class="holds-in-part">holds in part</span>\n1' in text
    assert f"PyTorch {torch.__version__}" in text and "<dt>minutes</dt>" not in text
    assert "22" not in re.findall(r"<h2>(\d+)", text)


def test_the_breaks_of_a_check_are_those_of_its_lines():
    claim = f"{'a claim that is longer than a terminal is wide ' * 3}(Section IV)."
    full = f"{'a claim that fills its line ' * 3}(IV-C)."
    printed = [
        claim,
        "  composed",
        "      1.0283 (below 1.2): holds",
        "  seed 0: holds",
        full,
        "  " + claim,
    ]
    text = "\n".join(
        piece
        for line in printed
        for piece in textwrap.wrap(line, WIDTH, subsequent_indent="  " * line.startswith(" "))
    )
    assert text.count("\n") == 7
    assert report.unwrapped(text) == [
        (0, claim), (2, "composed"), (6, "1.0283 (below 1.2): holds"), (2, "seed 0: holds"),
        (0, full), (2, claim),
    ]  # fmt: skip
    assert report.unwrapped("") == []


def test_every_picture_opens_large_the_still_ones_first(front):
    opened = re.findall(r'<a class="large"[^>]* href="pictures/([^"]+)"', front.read_text())
    assert opened == ["figure_03.png", "figure_03_a.png", "figure_03.gif"]


def test_the_minutes_of_a_run_are_summed(sources, monkeypatch):
    for name in ("01_a", "02_b"):
        write_notebook(sources, name)
    settings = settings_of(sources)
    record = {"running": 0.25, "training": 4.0, "minutes": 4.25}
    monkeypatch.setattr(report, "read_record", lambda *_: record)
    assert report._minutes(discover(sources), settings) == {"running": 0.5, "training": 8.0}


def test_pages_lead_to_their_neighbours_fold_code_and_show_animations(tmp_path):
    text = "# [second](02_b.ipynb) [none](03_c.ipynb) [file](../PROTOCOL.md) [paper](https://a/b)"
    paths = [write_notebook(tmp_path, name, text, "1 + 1") for name in ("01_a", "02_b")]
    notebook = nbformat.read(paths[0], as_version=4)
    gif = {"image/gif": "R0lGODlh", "text/plain": "an object"}
    notebook.cells[-1].outputs = [nbformat.v4.new_output("display_data", gif)]
    write_executed(notebook, paths[0])
    report._write_pages(discover(tmp_path), tmp_path)
    first, second = (path.with_suffix(".html").read_text() for path in paths)
    assert first.count('<a href="02_b.html">next') == 2 and "← previous" not in first
    assert second.count('<a href="01_a.html">← previous') == 2 and "next →" not in second
    links = re.findall(r"<a href=\"([^\"]+)\">(second|none|file|paper)", first)
    assert links == [("02_b.html", "second"), ("https://a/b", "paper")]
    assert first.count('<details class="code">') == 2
    assert 'src="data:image/gif;base64,R0lGODlh"' in first and "an object" not in first


def test_the_explorer_is_there_once_its_models_are(sources, monkeypatch, capsys):
    assert "explorer.html" not in write_report([], settings_of(sources)).read_text()
    assert "rotate_cw,flip_lr" in capsys.readouterr().err
    noise = ImageSet(uint8_images(20), torch.arange(20) % 10)
    monkeypatch.setattr(data, "load", lambda *arguments, **options: noise)
    monkeypatch.setattr(report, "_trained", lambda study: {FLIPS: spread(LAVAE())})
    front = write_report([], settings_of(sources, seed=3))
    assert '<a href="explorer.html">' in front.read_text()
    explorer = front.with_name("explorer.html").read_text()
    assert "profile smoke, seed 3, data set mnist" in explorer
    assert capsys.readouterr().err == ""


def test_the_search_for_remote_resources_finds_them(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        '<script src="https://a/x.js"></script><link href="https://b/x.css">'
        "<style>a { background: url(https://c/x.png) }</style><a href='https://d'>link</a>"
    )
    assert loaded(page) == ["https://a/x.js", "https://b/x.css", "https://c/x.png"]
