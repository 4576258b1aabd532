"""Finite groups as tables: their elements, generators, and what can be read of an element.

A quotient is a homomorphism, worked out from the table: an element's coset of a normal subgroup,
numbered by the smallest element in it, so that the identity's is 0. Shape suffix: ``G`` elements.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mecheval.errors import UsageError
from mecheval.escape import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LARGEST = 720
"""Most elements of a group: each is a symbol and an answer."""

_FACTOR = re.compile(r"([saz])([1-9][0-9]{0,3})")


@dataclass(frozen=True)
class Group:
    """A finite group whose element 0 is the identity.

    Attributes:
        symbols: What every element is called.
        table_GG: ``table_GG[a, b]`` is a followed by b.
        generators: Elements of which all are products, as the field chooses them.
        swaps: The transpositions; none but in symmetric groups.
        quotients: Values of the elements by name, ``(G,)`` each, with 0 for the identity.
    """

    symbols: tuple[str, ...]
    table_GG: np.ndarray
    generators: tuple[int, ...]
    swaps: tuple[int, ...]
    quotients: Mapping[str, np.ndarray]

    @property
    def order(self) -> int:
        """Return the number of elements."""
        return len(self.symbols)


@lru_cache(maxsize=64)
def named_group(name: str) -> Group:
    """Return a group by its name: ``s5``, ``a4``, ``z60``, or a product such as ``a4xz5``.

    Raises:
        UsageError: There is no such group, or it has too many elements.
    """
    factors = [_FACTOR.fullmatch(part) for part in name.split("x")]
    known = [(match[1], int(match[2])) for match in factors if match]
    orders = [_order(*factor) for factor in known]
    if len(known) < len(factors) or min(orders) < 2 or math.prod(orders) > LARGEST:
        raise UsageError(
            f"There is no group {quoted(name)} here. Write a symmetric, alternating or cyclic one "
            "(s3, a5, z6), or a product of them (a4xz5), without trivial ones and of at most "
            f"{LARGEST} elements."
        )
    parts = [_MAKERS[kind](degree) for kind, degree in known]
    return parts[0] if len(parts) == 1 else _product(name.split("x"), parts)


def closure(table_GG: np.ndarray, elements: Iterable[int]) -> np.ndarray:
    """Return which elements are products of the given ones, a mask ``(G,)``."""
    given = np.unique([0, *elements])
    inside_G = np.zeros(len(table_GG), bool)
    inside_G[given] = True
    while True:
        reached = table_GG[np.ix_(np.flatnonzero(inside_G), given)]
        if inside_G[reached].all():
            return inside_G
        inside_G[reached] = True


def normal_closure(table_GG: np.ndarray, elements: Iterable[int]) -> np.ndarray:
    """Return the smallest normal subgroup that holds the given elements, a mask ``(G,)``."""
    inverse_G = (table_GG == 0).argmax(1)
    conjugates = {
        conjugate for x in elements for conjugate in _conjugates(table_GG, inverse_G, x).tolist()
    }
    return closure(table_GG, conjugates)


def commutators(table_GG: np.ndarray) -> np.ndarray:
    """Return the subgroup of the commutators: without it, order makes no difference, ``(G,)``."""
    inverse_G = (table_GG == 0).argmax(1)
    ab_GG = table_GG
    inverse_of_ba_GG = inverse_G[table_GG.T]
    return closure(table_GG, np.unique(table_GG[ab_GG, inverse_of_ba_GG]).tolist())


def differences(table_GG: np.ndarray, elements: Iterable[int]) -> list[int]:
    """Return what leads from one of the given elements to another one."""
    given = np.array([*elements])
    inverse_G = (table_GG == 0).argmax(1)
    return np.unique(table_GG[np.ix_(given, inverse_G[given])]).tolist()


def cosets(table_GG: np.ndarray, subgroup_G: np.ndarray) -> np.ndarray:
    """Return the number of every element's coset of a normal subgroup, ``(G,)``.

    Raises:
        ValueError: The subgroup is not normal, so that its cosets cannot be multiplied.
    """
    smallest_G = table_GG[:, subgroup_G].min(1)
    if (smallest_G != table_GG[subgroup_G].min(0)).any():
        raise ValueError("These elements are no normal subgroup: left and right cosets differ.")
    return np.unique(smallest_G, return_inverse=True)[1]


def normal_subgroups(table_GG: np.ndarray) -> list[np.ndarray]:
    """Return the normal subgroups that one element spans, smallest first, without the trivial ones.

    Of symmetric, alternating and cyclic groups these are all that there are.
    """
    spanned = {normal_closure(table_GG, [x]).tobytes() for x in range(1, len(table_GG))}
    masks = [np.frombuffer(mask, bool) for mask in spanned]
    proper = [mask for mask in masks if mask.sum() < len(table_GG)]
    return sorted(proper, key=lambda mask: int(mask.sum()))


def _conjugates(table_GG: np.ndarray, inverse_G: np.ndarray, x: int) -> np.ndarray:
    index_G = np.arange(len(table_GG))
    return table_GG[table_GG[inverse_G, x], index_G]


def _order(kind: str, degree: int) -> int:
    if kind == "z":
        return degree
    return math.factorial(min(degree, 12)) // (2 if kind == "a" and degree > 1 else 1)


def _cyclic(n: int) -> Group:
    """Return addition modulo n; its quotients are the residues modulo powers of primes."""
    table_GG = np.add.outer(np.arange(n), np.arange(n)) % n
    quotients = {
        f"mod{divisor}": cosets(table_GG, closure(table_GG, [divisor]))
        for divisor in range(2, n)
        if n % divisor == 0 and _is_prime_power(divisor)
    }
    return Group(tuple(map(str, range(n))), table_GG, (1,), (), quotients)


def _is_prime_power(number: int) -> bool:
    prime = next(p for p in range(2, number + 1) if number % p == 0)
    while number % prime == 0:
        number //= prime
    return number == 1


def _symmetric(n: int) -> Group:
    """Return the permutations of n things, even ones first.

    Every odd one stands where the even one stands that it is after a swap of the last two.
    """
    even = _even_permutations(n)
    swap = (*range(n - 2), n - 1, n - 2)
    return _permutations([*even, *(_then(p, swap) for p in even)], n)


def _alternating(n: int) -> Group:
    """Return the even permutations of n things."""
    return _permutations(_even_permutations(n), n)


def _permutations(elements: list[tuple[int, ...]], n: int) -> Group:
    table_GG = _table_of(elements, n)
    odd = [i for i, p in enumerate(elements) if _n_inversions(p) % 2]
    swaps = [i for i in odd if sum(image != j for j, image in enumerate(elements[i])) == 2]
    # A cycle of odd length is even, so that not all generators are odd or, of A4, in one coset.
    first = (1, 0, *range(2, n)) if odd else _even_generator(n)
    cycle = _cycle(n, least=0 if n % 2 else 1)
    generators = {elements.index(p) for p in (first, cycle)} - {0}
    names = {2: "sign"} if odd else {}
    quotients = {}
    for subgroup_G in reversed(normal_subgroups(table_GG)):
        index = len(elements) // int(subgroup_G.sum())
        quotients[names.get(index, f"coset{index}")] = cosets(table_GG, subgroup_G)
    symbols = tuple("".join(_digit(image) for image in p) for p in elements)
    return Group(symbols, table_GG, tuple(sorted(generators)), tuple(swaps), quotients)


def _even_generator(n: int) -> tuple[int, ...]:
    """Return two swaps in A4, a rotation of the first three things beyond."""
    return (1, 0, 3, 2) if n == 4 else (1, 2, 0, *range(3, n))


def _cycle(n: int, *, least: int) -> tuple[int, ...]:
    return (*range(least), *range(least + 1, n), least)


def _even_permutations(n: int) -> list[tuple[int, ...]]:
    return [p for p in itertools.permutations(range(n)) if _n_inversions(p) % 2 == 0]


def _n_inversions(permutation: tuple[int, ...]) -> int:
    return sum(a > b for a, b in itertools.combinations(permutation, 2))


def _then(first: tuple[int, ...], then: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(then[image] for image in first)


def _table_of(elements: list[tuple[int, ...]], n: int) -> np.ndarray:
    image_GN = np.array(elements)
    place_N = n ** np.arange(n)
    code_G = image_GN @ place_N
    order_G = code_G.argsort()
    code_GG = np.stack([image_GN[:, image_N] for image_N in image_GN]) @ place_N
    return order_G[np.searchsorted(code_G[order_G], code_GG)]


def _digit(image: int) -> str:
    return str(image + 1)


def _product(names: list[str], parts: list[Group]) -> Group:
    """Return pairs (triples, ...) of elements, of which every component is a quotient."""
    index = np.indices([part.order for part in parts]).reshape(len(parts), -1)
    shape = [part.order for part in parts]
    components = [
        part.table_GG[index_G[:, None], index_G] for part, index_G in zip(parts, index, strict=True)
    ]
    table_GG = np.ravel_multi_index(components, shape)
    quotients, generators = {}, []
    for place, (name, part) in enumerate(zip(names, parts, strict=True)):
        inside = np.where(np.arange(len(parts))[:, None] == place, np.arange(part.order), 0)
        embedded = np.asarray(np.ravel_multi_index(list(inside), shape))
        generators += embedded[list(part.generators)].tolist()
        others_G = index[place] == 0
        label = name if names.count(name) == 1 else f"{name}_{place + 1}"
        quotients[label] = cosets(table_GG, others_G)
        for quotient, value_G in part.quotients.items():
            kernel_G = value_G[index[place]] == 0
            quotients[f"{label}_{quotient}"] = cosets(table_GG, kernel_G)
    symbols = tuple(
        ".".join(part.symbols[i] for part, i in zip(parts, row, strict=True)) for row in index.T
    )
    return Group(symbols, table_GG, tuple(generators), (), quotients)


_MAKERS = {"z": _cyclic, "s": _symmetric, "a": _alternating}
