"""The built-in tasks against brute-force oracles in plain Python, counterfactuals included.

Every sequence that a task emits is re-labelled symbol by symbol by an independent program; every
prefix must be legal.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mecheval.errors import UsageError
from mecheval.registry import Registry
from mecheval.seeding import stream
from mecheval.tasks import UNDEFINED, UNSCORED, Batch, Task
from mecheval.tasks.contract import configure
from mecheval.tasks.splits import draw_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Labels = tuple[str, dict[str, int]]
"""The answer after a position, and the value of every variable there."""


def build(name: str, **args: object) -> Task:
    return configure(Registry().load("task", name), args, name=name)


def xor(symbols: list[str]) -> Iterator[Labels]:
    bit = 0
    for symbol in symbols:
        bit ^= int(symbol)
        yield str(bit), {"parity": bit}


def sum_mod_6(symbols: list[str]) -> Iterator[Labels]:
    total = 0
    for symbol in symbols:
        total = (total + int(symbol)) % 6
        yield str(total), {"element": total, "mod2": total % 2, "mod3": total % 3}


ROTATIONS = ("123", "231", "312")
ELEMENTS = (*ROTATIONS, "132", "321", "213")


def compose(state: str, then: str) -> str:
    """Apply the state to 1, 2, 3 and the next permutation to the result."""
    return "".join(then[int(image) - 1] for image in state)


def permutations(symbols: list[str]) -> Iterator[Labels]:
    state = "123"
    for symbol in symbols:
        state = compose(state, symbol)
        element = ELEMENTS.index(state)
        odd = sum(a > b for a, b in itertools.combinations(state, 2)) % 2
        yield state, {"element": element, "sign": odd, "coset": _coset(state)}


def _coset(state: str) -> int:
    """Which left coset of {123, 132} holds the state, named by its rotation."""
    return next(i for i, r in enumerate(ROTATIONS) if state in (r, compose(r, "132")))


def stack(symbols: list[str], k: int, m: int) -> Iterator[Labels]:
    pairs = ["()", "[]", "{}", "<>"][:k]
    open_brackets: list[str] = []
    for symbol in symbols:
        if symbol in [pair[0] for pair in pairs]:
            open_brackets.append(symbol)
        elif symbol != ".":
            opened = open_brackets.pop()
            assert [pair[1] for pair in pairs if pair[0] == opened] == [symbol]
        assert len(open_brackets) <= m
        kind = [pair[0] for pair in pairs].index(open_brackets[-1]) if open_brackets else None
        answer = "." if kind is None else pairs[kind][1]
        yield answer, {"depth": len(open_brackets), "top": 0 if kind is None else kind + 1}


def assert_labelled(
    task: Task, batch: Batch, oracle: Callable[[list[str]], Iterator[Labels]]
) -> None:
    symbols = np.array(task.symbols)
    for row in range(len(batch)):
        assert batch.tokens_BT[row, 0] == 0
        assert batch.targets_BT[row, 0] == UNSCORED
        assert all(values[row, 0] == UNDEFINED for values in batch.variables.values())
        expected = list(oracle(symbols[batch.tokens_BT[row, 1:]].tolist()))
        assert symbols[batch.targets_BT[row, 1:]].tolist() == [answer for answer, _ in expected]
        for name, values_BT in batch.variables.items():
            assert values_BT[row, 1:].tolist() == [values[name] for _, values in expected]


def assert_task(task: Task, oracle: Callable[[list[str]], Iterator[Labels]]) -> None:
    for length in (task.min_length, *task.test_lengths.values()):
        assert_labelled(task, task.sample(stream(0, "oracle", length), 60, length), oracle)
    pairs = draw_pairs(task, stream(0, "oracle_pairs"), 60, length=task.max_length)
    assert_labelled(task, pairs.clean, oracle)
    assert_labelled(task, pairs.corrupted, oracle)


@pytest.mark.parametrize(
    ("name", "oracle"), [("parity", xor), ("z6", sum_mod_6), ("s3", permutations)]
)
@pytest.mark.parametrize("noop_rate", [0.1, 0.5, 0.9])
def test_group_words(
    name: str, oracle: Callable[[list[str]], Iterator[Labels]], noop_rate: float
) -> None:
    assert_task(build(name, noop_rate=noop_rate), oracle)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 6, 7, 8])
def test_dyck(k: int, m: int) -> None:
    task = build("dyck", k=k, m=m, max_length=32, min_length=8, longer=[2])
    assert_task(task, lambda symbols: stack(symbols, k, m))


@pytest.mark.parametrize("k", [1, 3])
def test_dyck_without_no_ops(k: int) -> None:
    task = build("dyck", k=k, m=5, noop_rate=0.0)
    assert_task(task, lambda symbols: stack(symbols, k, 5))


def test_dyck_reaches_its_greatest_depth_and_every_type() -> None:
    task = build("dyck", k=3, m=4)
    batch = task.sample(stream(0, "depth"), 500, 64)
    assert set(np.unique(batch.variables["depth"])) == {UNDEFINED, 0, 1, 2, 3, 4}
    assert set(np.unique(batch.variables["top"])) == {UNDEFINED, 0, 1, 2, 3}


def test_dyck_pairs_change_one_bracket_type_where_a_bracket_is_open() -> None:
    task = build("dyck", k=2, m=4)
    pairs = draw_pairs(task, stream(0, "pairs"), 400, length=32)
    changed_PT = pairs.clean.tokens_BT != pairs.corrupted.tokens_BT
    assert (changed_PT.sum(1) == 1).all()
    open_P = pairs.clean.variables["depth"][:, -1] > 0
    assert open_P.mean() > 0.5
    before_PT, after_PT = pairs.clean.variables["depth"], pairs.corrupted.variables["depth"]
    assert np.array_equal(before_PT[open_P], after_PT[open_P])


@pytest.mark.parametrize("name", ["parity", "s3", "z6"])
def test_group_pairs_change_one_element_and_every_later_state(name: str) -> None:
    task = build(name)
    pairs = draw_pairs(task, stream(0, "pairs"), 200, length=16)
    assert ((pairs.clean.tokens_BT != pairs.corrupted.tokens_BT).sum(1) == 1).all()
    later_PT = np.arange(17)[None] >= pairs.changed_P[:, None]
    differs_PT = pairs.clean.targets_BT != pairs.corrupted.targets_BT
    assert np.array_equal(differs_PT, later_PT)
    assert (pairs.changed_P <= 8).all()


@pytest.mark.parametrize("name", ["parity", "s3", "z6", "dyck"])
@pytest.mark.parametrize("noop_rate", [0.25, 0.5])
def test_the_no_op_comes_at_its_rate_and_changes_nothing(name: str, noop_rate: float) -> None:
    batch = build(name, noop_rate=noop_rate).sample(stream(0, "noop"), 400, 64)
    noop_BS = batch.tokens_BT[:, 1:] == 1
    assert noop_BS.mean() == pytest.approx(noop_rate, abs=0.01)
    for values_BT in batch.variables.values():
        kept_BS = values_BT[:, 1:-1] == values_BT[:, 2:]
        assert kept_BS[noop_BS[:, 1:]].all()


def test_sign_is_a_homomorphism_and_the_coset_is_not() -> None:
    task = build("s3")
    product = task.product  # type: ignore[attr-defined]
    a, b = np.meshgrid(np.arange(6), np.arange(6), indexing="ij")
    sign, coset = (np.asarray(task.read(np.arange(6))[name]) for name in ("sign", "coset"))  # type: ignore[attr-defined]
    assert np.array_equal(sign[product], (sign[a] + sign[b]) % 2)
    outcomes = {(coset[a], coset[b]): set() for a in range(6) for b in range(6)}
    for x, y in itertools.product(range(6), repeat=2):
        outcomes[coset[x], coset[y]].add(int(coset[product[x, y]]))
    assert any(len(values) > 1 for values in outcomes.values())


def test_z6_splits_into_its_residues() -> None:
    values = build("z6").read(np.arange(6))  # type: ignore[attr-defined]
    assert len({*zip(values["mod2"].tolist(), values["mod3"].tolist(), strict=True)}) == 6


@pytest.mark.parametrize("name", ["s3", "z6", "parity"])
def test_products_are_groups_with_the_no_op_as_identity(name: str) -> None:
    product = build(name).product  # type: ignore[attr-defined]
    n = len(product)
    assert np.array_equal(product[0], np.arange(n))
    assert np.array_equal(product[:, 0], np.arange(n))
    assert all(sorted(row) == list(range(n)) for row in product.tolist())
    a, b, c = np.meshgrid(*[np.arange(n)] * 3, indexing="ij")
    assert np.array_equal(product[product[a, b], c], product[a, product[b, c]])
    assert np.array_equal(product, product.T) == (name != "s3")


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("parity", {"noop_rate": 1.0}),
        ("parity", {"noop_rate": -0.1}),
        ("parity", {"min_length": 9, "max_length": 8}),
        ("parity", {"min_length": 0}),
        ("dyck", {"k": 0}),
        ("dyck", {"k": 5}),
        ("dyck", {"m": 0}),
        ("dyck", {"noop_rate": 1.5}),
        ("dyck", {"k": "two"}),
        ("dyck", {"depth": 4}),
    ],
)
def test_parameters_out_of_range_are_usage_errors(name: str, args: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        build(name, **args)
