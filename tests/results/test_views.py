"""Rendered views: exact symmetries, occlusion, and the arithmetic of words of camera steps."""

import numpy as np
import pytest
import torch
from made_up import generator, normal, spread, uint8_images

from lavae_companion.beyond import camera, view_models, views
from lavae_companion.comparisons import CVAE
from lavae_companion.results import fits
from lavae_core.augmentations import to_float
from lavae_core.errors import InvalidInputError
from lavae_core.losses import negative_elbo, posterior_samples

BODIES = pytest.mark.parametrize("body", views.BODIES)


@BODIES
def test_the_front_view_is_the_digit_itself(body):
    images = uint8_images(5)
    assert torch.equal(views.render(images, body, (0, 0)), images)


@BODIES
@pytest.mark.parametrize("angle", [20, 40])
def test_opposite_angles_mirror_a_symmetric_digit(body, angle):
    images = uint8_images(5)
    for axis, one, other in [(-1, (angle, 0), (-angle, 0)), (-2, (0, angle), (0, -angle))]:
        symmetric = torch.maximum(images, images.flip(axis))
        left, right = (views.render(symmetric, body, view) for view in (one, other))
        assert torch.equal(left.flip(axis), right)
        assert not torch.equal(left, right)


@BODIES
def test_a_render_is_deterministic_and_of_each_image_alone(body):
    images = uint8_images(7)
    once = views.render(images, body, (20, -20))
    assert torch.equal(once, views.render(images, body, (20, -20)))
    assert torch.equal(once[3:5], views.render(images[3:5], body, (20, -20)))
    assert torch.equal(views.render_all(images, body)[views.VIEWS.index((20, -20))], once)


def test_the_plane_is_foreshortened_as_the_pinhole_says():
    line = torch.zeros(1, 28, 28, dtype=torch.uint8)
    line[0, :, 23:25] = 255  # its middle is at x = 10
    seen = views.render(line, "tilt", (40, 0))[0, 14].double()
    middle = (seen * (torch.arange(28) - 13.5)).sum() / seen.sum()
    x, z = 10 * np.cos(np.deg2rad(40)), -10 * np.sin(np.deg2rad(40))
    assert abs(middle - x / (1 - z / 60)) < 0.1


def test_the_front_of_a_slab_hides_what_is_behind_it():
    block = torch.zeros(1, 28, 28, dtype=torch.uint8)
    block[0, 8:20, 12:16] = 255
    hidden = block.clone()
    hidden[0, :, 14] = 100  # a groove in the block, one pixel wide
    row = views.render(block, "slab", (40, 0))[0, 14]
    assert row.max() == 255
    side = row[(row > 0) & (row < 255)]
    assert ((side > 100) & (side < 180)).any()  # of the darker layers
    width = (row > 100).sum()
    assert width > (views.render(block, "tilt", (40, 0))[0, 14] > 100).sum()


@pytest.mark.parametrize(
    ("body", "view", "value"),
    [("cube", (0, 0), "cube"), ("slab", (61, 0), "61"), ("tilt", (0, -90), "-90")],
)
def test_what_cannot_be_rendered_is_refused(body, view, value):
    with pytest.raises(InvalidInputError, match=value):
        views.render(uint8_images(1), body, view)


def test_no_word_was_trained_as_a_pair():
    letters = {views.word_between(*way) for way in view_models.WAYS}
    assert letters == {(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)}
    assert len(view_models.WAYS) == 9 + 24
    longer = [way for ways in camera.WAYS.values() for way in ways if way not in view_models.WAYS]
    assert {sum(views.word_between(*way)) for way in longer} == {1, 2, 3, 4}  # 1: to a yaw of 40
    places = torch.tensor(view_models.SQUARES)
    assert places.unique().tolist() == list(range(9))
    for letter, row in zip([(0, 0), (1, 0), (0, 1), (1, 1)], places, strict=True):
        for start, end in zip(places[0], row, strict=True):
            assert views.word_between(views.VIEWS[start], views.VIEWS[end]) == letter


def test_maps_of_neighbours_carry_linear_latents_to_every_view():
    z = normal(30, 3)
    yaw, pitch = torch.tensor([0.5, 1.5, -1.0]), torch.tensor([2.0, -0.8, 1.1])

    def seen(view):
        one, two = views.word_between(views.VIEWS[0], view)
        return z * yaw**one * pitch**two

    mu = torch.stack([seen(view) for view in views.VIEWS])
    maps = camera.fitted(fits.linear, mu)
    for start, end in [((-20, -20), (20, 20)), ((0, 0), (-40, 0)), ((20, 0), (-20, 20))]:
        reached = camera.carry(maps, seen(start), views.word_between(start, end))
        torch.testing.assert_close(reached, seen(end), rtol=1e-4, atol=1e-4)


def test_a_rank_counts_what_is_nearer_than_the_right_view():
    bank = torch.tensor([[[0.0], [1.0]], [[10.0], [12.0]]])  # two views of two digits
    z = torch.tensor([[10.1], [10.9]])
    assert camera.ranks(z, bank, 1).tolist() == [1, 2]
    assert camera.ranks(z, bank, 0).tolist() == [4, 3]


def test_the_direct_objective_decodes_the_next_view():
    model, images = spread(CVAE(n_conditions=2)), uint8_images(9, 3)
    objective = view_models.DirectObjective(model, images, antithetic=True)
    way = view_models.WAYS.index(((0, 20), (-20, 20)))
    losses = objective.losses(torch.tensor([3 * way + 2]), generator(1))
    x, y = (images[views.VIEWS.index(view), 2:] for view in ((0, 20), (-20, 20)))
    condition = torch.tensor([[-1.0, 0.0]])
    mu, logvar = model.encode(to_float(x), condition)
    z = posterior_samples(mu, logvar, generator(1), antithetic=True)
    expected = negative_elbo(model.decode(z, condition.repeat(2, 1)), to_float(y), mu, logvar)
    assert objective.size == 3 * len(view_models.WAYS)
    torch.testing.assert_close(losses, expected)


def test_letters_are_fed_back_and_the_empty_word_is_one_call():
    model, images = spread(CVAE(n_conditions=2)), uint8_images(4)
    once = camera.in_one_call(model, images, (-1, 0))
    twice = camera.in_one_call(model, camera.as_image(once), (0, 1))
    assert torch.equal(camera.by_letters(model, images, (-1, 1)), twice)
    assert torch.equal(
        camera.by_letters(model, images, (0, 0)), camera.in_one_call(model, images, (0, 0))
    )
