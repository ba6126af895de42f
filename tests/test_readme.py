"""The README cannot go stale: its generated part is made of the committed figures and notebooks."""

import csv
import re

import pytest

from lavae_core.companion import readme, speed
from lavae_core.companion.claims import read_claims
from lavae_core.companion.markdown import marked
from lavae_core.companion.notebooks import discover
from lavae_core.paths import CHECKOUT, figures_dir


@pytest.mark.parametrize("document", [readme, speed])
def test_the_generated_part_is_what_would_be_generated_now(document):
    assert marked(document.README) == document.generated()


def test_every_notebook_has_a_verdict_a_picture_and_minutes():
    figures = figures_dir("quick")
    judged = {row["notebook"] for row in read_claims(figures)}
    with (figures / readme.MINUTES).open(newline="") as file:
        timed = {row["notebook"] for row in csv.DictReader(file)}
    names = {notebook.name for notebook in discover()}
    assert judged == timed == names
    for notebook in discover():
        assert list(figures.glob(f"{notebook.output_stem}*.png")), notebook.name
        assert list(figures.glob(f"{notebook.output_stem}*.pdf")), notebook.name


def test_every_link_of_the_readme_leads_to_a_file():
    text = readme.README.read_text(encoding="utf-8")
    links = re.findall(r'(?:\]\(|href="|src=")([^)"#]+)[)"]', text)
    local = [link for link in links if "://" not in link]
    assert len(local) > 40
    assert [link for link in local if not (CHECKOUT / link).exists()] == []
