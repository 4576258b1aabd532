"""Flip-flop: labels against a plain program, the floors by formula, the contrast to Dyck."""

from __future__ import annotations

import numpy as np
import pytest
from crossings import mostly_slow

import mecheval
from mecheval.errors import UsageError
from mecheval.seeding import stream
from mecheval.tasks import UNDEFINED, UNSCORED, Batch, Task
from mecheval.tasks.checks import check_task
from mecheval.tasks.floors import task_floors
from mecheval.tasks.splits import draw_pairs


def assert_labelled(task: Task, batch: Batch, *, reads: bool = False) -> None:
    for row in range(len(batch)):
        symbols = [task.symbols[token] for token in batch.tokens_BT[row, 1:]]
        assert symbols[0].isdigit()
        stored = ""
        for symbol, target, value in zip(
            symbols, batch.targets_BT[row, 1:], batch.variables["value"][row, 1:], strict=True
        ):
            stored = symbol if symbol.isdigit() else stored
            if symbol.startswith("="):
                assert symbol == f"={stored}"
                assert (target, value) == (UNSCORED, UNDEFINED)
                continue
            assert str(value) == stored
            if reads and symbol != "?":
                assert target == UNSCORED
            else:
                assert task.symbols[target] == stored


@pytest.mark.parametrize(
    "params",
    mostly_slow(
        [
            "", "values=5,write_rate=0.4", "range", "dyck", "reveal_rate=0.3", "read_rate=0.2",
            "read_rate=0.2,reveal_rate=0.3,values=3", "paper,max_length=64,min_length=64",
        ],
        always=["", "dyck", "read_rate=0.2,reveal_rate=0.3,values=3"],
    ),
)  # fmt: skip
def test_labels_and_contract(params: str) -> None:
    task = mecheval.load_task(f"flipflop[{params}]" if params else "flipflop")
    reads = "?" in task.symbols
    for length in (task.min_length, task.max_length, 80):
        assert_labelled(task, task.sample(stream(0, length), 60, length), reads=reads)
    pairs = draw_pairs(task, stream(1), 60, length=task.max_length)
    assert_labelled(task, pairs.clean, reads=reads)
    assert_labelled(task, pairs.corrupted, reads=reads)
    assert not [str(check) for check in check_task(task) if not check.passed]


def test_pairs_differ_in_what_was_written_last() -> None:
    task = mecheval.load_task("flipflop[values=4]")
    pairs = draw_pairs(task, stream(0), 200, length=32)
    assert ((pairs.clean.tokens_BT != pairs.corrupted.tokens_BT).sum(1) == 1).all()
    later_PT = np.arange(33) > pairs.changed_P[:, None]
    assert (pairs.clean.tokens_BT[later_PT] == 1).all()  # nothing but no-ops
    differs_PT = pairs.clean.targets_BT != pairs.corrupted.targets_BT
    assert np.array_equal(differs_PT, np.arange(33) >= pairs.changed_P[:, None])


@pytest.mark.parametrize(("write_rate", "values"), [(0.1, 2), (0.3, 2), (0.19, 3)])
def test_the_floor_of_a_window_is_the_formula(write_rate: float, values: int) -> None:
    task = mecheval.load_task(f"flipflop[write_rate={write_rate},values={values}]")
    found = task_floors(task, 0, 40_000).answer.accuracy
    for width in (1, 2, 4):
        expected = 1 - (1 - write_rate) ** width * (1 - 1 / values)
        assert found[f"last{width}"] == pytest.approx(expected, abs=0.01)
    assert found["position"] == pytest.approx(1 / values, abs=0.01)


def test_the_preset_dyck_has_the_floor_of_dyck() -> None:
    dyck, flipflop = (mecheval.load_task(name) for name in ("dyck", "flipflop[dyck]"))
    one, other = (task_floors(task, 0).answer for task in (dyck, flipflop))
    assert other.best == pytest.approx(one.best, abs=0.005)
    assert one.best == one.accuracy["last4"]
    assert (dyck.max_length, dyck.chance) == (flipflop.max_length, flipflop.chance)


def test_reads_alone_are_scored_and_come_at_their_rate() -> None:
    task = mecheval.load_task("flipflop[paper]")
    batch = task.sample(stream(0), 200, 256)
    symbols_BS = np.array(task.symbols)[batch.tokens_BT[:, 1:]]
    assert np.array_equal(batch.targets_BT[:, 1:] != UNSCORED, symbols_BS == "?")
    assert (symbols_BS[:, -1] == "?").all()
    shares = {symbol: (symbols_BS[:, 1:-1] == symbol).mean() for symbol in task.symbols[1:]}
    expected = {".": 0.8, "0": 0.05, "1": 0.05, "?": 0.1}
    assert shares == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    "params",
    ["write_rate=0", "write_rate=1.5", "write_rate=0.6,read_rate=0.6", "values=1", "read_rate=1",
     "read_rate=-0.1", "read_rate=0.1,min_length=1", "reveal_rate=1", "values=two"],
)  # fmt: skip
def test_parameters_out_of_range_are_usage_errors(params: str) -> None:
    with pytest.raises(UsageError):
        mecheval.load_task(f"flipflop[{params}]")
