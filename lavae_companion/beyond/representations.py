"""Finite groups and their representations by matrices (notebook 28).

A group element has a place 0, ..., n - 1 (0: the identity) and a word of generators L1, ..., Lk. Words are
read from left to right, as those of latent maps: g h is first g, then h, so that L(g h) = L(g) L(h) for
matrices that act on row vectors. A representation is a tensor (n, d, d), a matrix for each element.
Formulas: J.-P. Serre, Linear Representations of Finite Groups (1977), sections 2.3 to 2.7.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product

import torch
from torch import Tensor

from lavae_core.errors import InvalidInputError, require_known
from lavae_core.latent_maps import LatentMaps, letters

MOST = 100  # elements of a group
RELATOR_LETTERS = 4  # define the symmetries of the square, and involutions that commute

Irreps = Mapping[str, Tensor]  # name: (n, k, k), an irreducible representation of dimension k


@dataclass(frozen=True, eq=False)
class Group:
    """words: of each element, "" first and with every generator "L1", ...; table: int64 (n, n), the
    place of g h. Raises InvalidInputError for a table that is not a group's."""

    words: tuple[str, ...]
    table: Tensor

    def __post_init__(self) -> None:
        table, everything = self.table, torch.arange(len(self.words))
        if table.dtype != torch.int64 or table.shape != (len(everything),) * 2:
            raise InvalidInputError(
                f"the table of {len(everything)} elements is {table.dtype} {tuple(table.shape)}"
            )
        if not torch.equal(table[0], everything) or not torch.equal(table[:, 0], everything):
            raise InvalidInputError("not a group: element 0 of the table is not the identity")
        if not (table.sort(0).values.t() == everything).all():
            raise InvalidInputError("not a group: a column of the table names an element twice")
        wrong = (table[table] != table[:, table]).nonzero().tolist()
        if wrong:
            g, h, k = wrong[0]
            raise InvalidInputError(
                f"not a group: of elements {g}, {h}, {k}, (g h) k is not g (h k)"
            )

    @property
    def inverses(self) -> Tensor:
        """(n,): the place of each element's inverse."""
        return (self.table == 0).int().argmax(1)

    def place(self, word: str) -> int:
        """The element that a word of generators names. Raises InvalidInputError as `letters`, and
        for another letter."""
        place = 0
        for name, power in letters(word):
            require_known(f"letter in the word {word!r}:", name, self.words)
            step = self.words.index(name)
            step = step if power > 0 else int(self.inverses[step])
            for _ in range(abs(power)):
                place = int(self.table[place, step])
        return place

    @property
    def generators(self) -> list[str]:
        """The names L1, ... among the words."""
        return [word for word in self.words if re.fullmatch(r"L\d+", word)]

    def relators(self) -> list[str]:
        """Words of up to RELATOR_LETTERS that are the identity and have no part that is, the short
        ones first, one of each set of rotations."""
        found: list[tuple[str, ...]] = []
        for length in range(1, RELATOR_LETTERS + 1):
            for word in product(self.generators, repeat=length):
                turned = [word[i:] + word[:i] for i in range(length)]
                parts = [each[:end] for each in turned for end in range(1, length)]
                new = not any(each in found for each in turned)
                if new and self._is_identity(word) and not any(map(self._is_identity, parts)):
                    found.append(word)
        return [_spelled(word) for word in found]

    def _is_identity(self, names: Sequence[str]) -> bool:
        return self.place(" ".join(names)) == 0


def _spelled(names: Sequence[str]) -> str:
    """A word with powers: "L1^2 L2" for L1, L1, L2."""
    runs = [(name, len(list(run))) for name, run in groupby(names)]
    return " ".join(name if n == 1 else f"{name}^{n}" for name, n in runs)


