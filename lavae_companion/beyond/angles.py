"""One generator for every angle, z(theta) = z exp(theta A) (notebook 30).

Latents are row vectors, as in latent_maps.py. Of N angles 2 pi j / N, L_j maps latents to those of
images turned by the j-th. Where the L_j are a representation of the turns, L_j = exp(theta_j A), all
eigenvalues of A are i k with whole frequencies k, and

    P_k = 1 / N sum over j of exp(-i k theta_j) L_j

is the projector to the latents of frequency k; its trace is the frequency's multiplicity. N angles
tell k from k + N no more than a wheel in a film does its turns. A is per radian; all is in float64.
"""

import math

import torch
from torch import Tensor

from lavae_companion.beyond.groups import moments
from lavae_companion.results.words import on_eigenvalues
from lavae_core.errors import InvalidInputError, require_whole
from lavae_core.latent_maps import Moments, descend, fit_exact

FADE = -4.0  # eigenvalue of a direction of no frequency: a fifth is left after 22.5 degrees


def radians(count: int) -> Tensor:
    """(N,): the angles of a whole turn, 0 first.

    Raises InvalidInputError unless the count is an even whole number from 4: an odd one cannot tell
    whether frequencies are missing.
    """
    require_whole("the number of angles", count, 4)
    if count % 2:
        raise InvalidInputError(f"the number of angles must be even, got {count}")
    return 2 * math.pi * torch.arange(count, dtype=torch.float64) / count


def from_every_angle(mu: Tensor) -> Tensor:
    """Latents (N, n, d) of N angles as pairs from each of them: (N, N n, d), of which row j is turned
    by the j-th angle against row 0."""
    return torch.stack([mu.roll(-turn, 0).flatten(0, 1) for turn in range(len(mu))])


def turn_maps(mu: Tensor) -> Tensor:
    """(N, d, d): for each angle a least-squares map, the identity for the first. mu: (N, n, d).

    Raises InvalidInputError as `fit_exact`.
    """
    maps = fit_exact(moments(mu), (None,) * (len(mu) - 1)).double()
    return torch.cat([torch.eye(mu.shape[-1]).to(maps)[None], maps])


def projectors(maps: Tensor) -> Tensor:
    """P_k (N, d, d), complex, of maps (N, d, d): k = 0, ..., N / 2 - 1, N / 2, then -N / 2 + 1, ..., -1."""
    return torch.fft.fft(maps, dim=0) / len(maps)


def multiplicities(projected: Tensor) -> Tensor:
    """(N / 2,): the trace of P_k for k = 0, ..., N / 2 - 1; a frequency k > 0 has as many at -k.

    Raises InvalidInputError where more than half a dimension is at N / 2: there are too few angles.
    """
    traces = projected.diagonal(dim1=1, dim2=2).sum(1).real
    highest = len(projected) // 2
    if traces[highest] > 0.5:
        raise InvalidInputError(
            f"{len(projected)} angles hold frequencies below {highest}, and {traces[highest]:.1f} "
            f"latent dimensions turn {highest} times or more in a turn; give more angles"
        )
    return traces[:highest]


def whole(traces: Tensor, dims: int) -> list[int]:
    """Whole multiplicities near `traces` that take at most `dims` dimensions, one of k > 0 two: each
    unit goes to the frequency that lacks most, as long as it lacks half. The rest is half pairs."""
    counts, left = [0] * len(traces), dims
    while left:
        allowed = len(traces) if left > 1 else 1
        lacking = [float(traces[k]) - counts[k] for k in range(allowed)]
        if max(lacking) < 0.5:
            break
        k = lacking.index(max(lacking))
        counts[k] += 1
        left -= 2 if k else 1
    return counts


