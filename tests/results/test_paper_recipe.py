"""Table I by the paper's recipe: what is written after each model, and what is read back."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from made_up import uint8_images

from lavae_companion import data, paper_recipe
from lavae_companion.paper import FLIPS
from lavae_companion.paper_recipe import ROWS
from lavae_companion.profiles import PROFILES
from lavae_companion.study import Study
from lavae_core.errors import StoreError

LAVAE = ("LAVAE", FLIPS)


def _fails(study, pair):
    raise StoreError("the disk is full")


@pytest.fixture
def tiny(setting, monkeypatch):
    """A study of 40 noisy images."""
    images = data.ImageSet(uint8_images(40), torch.arange(40) % 10)
    monkeypatch.setattr(data, "load", lambda *a, **k: images)
    return Study.of(replace(PROFILES["smoke"], start=None), setting)


@pytest.fixture
def written(tiny, tmp_path, monkeypatch):
    """The folder, after a run that ended at its third model."""
    monkeypatch.setattr(paper_recipe, "FIGURES", tmp_path)
    rows = {LAVAE: ROWS[LAVAE], ("directly encoded", FLIPS): ROWS["directly encoded", FLIPS]}
    with pytest.raises(StoreError):
        paper_recipe.write(tiny, rows | {("VAE", FLIPS): _fails}, tmp_path)
    return tmp_path


def test_what_is_finished_is_kept_and_read(written):
    table = paper_recipe.read(FLIPS)
    assert list(table.index) == ["LAVAE", "directly encoded"]
    assert table.drop(columns="total").sum(axis=1).to_list() == pytest.approx(
        table["total"].to_list(), abs=1e-3
    )
    assert '"profile": "smoke"' in (written / "paper_recipe.json").read_text()
    assert paper_recipe.read("rotate_cw,flip_lr").empty
    assert paper_recipe.read(FLIPS, "fashion").empty


def test_nothing_is_read_where_nothing_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(paper_recipe, "FIGURES", tmp_path)
    assert paper_recipe.read(FLIPS).empty


def test_every_row_is_scored(tiny, tmp_path):
    rows = {row: each for row, each in ROWS.items() if "after" not in row[0]}
    rows["LAVAE after 1 epoch", FLIPS] = paper_recipe.after(1)  # as those of 32 and 64
    paper_recipe.write(tiny, rows, tmp_path)
    table = pd.read_csv(tmp_path / "paper_recipe.csv")
    assert list(zip(table["model"], table["pair"], strict=True)) == [
        (model, str(pair)) for model, pair in rows
    ]
    assert table.notna().all(axis=None)
