"""Linear maps in the latent space, the paper's contribution: apply, compose, invert and fit them.

Latents are row vectors of d = 16 dimensions. A latent map L_i is a (d, d) matrix without offset,
applied as z @ L_i. A *word* names a product of maps and their powers, read from left to right:
"L1 L2^-1" applies L1, then undoes L2; "" is the identity.
"""

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lavae_core.augmentations import require_images, to_float
from lavae_core.errors import InvalidInputError, require_known, require_number, require_whole

Orders = Sequence[int | None]  # of each augmentation: the power that is the identity, if any
MAX_POWER = 1000

_LETTER = re.compile(r"(?P<name>[^\s^]+?)(?:\^(?P<power>-?\d+))?")


def letters(word: str) -> list[tuple[str, int]]:
    """The (name, power) of each letter of a word.

    Raises InvalidInputError for text that is no word, or a power beyond MAX_POWER.
    """
    if not isinstance(word, str):
        raise InvalidInputError(f'a word is text such as "L1 L2^-1", got {word!r}')
    result = []
    for text in word.split():
        match = _LETTER.fullmatch(text)
        if match is None:
            raise InvalidInputError(f'cannot read {text!r} in a word; write L1 or "L1^-1"')
        power = int(match["power"] or 1)
        if abs(power) > MAX_POWER:
            raise InvalidInputError(f"powers in a word go from -{MAX_POWER} to {MAX_POWER}: {text}")
        result.append((match["name"], power))
    return result


def parse_word(word: str, names: Sequence[str]) -> list[tuple[int, int]]:
    """The (position in `names`, power) of each letter of a word.

    Raises InvalidInputError as `letters`, or for a letter that is not in `names`.
    """
    parsed = letters(word)
    for name, _ in parsed:
        require_known(f"letter in the word {word!r}:", name, names)
    return [(names.index(name), power) for name, power in parsed]


def inverse_word(word: str) -> str:
    """The word that undoes `word`: "L2 L1^-1" for "L1 L2^-1". Raises as `letters`."""
    powers = [(name, -power) for name, power in reversed(letters(word))]
    return " ".join(name if power == 1 else f"{name}^{power}" for name, power in powers)


class LatentMaps(nn.Module):
    """Any number of linear latent maps named L1, L2, ... (Section IV-A); they start as identities."""

    def __init__(self, n_maps: int = 2, latent_dim: int = 16):
        super().__init__()
        self.matrices = nn.Parameter(torch.eye(latent_dim).repeat(n_maps, 1, 1))  # (M, d, d)

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        model: nn.Module,
        originals: Tensor,
        variants: Sequence[Tensor],
        orders: Orders | None = None,
        lambda_inv: float = 1.0,
    ) -> "LatentMaps":
        """Maps L1, ..., Lk for images of one's own, as `model` sees them (stage 2, exact).

            model.maps = LatentMaps.fit(model, images, [turned, blurred], orders=(4, None))

        model: a LAVAE, or anything whose `encode` returns means and log-variances (N, d). originals:
        uint8 (N, 28, 28), or floats (N, 1, 28, 28) in [0, 1]; variants: for each map as many images
        of that kind, image n made of original n. orders: for each map the power that is the
        identity, if any (default: none); lambda_inv: weight of their term. The result is on the
        model's device. Raises InvalidInputError for anything else, for fewer originals than latent
        dimensions, and for latents that are not finite or whose second moment is singular.
        """
        orders = _require_orders(orders, len(variants))
        require_number("lambda_inv", lambda_inv)
        latents = [_latents_of(model, x, originals) for x in (originals, *variants)]
        mu, logvar = (torch.stack(each) for each in zip(*latents, strict=True))
        count, dims = mu[0].shape
        if count < dims:
            raise InvalidInputError(f"{count} images are too few for maps of {dims} dimensions")
        if not (mu.isfinite().all() and logvar.exp().isfinite().all()):
            raise InvalidInputError("the model's latents are not finite; is it trained?")
        maps = cls(len(variants), dims).to(mu.device)
        maps.matrices.data = fit_exact(Moments(mu, logvar.double().exp()), orders, lambda_inv)
        return maps.requires_grad_(False)

    @property
    def names(self) -> list[str]:
        return [f"L{i + 1}" for i in range(len(self.matrices))]

    def require_fitted(self, word: str) -> None:
        """Raise InvalidInputError for a word of maps that are all still identities."""
        identity = torch.eye(self.matrices.shape[-1]).to(self.matrices)
        if parse_word(word, self.names) and (self.matrices == identity).all():
            raise InvalidInputError(
                f"cannot apply {word!r}: the latent maps of this model were not fitted (stage 2); "
                "fit them, or use the word ''"
            )

    def matrix(self, word: str) -> Tensor:
        """The (d, d) matrix of a word. Raises InvalidInputError for a singular map's inverse."""
        product = torch.eye(self.matrices.shape[-1]).to(self.matrices)
        for position, power in parse_word(word, self.names):
            factor = self.matrices[position]
            if power < 0:
                factor = _inverse(factor, self.names[position])
            product = product @ torch.linalg.matrix_power(factor, abs(power))
        return product

    def forward(self, z: Tensor, word: str) -> Tensor:
        """Latents (N, d) mapped by a word, (N, d). Raises InvalidInputError as `matrix` and parse_word."""
        return z @ self.matrix(word)