def of_projectors(projected: Tensor) -> Tensor:
    """The generator (d, d) that turns the leading n_k directions of the range of P_k exactly k times in
    a turn, n_k as by `whole`; directions in no such range fade (FADE). Raises InvalidInputError as
    `multiplicities`."""
    dims = projected.shape[-1]
    vectors, values = [], []
    for k, count in enumerate(whole(multiplicities(projected), dims)):
        leading = torch.linalg.svd(projected[k])[0][:, :count]
        vectors += [leading, leading.conj()] if k else [leading]
        values += [1j * k] * count + ([-1j * k] * count if k else [])
    basis = torch.cat(vectors, dim=1)
    rest = torch.linalg.svd(basis)[0][:, len(values) :]  # orthogonal to all ranges
    basis = torch.cat([basis, rest], dim=1)
    values = torch.tensor(values + [FADE] * rest.shape[1], dtype=basis.dtype)
    return (basis @ torch.diag(values).to(basis) @ torch.linalg.inv(basis)).real


def of_map(matrix: Tensor, angle: float) -> Tensor:
    """The logarithm of a map (d, d), per radian: frequencies up to pi / angle."""
    return on_eigenvalues(matrix, lambda values: values.log() / angle)


def fades(values: Tensor) -> Tensor:
    """Which eigenvalues (d,) of a generator lose half or more of a latent in a turn, (d,) bool."""
    return torch.exp(2 * math.pi * values.real) < 0.5


def rounded(generator: Tensor) -> Tensor:
    """The generator with each eigenvalue a + i b replaced by i round(b), but for those that fade."""
    return on_eigenvalues(
        generator, lambda values: torch.where(fades(values), values, 1j * values.imag.round())
    )


def fit(of: Moments, angles: Tensor, start: Tensor, keep: bool = False) -> Tensor:
    """The generator at a minimum near `start` of the expected error of z exp(theta A).

    of: moments of latents and of those turned by each of `angles` (M,). keep: among Q^-1 start Q, which
    have the eigenvalues of `start`. By L-BFGS.
    """
    identity = torch.eye(len(start)).to(start)
    change = torch.zeros_like(start)

    def generator() -> Tensor:
        basis = identity + change
        return torch.linalg.solve(basis, start @ basis) if keep else start + change

    descend(change, lambda: of.expected_error(at(generator(), angles)))
    return generator()


def generators(mu: Tensor, maps: Tensor, theta: Tensor, most: int) -> dict[str, Tensor]:
    """Five generators (d, d) by name: of latents mu (N, n, d) at the angles theta (N,) and their maps
    (N, d, d), or of those up to `most` degrees alone.

    logarithm: of the first map. free: at the least error. whole: the same with whole frequencies, the
    rounded traces of the projectors, or the rounded frequencies of the free one.
    """
    few = most * len(theta) // 360  # after 0
    everything, part = moments(mu), moments(mu[: few + 1])
    log = of_map(maps[1], theta[1].item())
    near = fit(part, theta[1 : few + 1], log)
    exact = of_projectors(projectors(maps))
    return {
        "logarithm": log,
        "free, all angles": fit(everything, theta[1:], log),
        f"free, up to {most}": near,
        "whole, all angles": fit(everything, theta[1:], exact, keep=True),
        f"whole, up to {most}": fit(part, theta[1 : few + 1], rounded(near), keep=True),
    }


def at(generator: Tensor, angles: Tensor) -> Tensor:
    """exp(theta A) (M, d, d) for each of `angles` (M,)."""
    return torch.linalg.matrix_exp(angles.to(generator)[:, None, None] * generator)


def eigenvalues(generator: Tensor) -> Tensor:
    """(d,), complex: a + i b turns b times in a turn, and grows by exp(2 pi a)."""
    return torch.linalg.eigvals(generator)


def from_whole(generator: Tensor) -> float:
    """The largest distance of a frequency from a whole number; of no information, near 1/2."""
    imaginary = eigenvalues(generator).imag
    return (imaginary - imaginary.round()).abs().max().item()


def closure(generator: Tensor) -> float:
    """||exp(2 pi A) - 1||_F / sqrt(d): 0 where a whole turn is the identity."""
    turn = torch.linalg.matrix_exp(2 * math.pi * generator)
    return ((turn - torch.eye(len(turn)).to(turn)).norm() / len(turn) ** 0.5).item()


def idempotence(projected: Tensor) -> float:
    """The largest ||P_k^2 - P_k||_F: 0 for projectors."""
    return torch.linalg.matrix_norm(projected @ projected - projected).max().item()
