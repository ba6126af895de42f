"""Families beyond pairs, on real images: three generators, and the eight symmetries of the square.

A small training through all stages: it shows that every stage takes any family, not how good it gets.
"""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from lavae_companion import data
from lavae_companion.experiments import Setting
from lavae_companion.profiles import PROFILES
from lavae_companion.results import measurements, scores
from lavae_companion.study import Study
from lavae_core import runtime
from lavae_core.augmentations import Family
from lavae_core.errors import InvalidInputError
from lavae_core.latent_maps import LatentMaps
from lavae_core.models import encode

USELESS = 784 * math.log(2)  # the error of 0.5 for every pixel
D4_WORDS = "A1, A1^2, A1^3, A2, A1 A2, A1^2 A2, A1^3 A2"
FAMILIES = {
    "three generators": ("flip_lr,flip_ud,rotate_cw", "rotate_ccw,gaussian_blur,flip_lr"),
    "D4": (f"rotate_cw,flip_lr: {D4_WORDS}", f"rotate_ccw,flip_ud: {D4_WORDS}"),
}


@pytest.fixture(scope="module", params=FAMILIES)
def trained(request, mnist, tmp_path_factory):
    """A study with its own store, a trained family, the LAVAE, and another family of its words."""
    family, other = map(Family.parse, FAMILIES[request.param])

    def load(split, dataset="mnist", limit=None):
        return data.ImageSet(mnist(split).images[:limit], mnist(split).labels[:limit])

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAVAE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(data, "load", load)
        setting = Setting(0, runtime.start("cpu", "fp32"), n_train=1000)
        study = Study.of(replace(PROFILES["smoke"], n_test=100), setting)
        yield SimpleNamespace(study=study, family=family, other=other, model=study.lavae(family))


def test_there_is_a_map_for_every_generator_and_a_score_for_every_word(trained):
    family, model = trained.family, trained.model
    assert len(model.maps.matrices) == len(family.generators) < len(family.words) == 8
    vectors = measurements.lavae(trained.study, family)
    table = measurements.table(vectors, family, ["LAVAE", "directly encoded", "mean image"])
    assert list(table.columns) == [*family.variants, "total"]
    assert all(torch.isfinite(each).all() and len(each) == 100 for each in vectors.values())
    assert table.loc["directly encoded"].drop("total").max() < 0.5 * USELESS


def test_the_empty_word_is_the_direct_encoding(trained):
    images = trained.study.variants(trained.family)
    mapped = scores.through_maps(trained.model, trained.family, images)
    direct = scores.directly_encoded(trained.model, trained.family, images)
    assert torch.equal(mapped["original"], direct["original"])
    assert not torch.equal(mapped["A1"], direct["A1"])


def test_words_lead_to_their_variants_though_only_generators_were_fitted(trained):
    images, family = trained.study.variants(trained.family), trained.family
    mapped = scores.through_maps(trained.model, family, images)
    unmapped = scores.through_maps(
        trained.model, family, images, maps=LatentMaps(len(family.generators))
    )
    better = [mapped[word][0].mean() < unmapped[word][0].mean() for word in family.variants[1:]]
    assert all(better)


def test_a_word_of_powers_is_its_letters_one_after_the_other(trained):
    maps, (mu, _) = trained.model.maps, encode(trained.model, trained.study.test_set.images)
    for word in trained.family.latent_words.values():
        z = mu
        for letter in word.split():
            name, _, power = letter.partition("^")
            for _ in range(int(power or 1)):
                z = maps(z, name)
        torch.testing.assert_close(maps(mu, word), z, rtol=1e-3, atol=1e-3)


def test_inverses_lead_from_any_variant_to_any_other(trained):
    routes = scores.any_to_any(
        trained.model, trained.family, trained.study.variants(trained.family)
    )
    assert len(routes) == 8 * 7 and all(torch.isfinite(each).all() for each in routes.values())


def test_a_head_decodes_another_family_of_the_same_words(trained):
    study, other = trained.study, trained.other
    model = study.transfer(trained.family, other)
    assert list(model.decoders) == ["native", str(other)]
    images = study.variants(other)
    by_head = scores.through_maps(model, other, images, str(other))
    by_native = scores.through_maps(model, other, images)
    assert tuple(by_head) == other.variants
    assert max(each[0].mean() for each in by_head.values()) < 0.5 * USELESS
    assert by_head["A1"][0].mean() < by_native["A1"][0].mean()


@pytest.mark.parametrize("text", ["flip_lr,flip_ud", "rotate_ccw,flip_ud", "canny"])
def test_a_head_for_other_words_is_refused(trained, text):
    with pytest.raises(InvalidInputError) as caught:
        trained.study.transfer(trained.family, text)
    assert text in str(caught.value) and str(trained.family) in str(caught.value)
