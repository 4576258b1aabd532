"""Groups by name: tables against permutations in plain Python, quotients against the definition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from mecheval.errors import UsageError
from mecheval.tasks.groups import (
    Group,
    closure,
    commutators,
    cosets,
    named_group,
    normal_closure,
    normal_subgroups,
)

NAMES = [
    "s3", "s4", "a4", "a5", "s5", "z2", "z5", "z6", "z12", "z60",
    "z2xs3", "z2xz2", "a4xz5", "s3xs3", "z2xz3xz4",
]  # fmt: skip
QUOTIENTS = {
    "s3": {"sign": 2},
    "s4": {"sign": 2, "coset6": 6},
    "a4": {"coset3": 3},
    "a5": {},
    "s5": {"sign": 2},
    "z5": {},
    "z6": {"mod2": 2, "mod3": 3},
    "z12": {"mod2": 2, "mod3": 3, "mod4": 4},
    "z60": {"mod2": 2, "mod3": 3, "mod4": 4, "mod5": 5},
    "z2xs3": {"z2": 2, "s3": 6, "s3_sign": 2},
    "z2xz2": {"z2_1": 2, "z2_2": 2},
    "a4xz5": {"a4": 12, "a4_coset3": 3, "z5": 5},
}


def is_homomorphism(group: Group, value_G: np.ndarray) -> bool:
    """Say whether the value of a product follows from the values of its factors."""
    outcome: dict[tuple[int, int], int] = {}
    for a, b in itertools.product(range(group.order), repeat=2):
        key = int(value_G[a]), int(value_G[b])
        value = int(value_G[group.table_GG[a, b]])
        if outcome.setdefault(key, value) != value:
            return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_the_table_is_that_of_a_group(name: str) -> None:
    table_GG = named_group(name).table_GG
    index_G = np.arange(len(table_GG))
    assert np.array_equal(table_GG[0], index_G)
    assert np.array_equal(table_GG[:, 0], index_G)
    assert all(sorted(row) == index_G.tolist() for row in table_GG.tolist())
    a, b, c = np.meshgrid(index_G, index_G, index_G, indexing="ij")
    assert np.array_equal(table_GG[table_GG[a, b], c], table_GG[a, table_GG[b, c]])


@pytest.mark.parametrize("name", ["s3", "s4", "a4", "a5", "s5"])
def test_permutations_are_composed(name: str) -> None:
    group, n = named_group(name), int(name[1])
    assert group.order == len(set(group.symbols)) == math.factorial(n) // (2 if "a" in name else 1)
    for a, b in itertools.product(range(group.order), repeat=2):
        first, then = group.symbols[a], group.symbols[b]
        composed = "".join(then[int(image) - 1] for image in first)
        assert group.symbols[group.table_GG[a, b]] == composed


def test_the_components_of_a_product_are_multiplied_apart() -> None:
    product, left, right = (named_group(name) for name in ("z2xs3", "z2", "s3"))
    for a, b in itertools.product(range(12), repeat=2):
        parts = [product.symbols[i].split(".") for i in (a, b, product.table_GG[a, b])]
        for group, (x, y, xy) in zip((left, right), zip(*parts, strict=True), strict=True):
            place = group.symbols.index
            assert group.table_GG[place(x), place(y)] == place(xy)


@pytest.mark.parametrize("name", NAMES)
def test_quotients_are_homomorphisms_onto_all_their_values(name: str) -> None:
    group = named_group(name)
    for quotient, value_G in group.quotients.items():
        n_values = int(value_G.max()) + 1
        assert 1 < n_values < group.order
        assert value_G[0] == 0
        assert np.bincount(value_G).tolist() == [group.order // n_values] * n_values
        assert is_homomorphism(group, value_G), quotient


@pytest.mark.parametrize("name", QUOTIENTS)
def test_every_group_has_its_quotients(name: str) -> None:
    found = named_group(name).quotients
    assert {key: int(value_G.max()) + 1 for key, value_G in found.items()} == QUOTIENTS[name]


def test_the_sign_is_that_of_the_inversions_and_residues_are_residues() -> None:
    s5, z12 = named_group("s5"), named_group("z12")
    odd = [sum(a > b for a, b in itertools.combinations(s, 2)) % 2 for s in s5.symbols]
    assert s5.quotients["sign"].tolist() == odd
    for name, value_G in z12.quotients.items():
        assert value_G.tolist() == [i % int(name.removeprefix("mod")) for i in range(12)]


def test_no_normal_subgroup_of_a_factor_is_missed() -> None:
    """The sizes of all of them, by brute force over unions of classes of conjugates."""
    for name in ("s3", "s4", "a4", "z12", "a5"):
        group = named_group(name)
        found = sorted(int(mask.sum()) for mask in normal_subgroups(group.table_GG))
        assert found == _sizes_by_brute_force(group.table_GG)


def _sizes_by_brute_force(table_GG: np.ndarray) -> list[int]:
    n = len(table_GG)
    inverse = [int(np.flatnonzero(row == 0)[0]) for row in table_GG]
    classes = {
        frozenset(int(table_GG[table_GG[inverse[g], x], g]) for g in range(n)) for x in range(1, n)
    }
    sizes = []
    for n_classes in range(1, len(classes)):
        for chosen in itertools.combinations(classes, n_classes):
            union = {0}.union(*chosen)
            if all(int(table_GG[a, b]) in union for a in union for b in union):
                sizes.append(len(union))
    return sorted(sizes)


@pytest.mark.parametrize("name", [*NAMES, "a3", "s6", "a6"])
def test_generators_make_the_whole_group_and_fewer_do_not(name: str) -> None:
    group = named_group(name)
    assert closure(group.table_GG, group.generators).all()
    assert 0 not in group.generators
    for left_out in group.generators:
        assert not closure(group.table_GG, set(group.generators) - {left_out}).all()


def test_swaps_exchange_two_things_and_all_are_odd() -> None:
    s4 = named_group("s4")
    found = {s4.symbols[i] for i in s4.swaps}
    assert found == {"1243", "1432", "1324", "2134", "3214", "4231"}
    assert (s4.quotients["sign"][list(s4.swaps)] == 1).all()
    assert not named_group("a5").swaps


def test_commutators() -> None:
    sizes = {"s3": 3, "s4": 12, "a4": 4, "a5": 60, "s5": 60, "z6": 1, "z2xs3": 3}
    for name, size in sizes.items():
        assert int(commutators(named_group(name).table_GG).sum()) == size


def test_cosets_of_a_subgroup_that_is_not_normal_are_refused() -> None:
    table_GG = named_group("s3").table_GG
    swap = closure(table_GG, [3])
    assert swap.sum() == 2
    assert normal_closure(table_GG, [3]).all()
    with pytest.raises(ValueError, match="no normal subgroup"):
        cosets(table_GG, swap)


@pytest.mark.parametrize("name", ["", "x", "q8", "s", "z0", "z1", "s1", "a2", "z1xs3", "s3x", "s7",
                                  "z721", "s5xs5", "z99999", "s3 x z2"])  # fmt: skip
def test_what_is_no_group_here_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(UsageError, match=r"There is no group .* here"):
        named_group(name)
