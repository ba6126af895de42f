"""What a notebook asks for: settings, examples, and where its results go."""

import csv
import json

import matplotlib
import pandas as pd
import pytest
import torch
from made_up import uint8_images
from matplotlib.figure import Figure

from lavae_core import data, paths, study
from lavae_core.companion.settings import Settings
from lavae_core.errors import InvalidInputError, StoreError
from lavae_core.experiments import Conditional, Head, Joint, Maps, NonLinear, Stage1
from lavae_core.principal import from_principal
from lavae_core.profiles import PROFILES
from lavae_core.study import Study

matplotlib.use("Agg")
LABELS = torch.tensor([7, 2, 1, 7, 2, 7])


@pytest.fixture(autouse=True)
def checkout(tmp_path, home, monkeypatch):
    """A checkout of three notebooks, and six test images."""
    folder = tmp_path / "checkout"
    (folder / "notebooks").mkdir(parents=True)
    for name in ("01_figure_01_graph", "09_figure_10_geometry", "11_table_01_scores"):
        (folder / "notebooks" / f"{name}.ipynb").touch()
    monkeypatch.setattr(paths, "CHECKOUT", folder)

    def load(split, dataset="mnist", limit=None):
        assert (split, dataset) == ("test", "mnist")
        return data.ImageSet(uint8_images(6)[:limit], LABELS[:limit])

    monkeypatch.setattr(data, "load", load)
    return folder


# --- settings ------------------------------------------------------------------------------------


def test_defaults_and_environment(monkeypatch):
    found = Study()
    assert found.profile is PROFILES["quick"]
    assert (found.setting.seed, found.setting.runtime.device) == (0, "cpu")
    assert found.setting.n_train is None

    for name, value in [("PROFILE", "smoke"), ("SEED", "12"), ("DEVICE", "cpu")]:
        monkeypatch.setenv(f"LAVAE_{name}", value)
    found = Study()
    assert found.profile is PROFILES["smoke"]
    assert (found.setting.seed, found.setting.n_train) == (12, 2000)
    assert Study("paper", seed=3).profile is PROFILES["paper"]
    assert Study(seed=0).setting.seed == 0

    for name in ("PROFILE", "SEED", "DEVICE"):
        monkeypatch.setenv(f"LAVAE_{name}", "")  # empty is unset
    assert Study().setting.seed == 0


@pytest.mark.parametrize(("name", "value"), [("PROFILE", "x"), ("SEED", "-1"), ("DEVICE", "x")])
def test_environment_that_is_refused(name, value, monkeypatch):
    monkeypatch.setenv(f"LAVAE_{name}", value)
    with pytest.raises(InvalidInputError, match=value):
        Study()


# --- models --------------------------------------------------------------------------------------


def test_which_experiments_a_study_asks_for(monkeypatch):
    asked = []
    monkeypatch.setattr(study, "load_or_train", asked.append)
    found = Study("smoke")
    found.vae()
    found.lavae("flip_lr, flip_ud")
    found.lavae("shear_x,canny", solver="sgd", lambda_inv=0)
    found.transfer("flip_lr,flip_ud", "shear_x, canny")
    found.joint("shear_x, canny")
    found.cvae("flip_lr, flip_ud", "lavae")
    found.nonlinear("shear_x,canny")
    profile, setting = found.profile, found.setting
    plain = Stage1(setting, "flip_lr,flip_ud", profile.flips, antithetic=True)
    flips = from_principal(plain, profile.start)
    shear = Stage1(setting, "shear_x,canny", profile.base, antithetic=True)
    shear = from_principal(shear, profile.start)
    assert asked == [
        Stage1(setting, None, profile.vae, antithetic=True),
        Maps(flips, "exact", 1.0, None),
        Maps(shear, "sgd", 0.0, profile.maps),
        Head(Maps(flips), "shear_x,canny", profile.head),
        Joint(setting, "shear_x,canny", profile.joint, True, shear.start),
        Conditional(setting, "flip_lr,flip_ud", "lavae", profile.cvae, True),
        NonLinear(shear, profile.maps),
    ]


