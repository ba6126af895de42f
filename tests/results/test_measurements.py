"""Measurements: their names, and what they look at, on models whose answers are known."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from made_up import FLIPS, Perfect, normal, spread, uint8_images

from lavae_companion import store
from lavae_companion.comparisons import CVAE, NonLinearMaps
from lavae_companion.experiments import Setting, TransferHead, load_or_train
from lavae_companion.paper import CVAE as CONDITIONAL
from lavae_companion.paper import CVAE_LAVAE, HEATMAP_PAIRS, ROTATE_FLIP, SHEAR_CANNY
from lavae_companion.profiles import PROFILES
from lavae_companion.results import geometry, measurements, scores, transfer
from lavae_companion.results.measurements import Measurement
from lavae_companion.study import Study
from lavae_core.augmentations import Family, variants
from lavae_core.errors import InvalidInputError
from lavae_core.models import LAVAE, Decoder
from lavae_core.runtime import Runtime

VARIANTS = FLIPS.variants
TURNS = Family.parse("rotate_cw: A1, A1^2, A1^3")


class Known:
    """A study whose LAVAE is perfect on four originals and their flips."""

    setting = SimpleNamespace(seed=0)

    def __init__(self):
        self.model = Perfect()
        self.other_order = self.model.images[3, [1, 0, 2, 3]]  # of the first two images
        self.asked = []

    def variants(self, family):
        return self.model.images

    def mean_images(self, family):
        return self.model.images.double().div(255).mean(1)

    def swapped(self, pair):
        return self.other_order

    def lavae(self, family):
        return self.model

    def vae(self):
        return self.model

    def cvae(self, family, how):
        return spread(CVAE(n_conditions=3 if how == "lavae" else 4))

    def transfer(self, trained, evaluated):
        self.asked.append((trained, evaluated))
        return spread(LAVAE()).with_head(str(evaluated), Decoder())


@pytest.fixture
def study():
    return Known()


# --- names and tables ----------------------------------------------------------------------------


def test_a_table_has_a_row_for_each_model_and_a_column_for_each_variant():
    vectors = {
        f"{model}/{variant}/{FLIPS}": torch.tensor([0.0, 2.0 * place])
        for model in ("LAVAE", "LAVAE, SSE", "VAE")
        for place, variant in enumerate([*VARIANTS, "total"])
    }
    table = measurements.table(vectors, str(FLIPS), ["VAE", "LAVAE, SSE"])
    assert list(table.index) == ["VAE", "LAVAE, SSE"]
    assert list(table.columns) == [*VARIANTS, "total"]
    assert table.loc["VAE"].tolist() == [0, 1, 2, 3, 4]


def test_a_mean_is_taken_in_double_precision():
    vector = torch.full((3_000_000,), 0.1)
    assert measurements.means({"x": vector})["x"] == pytest.approx(vector[0].item(), rel=1e-12)


def test_the_total_is_a_sum_over_variants_for_every_image(study):
    vectors = measurements.lavae(study, str(FLIPS))
    for model in ("LAVAE", "directly encoded", "mean image"):
        for name in (model, f"{model}, SSE"):
            parts = [vectors[f"{name}/{variant}/{FLIPS}"] for variant in VARIANTS]
            assert parts[0].shape == (4,)
            torch.testing.assert_close(vectors[f"{name}/total/{FLIPS}"], sum(parts))
    assert len(vectors) == 3 * 2 * 8


def test_sums_are_over_the_variants_of_their_kind():
    family = Family.parse("flip_lr,flip_ud: A1 A2, A2, A2 A1, A1")
    by_variant = {
        name: torch.tensor([[10.0**place], [0.0]]) for place, name in enumerate(family.variants)
    }
    vectors = measurements.named("ours", family, by_variant)
    sums = {name: vectors[f"ours/{name}/{family}"].item()
            for name in ("total", "singles", "trained", "compositions")}  # fmt: skip
    assert sums == {"total": 11111, "singles": 10100, "trained": 10101, "compositions": 1010}
    assert "ours/compositions/canny" not in measurements.named("ours", Family.parse("canny"), {
        "original": torch.zeros(2, 1), "A1": torch.zeros(2, 1)})  # fmt: skip


def test_the_mean_image_is_one_of_training_images(study):
    study.mean_images = lambda family: torch.full((4, 28, 28), 0.5, dtype=torch.float64)
    mean = measurements.means(measurements.lavae(study, FLIPS))
    grey = 784 * torch.tensor(2.0).log().item()
    assert mean[f"mean image/total/{FLIPS}"] == pytest.approx(4 * grey)


def test_a_perfect_lavae_beats_the_mean_image(study):
    mean = measurements.means(measurements.lavae(study, FLIPS))
    assert mean[f"LAVAE/total/{FLIPS}"] < 1e-5 and mean[f"directly encoded/total/{FLIPS}"] < 1e-5
    assert mean[f"mean image/total/{FLIPS}"] > 1000


def test_rivals_are_both_cvaes_and_a_vae_that_is_shown_each_variant(study):
    vectors = measurements.rivals(study, FLIPS)
    models = {name.split("/")[0] for name in vectors}
    assert {model for model in models if "SSE" not in model} == {
        CONDITIONAL,
        CVAE_LAVAE,
        "VAE",
        "VAE, output flipped",
    }
    assert vectors[f"VAE, output flipped/total/{FLIPS}"].max() < 1e-5
    assert vectors[f"VAE/total/{FLIPS}"].max() < 1e-5
    assert vectors[f"{CONDITIONAL}/total/{FLIPS}"].min() > 1000
    alone = measurements.cvae(study, FLIPS, "lavae")
    assert {name.split("/")[0] for name in alone} == {CVAE_LAVAE, f"{CVAE_LAVAE}, SSE"}


def test_parameters_are_those_of_the_paper():
    vectors = measurements.parameters(LAVAE().with_head("another", Decoder()))
    assert {name: vector.tolist() for name, vector in vectors.items()} == {
        "parameters/networks": [571_809],
        "parameters/map": [256],
    }
    # Of another size the paper says nothing: the names are no claim's.
    other = measurements.parameters(LAVAE(latent_dim=8))
    assert other["parameters/map, 8 latent dimensions"].tolist() == [64]
    assert not other.keys() & vectors.keys()


def test_the_mean_images_of_a_study_are_of_its_training_images(setting):
    study = Study.of(PROFILES["smoke"], replace(setting, n_train=8))
    expected = setting.variants(FLIPS)[:, :8].double().mean(1) / 255
    torch.testing.assert_close(study.mean_images(str(FLIPS)), expected)


# --- inverses, orders and recursion --------------------------------------------------------------


def test_inverses_are_a_mean_over_twelve_routes(study):
    study.model.bank[12:] = 0.5  # composed images decode to grey, from wherever
    vectors = measurements.inverses(study, FLIPS)
    table = measurements.routes(vectors, FLIPS)
    assert list(table.index) == list(table.columns) == list(VARIANTS)
    grey = 784 * torch.tensor(2.0).log().item()
    assert table["composed"].tolist() == pytest.approx([grey] * 4)
    assert table["first"].drop("composed").max() < 1e-5
    off_diagonal = table.to_numpy().sum() - table.to_numpy().trace()
    mean = measurements.means(vectors)
    assert mean[f"any to any/{FLIPS}"] == pytest.approx(off_diagonal / 12)
    assert mean[f"no route/{FLIPS}"] == pytest.approx(grey / 4)


def test_the_worst_route_is_the_one_that_adds_most_to_its_target(study):
    study.model.bank[12:] = 0.5  # grey, however it is reached: no route adds anything
    study.model.maps.matrices.data[0] = torch.eye(16)  # L1 leaves an image as it is
    vectors = measurements.inverses(study, FLIPS)
    mean = measurements.means(vectors)
    worst = mean[f"worst route/{FLIPS}"]
    assert worst == pytest.approx(
        max(mean[f"{a} to {b}/{FLIPS}"] for a in VARIANTS for b in VARIANTS)
    )
    assert mean[f"worst route, directly encoded/{FLIPS}"] < 1e-5


def test_the_reverse_is_held_against_the_trained_order_and_against_its_own(study):
    vectors = measurements.reverse(study, FLIPS)
    assert vectors[f"reverse/{FLIPS}"].max() < 1e-5  # the perfect maps commute
    against = vectors[f"reverse, A1(A2(x))/{FLIPS}"]
    assert against[:2].min() > 1000 and against[2:].max() < 1e-5
    own = vectors[f"directly encoded, A1(A2(x))/{FLIPS}"]
    assert own.shape == (4,) and own.max() < 1e-5
    assert vectors[f"orders agree/{FLIPS}"].tolist() == [0, 0, 1, 1]
    assert measurements.orders_agree(study, str(FLIPS)).keys() == {f"orders agree/{FLIPS}"}


@pytest.mark.parametrize(
    "text", ["canny", "flip_lr,flip_ud,canny", "flip_lr,flip_ud: A1 A2, A2, A1", str(TURNS)]
)
def test_only_a_pair_has_a_reverse(text, study):
    assert measurements.reverse(study, text) == {}
    with pytest.raises(InvalidInputError, match=re.escape(str(Family.parse(text)))):
        measurements.orders_agree(study, text)


def test_a_recursion_is_named_by_its_word_and_by_its_steps_where_they_are_not_the_papers(
    study, monkeypatch
):
    asked = []

    def recursion(model, images, word, steps):
        asked.append((len(images), word, steps))
        outputs = torch.zeros(steps + 1, len(images), 28, 28)
        outputs[2, 0, 0, 0] = 0.5  # only the first image has room to stray
        return outputs, None

    monkeypatch.setattr(scores, "recursion", recursion)
    (stable,) = measurements.recursion(study, FLIPS).items()
    assert stable[0] == f"stable under L1/{FLIPS}" and stable[1].tolist() == [1, 0, 0, 0]
    (name,) = measurements.recursion(study, FLIPS, "L1 L2", steps=9, n_images=2)
    assert name == f"stable under L1 L2 for 9 steps/{FLIPS}"
    assert asked == [(4, "L1", 7), (2, "L1 L2", 9)]


# --- transfer and ablations ----------------------------------------------------------------------


def test_a_head_is_measured_on_the_family_that_it_decodes(study):
    vectors = measurements.heads(study, str(ROTATE_FLIP), FLIPS)
    assert study.asked == [(ROTATE_FLIP, FLIPS)]
    assert f"head on {ROTATE_FLIP}/composed/{FLIPS}" in vectors
    mean = measurements.means(vectors)
    assert mean[f"mean image/total/{FLIPS}"] < mean[f"head on {ROTATE_FLIP}/total/{FLIPS}"]


def test_a_heatmap_has_a_native_decoder_and_a_head_for_every_cell(study):
    vectors = measurements.heatmap(study, HEATMAP_PAIRS[:2])
    cells = transfer.cells(
        measurements.means(vectors)
        | {f"{kind}/{pair}": 0.5 for kind in transfer.SEPARABILITIES for pair in HEATMAP_PAIRS},
        HEATMAP_PAIRS[:2],
    )
    assert len(cells) == len(study.asked) == 4 and cells["native"].max() < 1e-5


def test_a_heatmap_has_the_bits_of_its_cells_and_encodes_originals_once(monkeypatch):
    """A perfect encoder would hide which latents were used: here each family has a model of its own."""
    pairs = [Family.parse("flip_lr,flip_ud"), Family.parse("flip_ud,flip_lr")]
    models = {pair: spread(LAVAE(), seed=place).requires_grad_(False)
              for place, pair in enumerate(pairs)}  # fmt: skip
    head = spread(Decoder(), seed=2)
    study = SimpleNamespace(
        variants=lambda pair: variants(uint8_images(3), pair, split="test", seed=0),
        mean_images=lambda pair: torch.full((4, 28, 28), 0.5, dtype=torch.float64),
        lavae=models.get,
        transfer=lambda trained, evaluated: models[trained].with_head(str(evaluated), head),
    )
    cells = {}
    for evaluated in pairs:
        cells |= measurements.lavae(study, evaluated)
        for trained in pairs:
            cells |= measurements.heads(study, trained, evaluated)
    encoded = []
    monkeypatch.setattr(
        LAVAE, "encode", lambda self, x, was=LAVAE.encode: encoded.append(len(x)) or was(self, x)
    )
    vectors = measurements.heatmap(study, pairs)
    assert vectors.keys() == cells.keys()
    assert all(torch.equal(vectors[name], cells[name]) for name in cells)
    assert sum(encoded) == 3 * len(pairs) * len(pairs[0].words)


def test_ablations_go_through_maps_of_their_own(study):
    study.nonlinear = lambda family, width: spread(NonLinearMaps(), scale=1.0)
    study.joint = study.lavae
    study.through_maps = lambda family, weight: study.lavae(family) if weight == 3 else None
    mean = measurements.means(
        measurements.nonlinear(study, FLIPS)
        | measurements.joint(study, FLIPS)
        | measurements.trained_through_maps(study, FLIPS, "weight 3", weight=3)
    )
    assert mean[f"non-linear maps of width 8/original/{FLIPS}"] < 1e-5
    assert mean[f"non-linear maps of width 8/first/{FLIPS}"] > 1000
    for name in ("joint training", "weight 3"):
        assert mean[f"{name}/total/{FLIPS}"] < 1e-5
        assert mean[f"{name}, directly encoded/total/{FLIPS}"] < 1e-5


# --- identity ------------------------------------------------------------------------------------


def identity_of(study, outputs, monkeypatch) -> dict[str, float]:
    """The shares of a perfect LAVAE, and of a CVAE with these outputs (4, N, 28, 28)."""
    logits = (outputs.float() / 255).unsqueeze(2).logit(1e-6)
    monkeypatch.setattr(scores, "cvae_outputs", lambda *_: logits)
    return measurements.means(measurements.identity(study, FLIPS))


def test_identity_undoes_each_flip_by_itself(study, monkeypatch):
    mean = identity_of(study, study.model.images, monkeypatch)
    assert mean[f"identity/LAVAE/{FLIPS}"] == mean[f"identity/{CONDITIONAL}/{FLIPS}"] == 1
    assert mean[f"copies/LAVAE/{FLIPS}"] == mean[f"copies/{CONDITIONAL}/{FLIPS}"] < 0.7


def test_a_cvae_that_copies_its_input_is_not_one_that_augments(study, monkeypatch):
    mean = identity_of(study, study.model.images[:1].expand(4, -1, -1, -1), monkeypatch)
    assert mean[f"identity/{CONDITIONAL}/{FLIPS}"] < 0.7 < mean[f"identity/LAVAE/{FLIPS}"]
    assert mean[f"copies/{CONDITIONAL}/{FLIPS}"] == 1


def test_a_cvae_that_shows_other_images_has_neither(study, monkeypatch):
    others = study.model.images[:, [1, 2, 3, 0]]
    mean = identity_of(study, others, monkeypatch)
    assert mean[f"identity/{CONDITIONAL}/{FLIPS}"] == 0
    assert mean[f"identity/LAVAE/{FLIPS}"] == 1


def test_identity_is_for_flips_alone(study):
    with pytest.raises(InvalidInputError, match="'rotate_cw,flip_lr'.*'?flip_lr,flip_ud"):
        measurements.identity(study, ROTATE_FLIP)


# --- geometry ------------------------------------------------------------------------------------


def test_separation_is_of_the_regions_of_the_variants(study, monkeypatch):
    """Latents around four corners, 40 images each: a copy, and a copy that is half noise."""
    corners = 50 * torch.tensor([(0.0, 0.0), (2, 0), (0, 1), (1, 1)])
    noise = 0.01 * normal(4, 40, 2)
    noise[1], noise[3] = noise[0], 3 * noise[0]
    points = (corners[:, None] + noise).flatten(0, 1).numpy()
    names = [variant for variant in VARIANTS for _ in range(40)]
    monkeypatch.setattr(measurements.geometry, "variant_latents", lambda *_: (points, names))
    mean = measurements.means(measurements.separation(study, FLIPS))
    assert mean[f"probe/{FLIPS}"] == mean[f"neighbours/{FLIPS}"] == 1
    assert mean[f"asymmetry/{FLIPS}"] > 0.5  # of the second region, the worse one
    assert mean[f"region sizes/{FLIPS}"] == pytest.approx(3, rel=0.3)


def test_box_samples_are_of_the_latents_of_training_originals_and_of_the_seed(study):
    study.latents = lambda family: normal(500, 16) + 3
    samples = measurements.box_samples(study, FLIPS)
    assert samples.shape == (1000, 16) and abs(samples.mean() - 3) < 0.1
    assert samples.min() > 0.5 and samples.max() < 5.5  # nine tenths of each dimension
    narrow = measurements.box_samples(study, FLIPS, coverage=0.1)
    assert narrow.std() < 0.2 * samples.std()
    assert torch.equal(samples, measurements.box_samples(study, FLIPS))
    study.setting = SimpleNamespace(seed=1)
    assert not torch.equal(samples, measurements.box_samples(study, FLIPS))


def test_sampling_compares_the_box_with_the_first_half_of_the_test_originals(study, monkeypatch):
    groups = []

    def classified(model, family, images, *latents):
        groups.extend(latents)
        return [each.numpy()[:, 0] > 0.5 for each in latents]

    monkeypatch.setattr(measurements.geometry, "classified_as_originals", classified)
    study.latents = lambda family: normal(500, 16)
    vectors = measurements.sampling(study, FLIPS)
    box, prior, tested = groups
    assert box.shape == prior.shape == (1000, 16)
    assert abs(prior.mean()) < 0.05 and abs(prior.std() - 1) < 0.05
    shuffled = geometry.shuffled(study.model.images, 0)[0, :2]  # two of four
    assert torch.equal(tested, study.model.encode(shuffled[:, None] / 255)[0])
    assert vectors[f"originals are originals/{FLIPS}"].sum() == (tested[:, 0] > 0.5).sum()
    assert 0.2 < vectors[f"prior samples are originals/{FLIPS}"].mean() < 0.5
    share = vectors[f"box samples are originals/{FLIPS}"].mean()
    assert 0.2 < share < 0.5


# --- groups, and their place in the store --------------------------------------------------------


class Untrained(Known):
    """A study whose models have random weights."""

    def variants(self, family):
        return uint8_images(4, 40)

    def mean_images(self, family):
        return uint8_images(4) / 255

    def swapped(self, pair):
        return uint8_images(40)

    def lavae(self, family):
        return spread(LAVAE())

    joint = lavae

    def vae(self):
        return spread(LAVAE())

    def nonlinear(self, family, width):
        return NonLinearMaps()

    def latents(self, family):
        return normal(50, 16)

    def heatmap_pairs(self, count=None):
        return HEATMAP_PAIRS


def test_unknown_group():
    with pytest.raises(InvalidInputError, match="'x'"):
        Measurement(None, PROFILES["smoke"], "x")


def test_what_a_measurement_stands_on_is_in_its_key(monkeypatch):
    one = Measurement(Setting(0, Runtime("cpu", "fp32")), PROFILES["smoke"], "joint")
    before = one.spec()
    assert before["versions"].keys() >= {
        "stage1", "start", "latents", "maps", "head", "cvae", "joint", "nonlinear", "measurement",
    }  # fmt: skip
    assert before["augmentations"].keys() >= set(SHEAR_CANNY.generators)
    others = [
        replace(one, profile=PROFILES["quick"]),
        replace(one, group="flips"),
        replace(one, setting=replace(one.setting, seed=1)),
    ]
    assert len({store.key_of(each.spec()) for each in (one, *others)}) == 4
    monkeypatch.setattr(TransferHead, "VERSION", 99)
    assert one.spec() != before


@pytest.fixture
def counted(monkeypatch):
    """A group "flips" that measures the seed; the seeds for which it was measured."""
    seeds = []

    def measure(study):
        seeds.append(study.setting.seed)
        seed = torch.tensor([study.setting.seed]).float()
        return {"seed": seed, "the same": seed, "profile": torch.ones(2).bool()}

    monkeypatch.setitem(measurements.GROUPS, "flips", measure)
    return seeds


def test_each_seed_is_measured_once(home, counted):
    asking = Study("smoke", seed=7)
    for _ in range(2):
        vectors = measurements.by_seed(asking, [0, 2], ["flips"])
    assert {seed: each["seed"].tolist() for seed, each in vectors.items()} == {0: [0], 2: [2]}
    assert counted == [0, 2]  # and not the study's own
    assert vectors[0]["profile"].dtype == torch.float32


def test_what_another_machine_measured_is_taken_as_it_is(home, counted):
    measurement = Measurement(Setting(3, Runtime("cpu", "fp32")), PROFILES["smoke"], "flips")
    measurement.keep({"seed": torch.tensor([30.0])})
    assert load_or_train(measurement)["seed"].tolist() == [30] and counted == []