def generated(generators: Sequence[Sequence[int]]) -> Group:
    """The group of all products of permutations p of the same places, where p takes x to x[p]. Each
    element has one of its shortest words.

    Raises InvalidInputError for what is no permutation, for a generator that is the identity or is
    there twice, and for more than MOST elements.
    """
    steps = [tuple(map(int, each)) for each in generators]
    identity = tuple(range(len(steps[0]))) if steps else ()
    for number, step in enumerate(steps, 1):
        if tuple(sorted(step)) != identity:
            raise InvalidInputError(
                f"generator {number} is no permutation of {len(identity)} places"
            )
        if step in (identity, *steps[: number - 1]):
            raise InvalidInputError(
                f"generator {number} is the identity or there twice; leave it out"
            )
    words: dict[tuple[int, ...], tuple[str, ...]] = {identity: ()}
    queue = [identity]
    for element in queue:  # it grows
        for number, step in enumerate(steps, 1):
            after = tuple(element[i] for i in step)
            if after not in words:
                words[after] = (*words[element], f"L{number}")
                queue.append(after)
        if len(queue) > MOST:
            raise InvalidInputError(f"the generators have more than {MOST} products; take others")
    places = {element: place for place, element in enumerate(queue)}
    table = [[places[tuple(g[i] for i in h)] for h in queue] for g in queue]
    return Group(tuple(_spelled(words[each]) for each in queue), torch.tensor(table))


def irreps(group: Group) -> dict[str, Tensor]:
    """Every irreducible representation over the reals, as orthogonal float64 (n, k, k), those of
    dimension 1 first: "++" (trivial), "+-", ... after their values at the generators, then "2-dim".

    They are the eigenspaces of a random symmetric matrix that commutes with the regular representation.
    """
    n = len(group.words)
    regular = torch.eye(n, dtype=torch.float64)[group.table.t()]  # row h of element g: h g
    random = torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    commuting = torch.einsum("ghi,ij,gkj->hk", regular, random + random.t(), regular) / n
    values, vectors = torch.linalg.eigh(commuting)
    ends = (values.diff() > 1e-6).nonzero().flatten().add(1).tolist()
    spaces = [vectors[:, i:j] for i, j in zip([0, *ends], [*ends, n], strict=True)]
    found: dict[tuple[float, ...], Tensor] = {}
    for space in spaces:
        rho = space.t() @ regular @ space
        found.setdefault(tuple(character(rho).round(decimals=6).tolist()), rho)
    ordered = sorted(found.items(), key=lambda item: (item[0][0], [-value for value in item[0]]))
    return _named(group, [rho for _, rho in ordered])


def _named(group: Group, representations: Sequence[Tensor]) -> dict[str, Tensor]:
    places = [group.words.index(name) for name in group.generators]
    named: dict[str, Tensor] = {}
    for rho in representations:
        signs = "".join("+" if value > 0 else "-" for value in character(rho)[places])
        name = signs if rho.shape[-1] == 1 else f"{rho.shape[-1]}-dim"
        named[name + "'" * sum(each.rstrip("'") == name for each in named)] = rho
    return named


def character(representation: Tensor) -> Tensor:
    """(n,): the trace of each matrix (n, d, d)."""
    return representation.diagonal(dim1=-2, dim2=-1).sum(-1)


def multiplicities(parts: Irreps, representation: Tensor) -> dict[str, float]:
    """How often each irreducible part occurs: sum_g chi(g) tr L(g) / sum_g chi(g)^2. Whole numbers for a
    representation (n, d, d); for other matrices, how far from one they are says how little it is one."""
    traces = character(representation.double())
    chis = {name: character(rho) for name, rho in parts.items()}
    return {name: float(chi @ traces / (chi @ chi)) for name, chi in chis.items()}


