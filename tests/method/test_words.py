"""Words of latent maps: how they are read, and their inverses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavae_core.errors import InvalidInputError
from lavae_core.latent_maps import MAX_POWER, inverse_word, parse_word

NAMES = ["L1", "L2", "L3"]
letters = st.tuples(st.sampled_from(NAMES), st.integers(-MAX_POWER, MAX_POWER))


def written(word: list[tuple[str, int]]) -> str:
    return " ".join(f"{name}^{power}" for name, power in word)


def test_a_word_is_a_list_of_powers():
    assert parse_word("L1 L2^-1  L1^12", NAMES) == [(0, 1), (1, -1), (0, 12)]
    assert parse_word("flip", ["flip"]) == [(0, 1)]
    assert parse_word(" ", NAMES) == parse_word("", []) == []


@given(st.lists(letters, max_size=4))
def test_what_is_written_is_what_is_read(word):
    assert parse_word(written(word), NAMES) == [(NAMES.index(name), n) for name, n in word]


@given(st.lists(letters, max_size=4))
def test_an_inverse_is_the_opposite_powers_in_the_opposite_order(word):
    inverse = inverse_word(written(word))
    assert parse_word(inverse, NAMES) == [(NAMES.index(name), -n) for name, n in reversed(word)]
    assert parse_word(inverse_word(inverse), NAMES) == parse_word(written(word), NAMES)


def test_an_inverse_is_written_as_a_person_would():
    assert inverse_word("L1 L2^-1 L3^2") == "L3^-2 L2 L1^-1"
    assert inverse_word("") == ""


UNREADABLE = {
    "L1^": r"L1\^",
    "L1^x": r"L1\^x",
    "L1^1.5": r"L1\^1\.5",
    "L1^2^2": r"L1\^2\^2",
    "L2 ^-1": r"'\^-1'",
    "L1^1001": "1001",
    "L1 L2^-1001": "-1001",
    7: "7",
    None: "None",
    ("L1",): "L1",
}
UNKNOWN = {"L4": "'L4'", "L1 l2": "'l2'", "L1L2": "'L1L2'", "L0^2": "'L0'"}


@pytest.mark.parametrize(("word", "value"), (UNREADABLE | UNKNOWN).items(), ids=str)
def test_words_that_are_refused(word, value):
    with pytest.raises(InvalidInputError, match=value):
        parse_word(word, NAMES)


@pytest.mark.parametrize(("word", "value"), UNREADABLE.items(), ids=str)
def test_words_that_have_no_inverse(word, value):
    with pytest.raises(InvalidInputError, match=value):
        inverse_word(word)