def test_the_papers_own_schedule_goes_on_from_random_weights_with_one_sample():
    found = Study("paper")
    plain = Stage1(found.setting, "flip_lr,flip_ud", found.profile.flips)
    assert found.stage1("flip_lr,flip_ud") == plain


# --- data ----------------------------------------------------------------------------------------


def test_examples():
    found = Study("smoke")
    assert found.examples([2, 7]) == [1, 0]
    assert found.examples([7, 7, 1, 7]) == [0, 3, 2, 5]
    assert found.examples([]) == []
    with pytest.raises(InvalidInputError, match="only 2 test images show a 2"):
        found.examples([2, 2, 2])
    with pytest.raises(InvalidInputError, match="only 0 test images show a 5"):
        found.examples([5])
    for digit in (10, "7", -1):
        with pytest.raises(InvalidInputError, match="unknown digit"):
            found.examples([digit])


def test_variants_are_of_the_test_images():
    found = Study("smoke").variants("flip_lr,flip_ud")
    images = uint8_images(6)
    assert torch.equal(found[0], images)
    assert torch.equal(found[1], images.flip(2))
    assert torch.equal(found[2], images.flip(1))
    assert torch.equal(found[3], images.flip(1, 2))


# --- results -------------------------------------------------------------------------------------


def rows(checkout, profile="quick"):
    path = paths.figures_dir(profile) / "paper_vs_here.csv"
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_verdict_is_printed_and_kept(checkout, capsys):
    Study().record("Table 1", "LAVAE is best", "297.10", "280.40", "agrees")
    said = capsys.readouterr().out
    assert said == "Table 1: LAVAE is best\n  published: 297.10\n  here:      280.40\n  -> agrees\n"
    (kept,) = rows(checkout)
    assert list(kept.values())[:5] == ["Table 1", "LAVAE is best", "297.10", "280.40", "agrees"]


def test_a_verdict_is_replaced_and_not_repeated(checkout):
    """Also one whose claim was put in other words since."""
    found = Study()
    found.record("Figure 10", "z", "297.10", "n/a", "agrees")
    found.record("Figure 1", "b", "1.0", "1.50", "agrees")
    found.record("Figure 1", "a", "1.0", "1.70", "agrees in part")
    kept = [(row["item"], row["claim"], row["here"], row["verdict"]) for row in rows(checkout)]
    assert kept == [
        ("Figure 1", "a", "1.70", "agrees in part"),
        ("Figure 10", "z", "n/a", "agrees"),
    ]
    assert rows(checkout)[0]["notebook"] == "01_figure_01_graph"
    assert rows(checkout)[1]["notebook"] == "09_figure_10_geometry"


def test_the_other_order_and_the_share_for_which_it_is_the_same(checkout):
    found, images = Study("smoke"), uint8_images(6)
    turned = torch.rot90(images.flip(2), -1, (1, 2))  # flip_lr, then rotate_cw
    assert torch.equal(found.swapped("rotate_cw,flip_lr"), turned)
    assert found.commuting_share("flip_lr,flip_ud") == 1
    assert found.commuting_share("rotate_cw,flip_lr") == 0


@pytest.mark.parametrize("text", ["0.50", "n/a", "", "None", 'quotes " and, commas'])
def test_text_survives_the_table(checkout, text):
    """Numbers keep their zeros, and no word is taken for a missing value."""
    found = Study()
    found.record("Figure 1", "a", text, text, "agrees")
    found.record("Figure 10", "z", "1", "1", "agrees")  # it is read and written again
    assert rows(checkout)[0]["published"] == text