def _require_orders(orders: Orders | None, n_maps: int) -> Orders:
    """`orders`, or none for each map."""
    if n_maps == 0:
        raise InvalidInputError("there are no variants; give the images of one for each map")
    orders = (None,) * n_maps if orders is None else orders
    if not isinstance(orders, Sequence) or len(orders) != n_maps:
        raise InvalidInputError(f"orders {orders!r} must be {n_maps}, one for each map")
    for order in orders:
        if order is not None:
            require_whole("the order of a map", order, 1)
    return orders


def _latents_of(model: nn.Module, images: Tensor, originals: Tensor) -> tuple[Tensor, Tensor]:
    """Means and log-variances (N, d) of images that are as many and of the kind of `originals`."""
    if not isinstance(images, Tensor) or images.shape != originals.shape:
        got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise InvalidInputError(
            f"images must be tensors, as many variants as the {len(originals)} originals, got {got}"
        )
    x = to_float(images) if images.dtype == torch.uint8 else images
    require_images(x)
    weights = next(model.parameters(), x)
    parts = [model.encode(part.to(weights)) for part in x.split(500)]
    return torch.cat([mu for mu, _ in parts]), torch.cat([logvar for _, logvar in parts])


def _inverse(matrix: Tensor, name: str) -> Tensor:
    # A condition number beyond fp32's resolution leaves no correct digit in the inverse.
    if not matrix.isfinite().all() or not torch.linalg.cond(matrix.double()) < 1e7:
        raise InvalidInputError(f"latent map {name} is singular: it has no inverse")
    return torch.linalg.inv(matrix.double()).to(matrix)


def order_penalty(matrices: Tensor, orders: Orders) -> Tensor:
    """Sum over the maps of ||I - L_i^order_i||_F^2, zero for a map without an order (stage 2).

    For order 2 this is the paper's involution term; quarter turns have order 4.
    """
    identity = torch.eye(matrices.shape[-1]).to(matrices)
    terms = [
        (identity - torch.linalg.matrix_power(matrix, order)).square().sum()
        for matrix, order in zip(matrices, orders, strict=True)
        if order is not None
    ]
    return sum(terms, start=matrices.new_zeros(()))


class Moments:
    """Sufficient statistics of the stage-2 objective: 16x16 sums, whatever the number of images.

    With independent z ~ N(mu, diag(var)) and z_i ~ N(mu_i, diag(var_i)) the expected squared error
    of z @ L against z_i, a mean over images and dimensions, is [tr(L^T S L) - 2 tr(L^T C_i) + c_i] / (n d).
    """

    def __init__(self, mu: Tensor, var: Tensor):
        """mu, var: (1 + M, n, d) posterior means and variances of the originals and M variants."""
        mu, var = mu.double(), var.double()
        self.count = mu[0].numel()  # n d
        self.second_moment = mu[0].t() @ mu[0] + torch.diag(var[0].sum(0))  # S (d, d)
        self.cross = mu[0].t() @ mu[1:]  # C (M, d, d)
        self.constants = mu[1:].square().sum((1, 2)) + var[1:].sum((1, 2))  # c (M,)

    def expected_error(self, matrices: Tensor) -> Tensor:
        """Sum over the maps (M, d, d) of the expected mean squared error."""
        quadratic = (matrices * (self.second_moment @ matrices)).sum((1, 2))
        linear = (matrices * self.cross).sum((1, 2))
        return ((quadratic - 2 * linear + self.constants) / self.count).sum()

    def objective(self, matrices: Tensor, orders: Orders, lambda_inv: float) -> Tensor:
        """The stage-2 objective in expectation: expected error + lambda_inv * order penalty."""
        return self.expected_error(matrices) + lambda_inv * order_penalty(matrices, orders)


def fit_exact(moments: Moments, orders: Orders, lambda_inv: float = 1.0) -> Tensor:
    """The maps (M, d, d) at a minimum of the stage-2 objective in exact expectation, unsampled.

    Without order terms the global one, by least squares. With them the objective is not convex, and
    it is the one that L-BFGS (float64) reaches from there. Raises InvalidInputError for moments whose
    second moment is singular.
    """
    if not torch.linalg.cond(moments.second_moment) < 1e12:
        raise InvalidInputError(
            "the second moment of the originals' latents is singular: they do not vary in every "
            "dimension; fit more, or more different, images"
        )
    matrices = torch.linalg.solve(moments.second_moment, moments.cross).contiguous()
    if lambda_inv != 0 and any(order is not None for order in orders):
        descend(matrices, lambda: moments.objective(matrices, orders, lambda_inv))
    return matrices.float()


def descend(parameter: Tensor, loss: Callable[[], Tensor]) -> None:
    """Bring a float64 tensor, in place, to the least `loss` that L-BFGS reaches from it."""
    parameter.requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [parameter], max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-12,
        history_size=50, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    parameter.requires_grad_(False)
