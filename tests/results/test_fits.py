"""Each kind of fit on a toy problem whose solution is known, on useless and on degenerate latents."""

from copy import deepcopy

import pytest
import torch
from made_up import FLIPS, Perfect, normal
from torch.testing import assert_close

from lavae_companion.comparisons import NonLinearMaps
from lavae_companion.results import fits
from lavae_core.errors import InvalidInputError
from lavae_core.models import encode_variants

TRUE = torch.stack([torch.eye(4).flip(0), torch.diag(torch.tensor([1.0, -1, 1, -1]))])
OFFSET = torch.tensor([[1.0, 2, 3, 4], [0, -1, 0, 5]])


def latents(offset=0.0, count: int = 400) -> torch.Tensor:
    """(3, n, 4): originals and their images under TRUE, with an offset (2, 1, 4) or none."""
    z = normal(count, 4)
    return torch.stack([z, *(z @ TRUE + offset)])


def test_linear_fits_find_the_map_and_samples_shrink_it():
    mu = latents()
    assert_close(fits.linear(mu).matrices, TRUE)
    second = mu[0].t() @ mu[0] / 400
    var = 0.25 * torch.diagonal(second).expand(3, 400, 4)
    expected = torch.linalg.solve(second + torch.diag(var[0, 0]), second) @ TRUE
    assert_close(fits.linear(mu, var).matrices, expected)
    involution = fits.linear(mu, var, orders=(2, None)).matrices
    assert (involution[0] @ involution[0] - torch.eye(4)).norm() < 0.5
    assert_close(involution[1], expected[1], atol=1e-4, rtol=0)


def test_affine_maps_find_the_offset_and_multiply():
    mu = latents(OFFSET[:, None])
    maps = fits.AffineMaps(mu)
    assert_close(maps(mu[0], "L1"), mu[1], atol=1e-4, rtol=0)
    composed = mu[1] @ TRUE[1] + OFFSET[1]
    assert_close(maps(mu[0], "L1 L2"), composed, atol=1e-4, rtol=0)
    assert_close(maps(composed, "L2^-1 L1^-1"), mu[0], atol=1e-4, rtol=0)
    assert (fits.linear(mu)(mu[0], "L1") - mu[1]).norm() > 1


def test_class_maps_use_the_map_of_each_class():
    one, other = latents(OFFSET[:, None]), latents(-OFFSET[:, None])
    mu, labels = torch.cat([one, other], 1), torch.arange(2).repeat_interleave(400)
    mapped = fits.ClassMaps(mu, labels, of=labels)(mu[0], "L1")
    assert_close(mapped, mu[1], atol=1e-4, rtol=0)
    swapped = fits.ClassMaps(mu, labels, of=1 - labels)(mu[0], "L1")
    assert_close(swapped - mu[1], torch.cat([-2 * OFFSET[:1].expand(400, 4),
                 2 * OFFSET[:1].expand(400, 4)]), atol=1e-4, rtol=0)  # fmt: skip


def test_neighbours_are_affine_where_the_truth_is_and_bend_where_it_is_not():
    mu = latents(OFFSET[:, None])
    assert_close(fits.LocalMaps(mu, 30)(mu[0], "L1 L2"), fits.AffineMaps(mu)(mu[0], "L1 L2"),
                 atol=1e-3, rtol=0)  # fmt: skip
    z = normal(4000, 2)
    bent = torch.stack([z, z.abs()])
    fresh = normal(200, 2, seed=1).clamp(-2, 2)
    errors = [
        (maps(fresh, "L1") - fresh.abs()).square().mean()
        for maps in (fits.AffineMaps(bent), fits.LocalMaps(bent, 30))
    ]
    assert errors[1] < 0.1 * errors[0]


def test_an_mlp_learns_what_no_matrix_can_and_is_the_same_each_time():
    z = normal(1000, 2)
    mu = torch.stack([z, z.abs()])
    start = NonLinearMaps(1, 2, width=32)
    outputs = [fits.mlp(deepcopy(start), mu, seed, 200)(z, "L1") for seed in (0, 0, 1)]
    assert (outputs[0] - mu[1]).square().mean() < 0.05  # of a line: 0.36
    assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])


def test_costs_of_perfect_and_useless_maps():
    model = Perfect()
    z = encode_variants(model, model.images)[0][0]
    perfect = fits.costs(model.decode, z, model.maps, FLIPS, model.images)
    assert list(perfect.index) == [*FLIPS.variants, "total"] and perfect.max() < 1e-3
    useless = fits.costs(model.decode, z, lambda z, word: z, FLIPS, model.images)
    assert useless["original"] < 1e-3 < 1000 < useless["first"]
    assert useless["total"] == pytest.approx(sum(useless[v] for v in FLIPS.variants))


def test_the_spectrum_of_isotropic_latents_is_one_minus_the_variance():
    mu = latents()
    root = torch.linalg.cholesky(mu[0].t() @ mu[0] / 400)
    white = torch.stack([z @ torch.linalg.inv(root.t()) * 0.8 for z in mu[[0, 0]]])
    var = torch.full((2, 400, 4), 0.36)  # the means have 0.64: with it, 1 in every direction
    table = fits.spectrum(fits.linear(white, var), var[0])
    assert table["1 - sigma^2"].to_numpy() == pytest.approx(0.64)
    assert table["|eigenvalue|"].to_numpy() == pytest.approx(0.64, abs=1e-5)
    assert list(table["map"]) == ["L1"] * 4


def test_noisy_directions_shrink_by_their_ratio_exactly():
    mu = latents()
    var = torch.tensor([0.1, 0.2, 0.4, 3.0]).expand(3, 400, 4)
    ratios, directions = fits.noisy_directions(mu[0], var[0])
    assert (ratios.diff() < 0).all() and ratios[0] > 2
    means, samples = fits.linear(mu).matrices.double(), fits.linear(mu, var).matrices.double()
    shrunk = directions @ means / (1 + ratios[:, None])
    assert_close(directions @ samples, shrunk, atol=1e-5, rtol=0)
    coordinates = mu[0].double() @ torch.linalg.inv(directions)
    assert_close(coordinates.t() @ coordinates / 400, torch.eye(4).double(), atol=1e-6, rtol=0)


Z = latents()
REFUSED = {
    "latents that do not vary": (lambda: fits.linear(torch.zeros(3, 9, 4)), None),
    "a class of one": (lambda: fits.ClassMaps(Z, torch.arange(400), torch.arange(2)), None),
    "fewer originals than neighbours": (lambda: fits.LocalMaps(Z, 401), "401"),
    "an inverse of neighbours": (lambda: fits.LocalMaps(Z, 9)(Z[0], "L2^-1"), "L2.-1"),
    "an unknown letter": (lambda: fits.LocalMaps(Z, 9)(Z[0], "L3"), "L3"),
}


@pytest.mark.parametrize(("ask", "value"), REFUSED.values(), ids=REFUSED)
def test_requests_that_are_refused(ask, value):
    with pytest.raises(InvalidInputError, match=value):
        ask()