def test_verdicts_that_are_refused():
    with pytest.raises(InvalidInputError, match="unknown verdict 'fine'; allowed: agrees,"):
        Study().record("Figure 1", "a", "1", "1", "fine")
    with pytest.raises(InvalidInputError, match="no notebook makes 'Figure 99'"):
        Study().record("Figure 99", "a", "1", "1", "agrees")


def write_everything(found: Study) -> None:
    found.save_figure(Figure(figsize=(1, 1)), "figure_01")
    found.save_table(pd.DataFrame({"x": [1.23456]}), "table_01")
    found.save_provenance([1, 0], "claims")
    found.record("Figure 1", "a", "1", "1", "agrees")


WRITTEN = {"figure_01.png", "figure_01.pdf", "table_01.csv", "claims.json", "paper_vs_here.csv"}


def test_results_go_to_the_committed_folder(checkout):
    write_everything(Study("quick"))
    assert {path.name for path in (checkout / "figures").iterdir()} == WRITTEN
    assert (checkout / "figures" / "table_01.csv").read_text() == ",x\n0,1.2346\n"
    told = json.loads((checkout / "figures" / "claims.json").read_text())
    assert (told["profile"], told["seeds"], told["device"]) == ("quick", [0, 1], "cpu")


@pytest.mark.parametrize(("profile", "seed"), [("quick", 0), ("quick", 1), ("smoke", 0)])
def test_a_run_looks_where_its_notebooks_write(profile, seed):
    settings = Settings(profile, seed)
    assert settings.figures == Study(profile, seed)._folder()
    assert settings.commits == ((profile, seed) == ("quick", 0))


def test_every_seed_and_device_has_a_folder_of_its_own():
    runs = [Settings(), Settings(seed=1), Settings(device="cuda"), Settings("long", 1, "cuda:1")]
    names = ["quick", "quick-seed1", "quick-cuda", "long-seed1-cuda1"]
    assert [settings.runs.name for settings in runs] == names


@pytest.mark.parametrize(
    ("profile", "seed", "folder"), [("smoke", 0, "smoke"), ("quick", 1, "quick-seed1")]
)
def test_nothing_but_quick_and_seed_0_writes_to_the_committed_folder(
    profile, seed, folder, checkout, home
):
    write_everything(Study(profile, seed))
    assert not (checkout / "figures").exists()
    assert {path.name for path in (home / "runs" / folder / "figures").iterdir()} == WRITTEN


def test_the_same_picture_is_the_same_bytes(checkout):
    def bytes_of_a_picture():
        figure = Figure(figsize=(1, 1))
        figure.subplots().plot([1, 2])
        Study().save_figure(figure, "figure_01")
        return [(checkout / f"figures/figure_01.{kind}").read_bytes() for kind in ("png", "pdf")]

    png, pdf = bytes_of_a_picture()
    assert [png, pdf] == bytes_of_a_picture()
    assert (
        b"Software" not in png and b"/CreationDate" not in pdf
    )  # a second later they would differ


def test_a_figures_folder_that_cannot_be_written(checkout):
    (checkout / "figures").write_text("a file")
    for write in (
        lambda: Study().save_figure(Figure(), "x"),
        lambda: Study().save_table(pd.DataFrame({"x": [1]}), "x"),
        lambda: Study().record("Figure 1", "a", "1", "1", "agrees"),
    ):
        with pytest.raises(StoreError, match="figures folder") as caught:
            write()
        assert "\n" not in str(caught.value)


def test_results_that_cannot_be_written(checkout):
    for name in WRITTEN:
        (checkout / "figures" / name).mkdir(parents=True)  # a folder in place of each file
    for write in (
        lambda: Study().save_figure(Figure(figsize=(1, 1)), "figure_01"),
        lambda: Study().save_table(pd.DataFrame({"x": [1]}), "table_01"),
        lambda: Study().save_provenance([0], "claims"),
        lambda: Study().record("Figure 1", "a", "1", "1", "agrees"),
    ):
        with pytest.raises(StoreError, match="cannot write"):
            write()
