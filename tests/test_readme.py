"""The README cannot go stale: its generated part is made of the committed figures and notebooks."""

import csv
import json
import re
import shutil
from types import SimpleNamespace

import pytest

from lavae_core import artifacts
from lavae_core.companion import readme, speed
from lavae_core.companion.comparison import read_claims
from lavae_core.companion.markdown import marked
from lavae_core.companion.notebooks import discover
from lavae_core.paths import CHECKOUT, artifacts_dir, figures_dir


@pytest.mark.parametrize("document", [readme, speed])
def test_the_generated_part_is_what_would_be_generated_now(document):
    assert marked(document.README) == document.generated()


def test_every_notebook_has_a_verdict_a_picture_and_minutes():
    figures = figures_dir()
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


def test_minutes_charge_each_model_once_and_none_of_another_seed(home, monkeypatch, tmp_path):
    stage1 = {"setting": {"seed": 0}, "pair": "flips"}
    old, new = {"versions": {"stage1": 1}}, {"versions": {"stage1": 2}}
    for name, spec, minutes in (
        ("stage1-a", stage1 | new, 2.0),
        ("stage1-old", stage1 | old, 30.0),
        ("maps-b", {"stage1": stage1, "versions": {"stage1": 2, "maps": 1}}, 0.5),
        ("measurement-c", {"setting": {"seed": 1}}, 9.0),
    ):
        folder = artifacts_dir() / name
        folder.mkdir(parents=True)
        content = {"spec": spec, "told": {"minutes": minutes}}
        (folder / artifacts.MANIFEST).write_text(json.dumps(content))
    records = {
        "01_one": {"used": ["maps-b"], "minutes": 2.7, "training": 2.5, "peak_mb": 7},
        "02_two": {"used": ["stage1-a", "measurement-c"], "minutes": 0.1, "training": 0.0,
                   "peak_mb": 8},
    }  # fmt: skip
    monkeypatch.setattr(readme, "read_record", lambda notebook, _: records[notebook.name])
    settings = SimpleNamespace(seed=None, figures=tmp_path)
    readme.write_minutes([SimpleNamespace(name=name) for name in records], settings)
    lines = (tmp_path / readme.MINUTES).read_text().splitlines()
    assert lines[1:] == ["01_one,2.5,0.2,7", "02_two,0.0,0.1,8"]

    shutil.rmtree(artifacts_dir() / "maps-b")  # nothing can be told, and nothing is written
    (tmp_path / readme.MINUTES).unlink()
    readme.write_minutes([SimpleNamespace(name=name) for name in records], settings)
    assert not (tmp_path / readme.MINUTES).exists()


def test_the_front_page_has_every_machine_whose_time_to_quality_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "BENCHMARKS", tmp_path)
    (tmp_path / "results.csv").write_text(
        "work,baseline_s,here_s,ratio,machine,gflop_per_s\n"
        + "".join(f"a step,0.4,0.2,2,{name},7\n" for name in ("old", "new", "untimed"))
    )
    (tmp_path / "time_to_quality.csv").write_text(
        "who,epochs,minutes,original,first,second,composed,total,times_faster,machine\n"
        + "".join(f"this project,1,2.5,69.5,70,71,72,282.5,60,{name}\n" for name in ("new", "old"))
    )
    shown = speed.summary()
    where = re.findall(r"(?:Measured|Minutes) on (\w+)", shown)
    assert where == ["old", "new", "new", "old"]
    assert shown.count("| 69.50 | 70.00 | 71.00 | 72.00 | 282.50 | 60.0 |") == 2
