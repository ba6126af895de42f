"""A group of augmentations from the maps of its generators: on image space itself, where it is exact."""

import pytest
import torch
from made_up import normal, uint8_images

from lavae_companion.beyond import groups, representations
from lavae_companion.beyond.groups import Orbit
from lavae_core.augmentations import apply, variants
from lavae_core.errors import InvalidInputError

SQUARE, FLIPS = Orbit("rotate_cw,flip_lr"), Orbit("flip_lr,flip_ud")
IMAGES = uint8_images(40)


def latents(dims: int = 10) -> torch.Tensor:
    """(8, 400, d) under a representation of the square, all elements in their order."""
    counts = {"++": 2, "+-": 1, "-+": 1, "--": 0, "2-dim": (dims - 4) // 2}
    blocks = representations.block_diagonal(SQUARE.parts, counts)
    basis = torch.eye(dims).double() + 0.1 * normal(dims, dims).double()
    return (normal(400, dims).double() @ torch.linalg.inv(basis) @ blocks @ basis).float()


def singles(z: torch.Tensor) -> torch.Tensor:
    return z[[0, SQUARE.group.place("L1"), SQUARE.group.place("L2")]]


@pytest.mark.parametrize("name", ["rotate_cw", "flip_ud", "rotate_ccw"])
def test_pixels_move_as_the_augmentation_says(name):
    moved = IMAGES.flatten(1)[:, groups.pixel_permutation(name)].view_as(IMAGES)
    assert torch.equal(moved, apply(name, IMAGES))


def test_an_orbit_has_the_variants_of_its_group():
    assert len(SQUARE.family.words) == 8 and len(FLIPS.family.words) == 4
    images = variants(IMAGES, SQUARE.family, split="test", seed=0)
    for word, image in zip(SQUARE.group.words, images, strict=True):
        assert torch.equal(SQUARE.moved(IMAGES, word), image)
    assert len({image.numpy().tobytes() for image in images}) == 8


def test_the_same_group_of_other_generators():
    other = Orbit("flip_lr,flip_ud,rotate_cw")
    places = SQUARE.places_of(other)
    assert sorted(places) == list(range(8))
    for word, place in zip(other.group.words, places, strict=True):
        assert torch.equal(
            other.moved(IMAGES, word), SQUARE.moved(IMAGES, SQUARE.group.words[place])
        )


def test_perfect_latents_give_perfect_maps_of_every_kind():
    z, given = latents(), groups.moments(singles(latents()))
    relators = SQUARE.group.relators()
    fitted = {"means": groups.fit(given), "relators": groups.fit(given, relators)}
    fitted["exact"] = groups.represent(given, SQUARE, fitted["means"]).maps
    for maps in fitted.values():
        assert max(representations.residuals(maps, relators).values()) < 1e-4
        elements = representations.elements(SQUARE.group, maps)
        assert ((z[0].double() @ elements) - z).abs().max() < 1e-3
        assert groups.retrieved(z[0], elements, z) == 1


def test_relators_bring_noisy_maps_nearer_and_a_representation_satisfies_them():
    z = singles(latents()) + 0.3 * normal(3, 400, 10, seed=1)
    given, relators = groups.moments(z), SQUARE.group.relators()
    plain, near = groups.fit(given), groups.fit(given, relators)
    exact = groups.represent(given, SQUARE, near)
    worst = [max(representations.residuals(each, relators).values())
             for each in (plain, near, exact.maps)]  # fmt: skip
    assert worst[0] > 0.05 > worst[1] > 1e-12 and worst[2] < 1e-12
    errors = [float(given.expected_error(each.matrices)) for each in (plain, near, exact.maps)]
    assert errors[0] < errors[1] and errors[2] < 1.2 * errors[0]
    assert exact.names(SQUARE.parts) == ["++"] * 2 + ["+-", "-+"] + ["2-dim"] * 6


def test_a_relator_that_does_not_hold_keeps_a_residual():
    given = groups.moments(singles(latents()))
    maps = groups.fit(given, ["L1^3"], weight=1e-3)
    assert representations.residuals(maps, ["L1^3"])["L1^3"] > 0.3


def test_costs_of_elements_and_edges_are_those_of_their_words():
    z, images = latents(), variants(uint8_images(400), SQUARE.family, split="test", seed=0)
    maps = groups.fit(groups.moments(singles(z)))
    bank = normal(10, 784)

    def decode(code):
        return (code @ bank).view(-1, 1, 28, 28)

    elements = representations.elements(SQUARE.group, maps)
    by_element = groups.costs(decode, z[0], elements, images)
    assert len(by_element) == 8
    assert by_element[1] == pytest.approx(
        groups.cost(decode, z[1], elements[0], images[1]), rel=1e-3
    )
    edges = groups.edge_costs(decode, z[0], SQUARE, maps, images)
    assert len(edges) == 16 and edges.groupby("generator")["end"].nunique().tolist() == [8, 8]
    first = edges[edges["start"] == 0].set_index("end")["cost"]
    assert first[1] == pytest.approx(by_element[1]) and first[2] == pytest.approx(by_element[2])


def test_useless_latents_find_the_right_pose_by_chance_only():
    own = normal(8, 50, 10)
    useless = torch.eye(10).expand(8, 10, 10)
    assert groups.retrieved(own[0], useless, own) == 1 / 8


def test_components_are_an_exact_representation():
    images = variants(uint8_images(30), FLIPS.family, split="test", seed=0)
    pca = groups.Components(images, 16)
    z = groups.latents(pca, images)
    maps = groups.fit(groups.moments(z[:3]))
    assert max(representations.residuals(maps, FLIPS.group.relators()).values()) < 1e-3
    assert pca.decode(z[0]).shape == (30, 1, 28, 28)
    mean, own = (
        groups.cost(pca.decode, factor * z[0], torch.eye(16), images[0]) for factor in (0, 1)
    )
    assert own < mean


def test_a_longer_word_as_text():
    assert groups.as_text([(0, 1), (1, -1)]) == "L1^1 L2^-1"


REFUSED = {
    "an unknown augmentation": (lambda: Orbit("flip_lr,flap"), "flap"),
    "one that is drawn": (lambda: Orbit("flip_lr,shear_x"), "shear_x"),
    "one that changes pixels": (lambda: Orbit("mini_image"), "mini_image"),
    "another group": (lambda: SQUARE.places_of(FLIPS), "flip_ud"),
    "latents that do not vary": (lambda: groups.fit(groups.moments(torch.zeros(3, 50, 4))), "singular"),
}  # fmt: skip


@pytest.mark.parametrize(("ask", "value"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(ask, value):
    with pytest.raises(InvalidInputError) as caught:
        ask()
    assert value in str(caught.value) and "\n" not in str(caught.value)
