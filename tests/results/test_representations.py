"""Groups and representations against groups built by hand: the square's symmetries and Z2^k."""

import pytest
import torch
from made_up import normal
from torch.testing import assert_close

from lavae_companion.beyond import representations as reps
from lavae_companion.beyond.representations import Group, generated, irreps
from lavae_core.errors import InvalidInputError
from lavae_core.latent_maps import LatentMaps

TURN, MIRROR = (1, 2, 3, 0), (1, 0, 3, 2)  # of a square's corners
D4 = generated([TURN, MIRROR])
Z2_CUBED = generated([(1, 0, 2, 3, 4, 5), (0, 1, 3, 2, 4, 5), (0, 1, 2, 3, 5, 4)])
Z4 = generated([TURN])
# Of "", L1^2, L1, L2, L1 L2 (the five classes): any book's character table of the square.
D4_TABLE = {
    "++": [1, 1, 1, 1, 1],
    "+-": [1, 1, 1, -1, -1],
    "-+": [1, 1, -1, 1, -1],
    "--": [1, 1, -1, -1, 1],
    "2-dim": [2, -2, 0, 0, 0],
}
COUNTS = {"++": 3, "+-": 1, "-+": 2, "--": 0, "2-dim": 2}  # 10 dimensions


def representation(counts=COUNTS, seed: int = 0) -> torch.Tensor:
    """(8, d, d) of D4, in a basis that is not orthogonal."""
    blocks = reps.block_diagonal(irreps(D4), counts)
    basis = torch.eye(blocks.shape[-1]) + 0.2 * normal(*blocks.shape[1:], seed=seed)
    return torch.linalg.inv(basis.double()) @ blocks @ basis.double()


def maps_of(matrices: torch.Tensor) -> LatentMaps:
    maps = LatentMaps(2, matrices.shape[-1])
    maps.matrices.data = matrices[[D4.words.index("L1"), D4.words.index("L2")]]
    return maps.requires_grad_(False)


def test_two_generators_make_the_eight_symmetries_of_the_square():
    assert D4.words == ("", "L1", "L2", "L1^2", "L1 L2", "L2 L1", "L1^3", "L1^2 L2")
    assert D4.generators == ["L1", "L2"] and D4.relators() == ["L2^2", "L1^4", "L1 L2 L1 L2"]
    assert D4.place("L1^4") == D4.place("L2 L1 L2 L1") == D4.place("L1^-1 L1") == 0
    assert D4.place("L1 L2") == D4.place("L2 L1^-1") == D4.place("L2 L1^3") != D4.place("L2 L1")
    everything = torch.arange(8)
    assert (D4.table[everything, D4.inverses] == 0).all()


def test_words_are_read_from_left_to_right():
    corners = torch.arange(4)
    by_word = corners[list(TURN)][list(MIRROR)]  # first turned, then mirrored
    place = D4.place("L1 L2")
    matrix = torch.eye(4)[list(TURN)].t() @ torch.eye(4)[list(MIRROR)].t()
    assert_close(corners.float() @ matrix, by_word.float())
    assert D4.words[place] == "L1 L2" and D4.place("L2 L1") != place


@pytest.mark.parametrize(
    ("group", "relators"),
    [
        (generated([MIRROR, (3, 2, 1, 0)]), ["L1^2", "L2^2", "L1 L2 L1 L2"]),
        (Z4, ["L1^4"]),
        (generated([TURN, (3, 0, 1, 2)]), ["L1 L2", "L1^4", "L2^4"]),
    ],
    ids=["two flips", "a turn", "a turn and its inverse"],
)
def test_relators_of_other_groups(group, relators):
    assert group.relators() == relators


def test_three_generators_of_the_square_have_the_relation_of_the_turn_with_the_flips():
    flips = generated([MIRROR, (3, 2, 1, 0), TURN])
    assert len(flips.words) == 8 and "L1 L2 L3^2" in flips.relators()


def test_characters_of_the_square_are_those_of_the_books():
    places = [D4.place(word) for word in ("", "L1^2", "L1", "L2", "L1 L2")]
    parts = irreps(D4)
    measured = {name: reps.character(rho)[places] for name, rho in parts.items()}
    assert list(measured) == list(D4_TABLE)
    for name, row in D4_TABLE.items():
        assert_close(measured[name], torch.tensor(row).double())


def test_characters_of_three_commuting_involutions_are_all_signs():
    parts = irreps(Z2_CUBED)
    assert {name for name in parts} == {a + b + c for a in "+-" for b in "+-" for c in "+-"}
    for name, rho in parts.items():
        signs = [1 if sign == "+" else -1 for sign in name]
        for word, value in zip(Z2_CUBED.words, rho.flatten().tolist(), strict=True):
            used = [signs[int(letter[1]) - 1] for letter in word.split()]
            assert value == pytest.approx(torch.tensor(used).prod().item() if used else 1)