def whole_multiplicities(parts: Irreps, measured: Mapping[str, float], dims: int) -> dict[str, int]:
    """The whole numbers nearest to `measured` of which the parts fill `dims` dimensions.

    Raises InvalidInputError where there are none within 2 of each.
    """
    sizes = [parts[name].shape[-1] for name in measured]
    near = [
        range(max(0, round(value) - 2), max(0, round(value)) + 3) for value in measured.values()
    ]
    fitting = [
        c for c in product(*near) if sum(n * k for n, k in zip(c, sizes, strict=True)) == dims
    ]
    if not fitting:
        raise InvalidInputError(
            f"no whole multiplicities near {dict(measured)} fill {dims} dimensions"
        )
    distance = [
        sum((n - m) ** 2 for n, m in zip(c, measured.values(), strict=True)) for c in fitting
    ]
    return dict(zip(measured, fitting[distance.index(min(distance))], strict=True))


def projectors(group: Group, parts: Irreps, representation: Tensor) -> dict[str, Tensor]:
    """For each irreducible part the projector (d, d) of row vectors on its copies: k sum_g chi(g^-1) L(g) /
    sum_g chi(g)^2. They are projectors, and add up to 1, for a representation."""
    result = {}
    for name, rho in parts.items():
        chi = character(rho)
        weights = rho.shape[-1] * chi[group.inverses] / (chi @ chi)
        result[name] = torch.einsum("g,gij->ij", weights, representation.double())
    return result


def reynolds(group: Group, rho: Tensor, x: Tensor, representation: Tensor) -> Tensor:
    """Q = mean over g of rho(g^-1) X L(g), (k, d), for X (k, d): rho(g) Q = Q L(g) for representations."""
    return torch.einsum("gij,jk,gkl->il", rho[group.inverses], x, representation) / len(rho)


def block_diagonal(parts: Irreps, counts: Mapping[str, int]) -> Tensor:
    """(n, d, d): the representation that has counts[name] copies of each part, one after the other."""
    copies = [parts[name] for name, count in counts.items() for _ in range(count)]
    return torch.stack([torch.block_diag(*matrices) for matrices in zip(*copies, strict=True)])


def intertwiner(
    group: Group, parts: Irreps, counts: Mapping[str, int], representation: Tensor
) -> Tensor:
    """Q (d, d) such that g -> Q^-1 block_diagonal(g) Q is an exact representation, and is the given one
    (n, d, d) if that is one with these multiplicities, which fill d. Else it is near.

    Each copy is averaged from the direction that is most in its part and least in earlier copies.
    Raises InvalidInputError where the matrices have too little of a part.
    """
    matrices = representation.double()
    d = matrices.shape[-1]
    rows = matrices.new_zeros(0, d)
    for name, count in counts.items():
        rho = parts[name]
        partial = torch.einsum("g,gij->ij", rho[group.inverses][:, 0, 0], matrices)
        for _ in range(count):
            taken = torch.linalg.qr(rows.t()).Q
            start = torch.linalg.svd(partial - partial @ taken @ taken.t()).Vh[0]
            copy = reynolds(group, rho, torch.eye(len(rho[0]))[:, :1].double() * start, matrices)
            rows = torch.cat([rows, copy / copy.norm().clamp_min(1e-12)])
    if len(rows) != d or not torch.linalg.cond(rows) < 1e6:
        raise InvalidInputError(
            f"there is no representation with {dict(counts)} near these matrices"
        )
    return rows


def elements(group: Group, maps: LatentMaps) -> Tensor:
    """(n, d, d): the matrix of each element's word."""
    return torch.stack([maps.matrix(word) for word in group.words])


@torch.no_grad()
def residuals(maps: LatentMaps, relators: Sequence[str]) -> dict[str, float]:
    """||W - 1||_F / sqrt(d) of the matrix W of each relator: 0 where it is the identity."""
    identity = torch.eye(maps.matrices.shape[-1]).to(maps.matrices)
    distances = {word: (maps.matrix(word) - identity).norm() for word in relators}
    return {word: float(each) / len(identity) ** 0.5 for word, each in distances.items()}
