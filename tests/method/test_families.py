"""Families: which words they have, how they are read and written, and the variants they make."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up import uint8_images

from lavae_core.augmentations import AUGMENTATIONS, Family, apply, variants
from lavae_core.errors import InvalidInputError

D4 = Family.parse("rotate_cw,flip_lr: A1, A1^2, A1^3, A2, A1 A2, A1^2 A2, A1^3 A2")
SOME = ("flip_lr,flip_ud", "shear_x,canny", "mini_image,edge_detect", "salt_and_pepper,rotate_cw")


# --- generators and words ------------------------------------------------------------------------


def test_one_generator_has_two_variants():
    family = Family(("canny",))
    assert family.words == ("", "A1")
    assert family.latent_words == {"original": "", "A1": "L1"}
    assert (family.orders, str(family)) == ((None,), "canny")


def test_a_pair_has_the_papers_four_variants():
    pair = Family.parse("rotate_cw, flip_lr")
    assert pair == Family(("rotate_cw", "flip_lr"))
    assert pair.words == ("", "A1", "A2", "A1 A2")
    assert pair.variants == ("original", "first", "second", "composed")
    assert list(pair.latent_words.values()) == ["", "L1", "L2", "L1 L2"]
    assert pair.orders == (4, 2)
    assert str(pair) == "rotate_cw,flip_lr"  # as in the keys of all models so far


def test_three_generators_have_the_products_of_all_subsets():
    family = Family.parse("flip_lr,flip_ud,shear_x")
    assert family.words == ("", "A1", "A2", "A3", "A1 A2", "A1 A3", "A2 A3", "A1 A2 A3")
    assert family.variants == ("original", *family.words[1:])
    assert family.latent_words["A1 A3"] == "L1 L3"
    assert family.letters == ("A1", "A2", "A3") and family.orders == (2, 2, None)
    assert str(family) == "flip_lr,flip_ud,shear_x"


def test_the_group_of_the_square():
    assert D4.words == ("", "A1", "A1^2", "A1^3", "A2", "A1 A2", "A1^2 A2", "A1^3 A2")
    assert D4.latent_words["A1^3 A2"] == "L1^3 L2"
    assert D4.orders == (4, 2)
    assert Family.parse(str(D4)) == D4 and Family.parse(D4) is D4


def test_lists_are_taken_as_tuples():
    family = Family(["flip_lr", "canny"], ["", "A2"])
    assert family == Family(("flip_lr", "canny"), ("", "A2")) and len({family}) == 1


def test_the_longest_words_are_read_back():
    family = Family(("flip_lr",), ("", "A1^998 A1"))
    assert family.words == ("", "A1^999") and Family.parse(str(family)) == family
    with pytest.raises(InvalidInputError, match="A1"):
        Family(("flip_lr",), ("", "A1^999 A1"))


def test_a_family_with_its_default_words_is_written_without_them():
    pair = Family.parse("flip_lr,flip_ud: A1, A2, A1 A2")
    assert pair == Family.parse("flip_lr,flip_ud") and str(pair) == "flip_lr,flip_ud"
    other = Family.parse("flip_lr,flip_ud: A2, A1, A1 A2")
    assert other != pair and str(other) == "flip_lr,flip_ud: A2, A1, A1 A2"
    assert other.variants == ("original", "A2", "A1", "A1 A2")


def test_a_repeated_letter_is_written_as_a_power():
    family = Family(("rotate_cw", "flip_lr"), ("", "A1 A1", "A2 A1^2 A1", "A1 A2 A1"))
    assert family.words == ("", "A1^2", "A2 A1^3", "A1 A2 A1")


def test_the_maps_are_fitted_to_originals_and_single_variants():
    assert D4.singles == Family(("rotate_cw", "flip_lr"), ("", "A1", "A2"))
    assert D4.singles.latent_words == {"original": "", "A1": "L1", "A2": "L2"}


@st.composite
def families(draw) -> Family:
    names = st.lists(st.sampled_from(sorted(AUGMENTATIONS)), min_size=1, max_size=3, unique=True)
    generators = tuple(draw(names))
    letter = st.sampled_from([f"A{i + 1}" for i in range(len(generators))])
    word = st.lists(letter, min_size=1, max_size=4).map(" ".join)
    words = draw(st.none() | st.lists(word, min_size=1, max_size=5, unique=True))
    return Family(generators, None if words is None else ("", *words))


@given(families())
def test_what_is_written_is_the_same_family(family):
    assert Family.parse(str(family)) == family
    assert Family(family.generators, family.words) == family
    assert len({family, Family.parse(f" {family} ")}) == 1
    assert len(family.latent_words) == len(family.words) == len(set(family.words))


REFUSED = {
    "unknown generator": (("flip_lr,flop",), "'flop'"),
    "empty name": (("flip_lr,",), "''"),
    "no generator": (("",), "''"),
    "no text": ((None,), "None"),
    "repeated generator": (("flip_lr,flip_ud,flip_lr",), "'flip_lr'"),
    "no words": (("flip_lr,flip_ud:",), "''"),
    "no such letter": (("flip_lr,flip_ud: A1, A3",), "'A3'"),
    "letter zero": (("flip_lr: A0",), "'A0'"),
    "latent letter": (("flip_lr: L1",), "'L1'"),
    "the same word": (("flip_lr,flip_ud: A1, A2, A1",), "'A1'"),
    "the same variant": (("rotate_cw: A1 A1, A1^2",), r"'A1 A1' .* 'A1\^2'"),
    "the original twice": (("flip_lr: A1, ",), "''"),
    "negative power": (("rotate_cw: A1^-1",), r"A1\^-1"),
    "power zero": (("rotate_cw: A1^0",), r"A1\^0"),
    "power that is no number": (("rotate_cw: A1^x",), r"A1\^x"),
}


@pytest.mark.parametrize(("text", "value"), REFUSED.values(), ids=REFUSED)
def test_text_that_is_refused(text, value):
    with pytest.raises(InvalidInputError, match=value) as caught:
        Family.parse(*text)
    assert "\n" not in str(caught.value)


REFUSED_FIELDS = {
    "no generators": (((),), r"\(\)"),
    "a number": ((("flip_lr", 3),), "3"),
    "no words": ((("flip_lr",), ()), r"\(\)"),
    "words without the original": ((("flip_lr", "flip_ud"), ("A1", "A2")), "A1"),
    "the original later": ((("flip_lr", "flip_ud"), ("A1", "")), "A1"),
    "text for words": ((("flip_lr",), "A1"), "A1"),
    "a word that is no text": ((("flip_lr",), ("", 7)), "7"),
}


@pytest.mark.parametrize(("fields", "value"), REFUSED_FIELDS.values(), ids=REFUSED_FIELDS)
def test_fields_that_are_refused(fields, value):
    with pytest.raises(InvalidInputError, match=value):
        Family(*fields)


# --- variants ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", SOME)
def test_variants_of_a_pair_are_the_corners_of_the_augmentation_graph(text):
    pair, images = Family.parse(text), uint8_images(6)
    draws = {"split": "train", "seed": 2, "indices": [5, 3, 8, 0, 1, 9]}
    first, second = (apply(name, images, **draws) for name in pair.generators)
    expected = [images, first, second, apply(pair.generators[1], first, **draws)]
    assert torch.equal(variants(images, pair, **draws), torch.stack(expected))


def test_a_word_acts_from_left_to_right_with_one_draw_for_each_augmentation():
    family = Family(("salt_and_pepper", "rotate_cw"), ("", "A2 A1", "A1 A2", "A1^2"))
    images = uint8_images(3)
    _, turned_first, noisy_first, twice = variants(images, family, split="test", seed=1)
    noisy = apply("salt_and_pepper", images, seed=1)
    assert torch.equal(noisy_first, apply("rotate_cw", noisy))
    assert torch.equal(turned_first, apply("salt_and_pepper", apply("rotate_cw", images), seed=1))
    assert not torch.equal(turned_first, noisy_first)
    assert torch.equal(twice, noisy)  # the second time it hits the same pixels


def test_the_group_of_the_square_has_eight_variants_and_is_closed():
    images = uint8_images(2)
    made = variants(images, D4, split="test", seed=0)
    for word, variant in zip(D4.words, made, strict=True):
        turns = 3 if "A1^3" in word else 2 if "A1^2" in word else 1 if "A1" in word else 0
        expected = torch.rot90(images, -turns, (1, 2))
        assert torch.equal(variant, expected.flip(2) if "A2" in word else expected)
    known = {tuple(variant.flatten().tolist()) for variant in made}
    assert len(known) == 8
    for name in D4.generators:
        again = {tuple(apply(name, variant).flatten().tolist()) for variant in made}
        assert again == known


def test_three_generators_make_eight_variants():
    family, images = Family.parse("flip_lr,rotate_cw,canny"), uint8_images(2)
    made = dict(zip(family.words, variants(images, family, split="test", seed=0), strict=True))
    turned = torch.rot90(images.flip(2), -1, (1, 2))
    assert torch.equal(made["A1 A2"], turned)
    assert torch.equal(made["A1 A2 A3"], apply("canny", turned))
    assert torch.equal(made["A2 A3"], apply("canny", torch.rot90(images, -1, (1, 2))))


@pytest.mark.parametrize("count", [0, 1])
def test_variants_of_few_images(count):
    made = variants(uint8_images(count), D4, split="train", seed=0)
    assert made.shape == (8, count, 28, 28) and made.dtype == torch.uint8


@pytest.mark.parametrize(
    ("change", "value"),
    [({"split": "tset"}, "tset"), ({"seed": -1}, "-1"), ({"indices": [0]}, r"\(1,\)"),
     ({"images": uint8_images(2).float()}, "float32"), ({"seed": math.nan}, "nan")],
)  # fmt: skip
def test_variants_refuse_what_an_augmentation_refuses(change, value):
    arguments = {"images": uint8_images(2), "family": D4, "split": "test", "seed": 0}
    with pytest.raises(InvalidInputError, match=value):
        variants(**arguments | change)