@pytest.mark.parametrize("group", [D4, Z2_CUBED, Z4], ids=["D4", "Z2^3", "Z4"])
def test_every_irreducible_part_is_an_orthogonal_representation(group):
    for rho in irreps(group).values():
        assert_close(rho[:, None] @ rho[None], rho[group.table])
        assert_close(rho @ rho.mT, torch.eye(rho.shape[-1]).double().expand_as(rho))


def test_multiplicities_and_projectors_of_a_representation():
    parts, matrices = irreps(D4), representation()
    measured = reps.multiplicities(parts, matrices)
    assert measured == pytest.approx(COUNTS, abs=1e-9)
    assert reps.whole_multiplicities(parts, measured, 10) == COUNTS
    found = reps.projectors(D4, parts, matrices)
    assert_close(sum(found.values()), torch.eye(10).double())
    for name, each in found.items():
        assert_close(each @ each, each)
        assert each.trace().item() == pytest.approx(COUNTS[name] * len(parts[name][0]))
    turns = {"+": 1, "-": 2, "2-dim": 2}  # of a turn alone: the plane is irreducible over the reals
    blocks = reps.block_diagonal(irreps(Z4), turns)
    assert reps.multiplicities(irreps(Z4), blocks) == pytest.approx(turns)
    assert_close(sum(reps.projectors(Z4, irreps(Z4), blocks).values()), torch.eye(7).double())


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_averaging_makes_a_representation_exact_and_stays_near(noise):
    parts, true = irreps(D4), representation()
    given = true + noise * normal(*true.shape, seed=3)
    q = reps.intertwiner(D4, parts, COUNTS, given)
    blocks = reps.block_diagonal(parts, COUNTS)
    exact = torch.linalg.inv(q) @ blocks @ q
    assert_close(exact[:, None] @ exact[None], exact[D4.table])
    assert (exact - true).abs().max() <= 20 * noise + 1e-9
    assert max(reps.residuals(maps_of(exact), D4.relators()).values()) < 1e-9
    inexact = max(reps.residuals(maps_of(given), D4.relators()).values())
    assert (inexact > 0.01) == (noise > 0)
    assert_close(reps.elements(D4, maps_of(exact)), exact)


def test_identities_are_copies_of_the_trivial_part_and_zeros_are_none():
    parts = irreps(D4)
    trivial = dict.fromkeys(COUNTS, 0) | {"++": 6}
    assert reps.multiplicities(parts, torch.eye(6).expand(8, 6, 6)) == pytest.approx(trivial)
    assert set(reps.multiplicities(parts, torch.zeros(8, 6, 6)).values()) == {0.0}
    zeros = maps_of(torch.zeros(8, 6, 6))
    assert reps.residuals(zeros, ["L1^4", "L2^2"]) == pytest.approx({"L1^4": 1, "L2^2": 1})


def other(row: int, column: int, value: int) -> torch.Tensor:
    table = D4.table.clone()
    table[row, column] = value
    return table


LOOP = [[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]]
REFUSED = {
    "a table of another size": (lambda: Group(("", "L1"), D4.table), "2"),
    "a table of floats": (lambda: Group(D4.words, D4.table.double()), "float64"),
    "no identity": (lambda: Group(D4.words, D4.table.flip(0)), "0"),
    "an element twice": (lambda: Group(D4.words, other(1, 1, 1)), "twice"),
    "not associative": (lambda: Group(("", "L1", "L2", "L3", "L4"), torch.tensor(LOOP)), "1, 1"),
    "an element beyond the table": (lambda: Group(D4.words, other(1, 1, 9)), "twice"),
    "no permutation": (lambda: generated([TURN, (0, 0, 1, 2)]), "2"),
    "the identity": (lambda: generated([(0, 1, 2, 3)]), "1"),
    "one generator twice": (lambda: generated([TURN, TURN]), "2"),
    "too many products": (lambda: generated([(1, 2, 3, 4, 0), (1, 0, 2, 3, 4)]), "100"),
    "an unknown letter": (lambda: D4.place("L1 L3"), "L3"),
    "multiplicities that cannot fill": (
        lambda: reps.whole_multiplicities(irreps(Z4), {"2-dim": 1.2}, 5), "5"),
    "useless matrices": (
        lambda: reps.intertwiner(D4, irreps(D4), COUNTS, torch.zeros(8, 10, 10)), "-+"),
    "a part that is not there": (
        lambda: reps.intertwiner(D4, irreps(D4), {"++": 10}, representation()), "10"),
    "counts for fewer dimensions": (
        lambda: reps.intertwiner(D4, irreps(D4), {"++": 1}, representation()), "1"),
}  # fmt: skip


@pytest.mark.parametrize(("ask", "value"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(ask, value):
    with pytest.raises(InvalidInputError) as caught:
        ask()
    assert value in str(caught.value) and "\n" not in str(caught.value)
