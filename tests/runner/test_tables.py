"""README.md and figures/README.md cannot go stale; tables fit a terminal."""

import re
import shutil

import pandas as pd
import pytest
from tiny import write_notebook

from lavae_companion.paths import CHECKOUT, FIGURES
from lavae_companion.results import claims
from lavae_companion.runner import tables
from lavae_companion.runner.notebooks import choose, discover
from lavae_companion.runner.readme import readme
from lavae_core.errors import LavaeError


@pytest.fixture
def claims_file(tmp_path):
    """claims.csv as the notebook of the claims writes it, for two measured seeds."""
    vectors = {
        name: [1.0, 1.1 + 0.01 * seed]
        for seed in range(2)
        for part in (part for claim in claims.CLAIMS[:5] for part in claim.parts)
        for name in (part.measured, part.against)
        if name
    }
    table = claims.table({0: vectors, 1: vectors}).set_index("claim")
    table.to_csv(tmp_path / "claims.csv", float_format="%.4f")
    return tmp_path / "claims.csv"


def test_the_gallery_is_what_would_be_generated_now():
    expected = tables.gallery(discover(), FIGURES)
    assert (FIGURES / "README.md").read_text(encoding="utf-8") == expected


def test_every_notebook_has_pictures_and_minutes():
    notebooks = discover()
    timed = pd.read_csv(FIGURES / "minutes.csv")
    assert list(timed["notebook"]) == [notebook.name for notebook in choose(notebooks, [])]
    assert list(timed.columns) == ["notebook", "running", "training", "peak_mb"]
    for notebook in notebooks:
        assert list(FIGURES.glob(f"{notebook.output_stem}*.png")), notebook.name
        assert list(FIGURES.glob(f"{notebook.output_stem}*.pdf")), notebook.name


def test_every_link_of_the_gallery_leads_to_a_file():
    links = re.findall(r'(?:\]\(|href="|src=")([^)"]+)', (FIGURES / "README.md").read_text())
    assert len(links) > 60
    assert [link for link in links if not (FIGURES / link).exists()] == []


def test_a_gallery_of_other_files(tmp_path, claims_file):
    write_notebook(tmp_path / "notebooks", "03_figure_03_a", "# Figure 3: <flips> & more")
    notebooks = discover(tmp_path / "notebooks")
    record = {"running": 1.24, "training": 56.0, "peak_mb": 1234, "minutes": 57.24}
    (tmp_path / "minutes.csv").write_text(tables.minutes_csv({notebooks[0]: record}))
    for name in (
        "figure_03.png",
        "figure_03.csv",
        "figure_03.gif",
        "figure_03.pdf",
        "figure_04.png",
    ):
        (tmp_path / name).touch()
    text = tables.gallery(notebooks, tmp_path)
    assert '<a href="../notebooks/03_figure_03_a.ipynb"><img src="figure_03.png"' in text
    assert "Figure 3: &lt;flips&gt; &amp; more" in text
    assert "[figure_03.csv](figure_03.csv), [figure_03.gif](figure_03.gif), [figure_03.png]" in text
    assert "figure_04" not in text and "1 min" in text and "56 min" in text
    for claim in claims.CLAIMS:
        assert f"**{claim.text}**" in text
        assert all(part.what in text for part in claim.parts)
    assert "nan" not in text


def test_the_table_of_verdicts_fits_a_terminal(claims_file):
    text = tables.verdicts(claims_file)
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "The order of a composition can matter" in text
    assert tables.verdicts(claims_file.with_name("other.csv")) == tables.verdicts(None) == ""


def test_minutes_of_a_run(tmp_path):
    write_notebook(tmp_path, "01_a")
    write_notebook(tmp_path, "02_b")
    first, second = discover(tmp_path)
    records = {
        first: {"minutes": 1.0, "peak_mb": 700, "note": "up to date"},
        second: {"minutes": 0.25, "peak_mb": 900},
    }
    cells = [line.split() for line in tables.minutes(records).splitlines()[2:]]
    assert cells == [
        ["01_a", "1.0", "700", "up", "to", "date"], ["02_b", "0.2", "900"], ["together", "1.2"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "REPRODUCIBILITY.md", "PROTOCOL.md"]
)
def test_every_link_of_a_page_leads_to_a_file(page):
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s#]+)", text) + re.findall(r'(?:src|href)="([^"#]+)"', text)
    local = [link for link in links if not link.startswith("https://")]
    assert local and [link for link in local if not (CHECKOUT / link).exists()] == []


def test_the_readme_is_what_would_be_written_now():
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert text == readme(FIGURES, discover())
    assert len(text.splitlines()) <= 130 and len(text.encode()) <= 9216


def test_the_readme_follows_the_tables(tmp_path):
    shutil.copytree(FIGURES, tmp_path, dirs_exist_ok=True)
    table = pd.read_csv(FIGURES / "table_01.csv").replace("LAVAE", "other")
    table.assign(total=1234.567).replace("other", "LAVAE").to_csv(tmp_path / "table_01.csv")
    assert "total BCE 1234.57" in readme(tmp_path, discover())
    table.to_csv(tmp_path / "table_01.csv")
    with pytest.raises(LavaeError, match="table_01.csv has 0 rows.*LAVAE"):
        readme(tmp_path, discover())
