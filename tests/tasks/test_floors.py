"""Floors against the table of the formal-language reference (section 8.2), at its sizes."""

from __future__ import annotations

import numpy as np
import pytest

from mecheval.registry import Registry
from mecheval.tasks import floors
from mecheval.tasks.floors import FLOORS, first_position, task_floors

COLUMNS = ("majority", "position", "last1", "last2", "last4", "last4+position")
TABLE = {
    ("parity", 0.5, "parity"): (0.500, 0.500, 0.500, 0.500, 0.500, 0.500),
    ("s3", 1 / 6, "element"): (0.167, 0.167, 0.166, 0.166, 0.167, 0.167),
    ("dyck", 0.0, "depth"): (0.250, 0.499, 0.251, 0.375, 0.531, 0.782),
    ("dyck", 0.0, "top"): (0.438, 0.437, 0.687, 0.687, 0.781, 0.828),
    ("dyck", 0.25, "depth"): (0.250, 0.250, 0.250, 0.321, 0.444, 0.443),
    ("dyck", 0.25, "top"): (0.437, 0.437, 0.625, 0.672, 0.749, 0.749),
}


def at_64(name: str, noop_rate: float):
    task = Registry().load("task", name)
    return task(min_length=64, max_length=64, noop_rate=noop_rate)


@pytest.mark.parametrize(("name", "noop_rate", "variable"), list(TABLE))
def test_floors_are_those_of_the_reference(name: str, noop_rate: float, variable: str) -> None:
    found = task_floors(at_64(name, noop_rate), 0, 40_000)
    assert found.first == 16
    floors = found.variables[variable]
    for column, expected in zip(COLUMNS, TABLE[name, noop_rate, variable], strict=True):
        assert floors.accuracy[column] == pytest.approx(expected, abs=0.012), column


def test_floors_of_longer_sequences_are_those_of_a_task_of_that_length() -> None:
    """Windows know as much of the depth as before, positions less of how deep it can be."""
    short = Registry().load("task", "dyck")(max_length=32, min_length=32, noop_rate=0.25)
    found, expected = (
        task_floors(short, 0, 40_000, factor=2),
        task_floors(at_64("dyck", 0.25), 0, 20_000),
    )
    assert found.first == expected.first == 16
    for name in FLOORS:
        measured, of_that_length = (
            by.variables["depth"].accuracy[name] for by in (found, expected)
        )
        assert measured == pytest.approx(of_that_length, abs=0.015), name
    assert found.answer.accuracy != task_floors(short, 0, 20_000).answer.accuracy


def test_the_answer_has_the_floors_of_the_variable_that_it_is() -> None:
    found = task_floors(at_64("dyck", 0.25), 0, 20_000)
    assert found.answer.accuracy == pytest.approx(found.variables["top"].accuracy)
    assert found.answer.best == max(found.answer.accuracy[name] for name in FLOORS)


def test_balanced_floors_are_mean_recalls() -> None:
    floors = task_floors(at_64("dyck", 0.25), 0, 20_000).variables["top"]
    balanced = floors.balanced()
    assert balanced["majority"] == pytest.approx(1 / 3)
    # A table for balanced accuracy beats, by that measure, the one for plain accuracy.
    assert balanced["last4"] > floors.accuracy["last4"]
    for name in FLOORS[1:]:
        assert balanced[name] == pytest.approx(np.mean(floors.recalls[name]))
        assert balanced[name] >= 1 / 3 - 0.01
    assert floors.balanced([1, 2])["last4"] == pytest.approx(floors.recalls["last4"][1:].mean())


def test_no_window_holds_the_whole_sequence() -> None:
    assert [first_position(length) for length in (2, 5, 16, 20, 32, 64)] == [2, 5, 5, 5, 8, 16]
    floors = task_floors(Registry().load("task", "parity")(), 0).answer
    assert floors.best == pytest.approx(0.5, abs=0.01)


def test_floors_follow_from_the_seed_and_are_measured_once() -> None:
    task = at_64("s3", 0.5)
    first = task_floors(task, 3, 2000)
    assert task_floors(task, 3, 2000) is first
    floors._measured.cache_clear()
    again, other = task_floors(task, 3, 2000), task_floors(task, 4, 2000)
    assert again.answer.accuracy == first.answer.accuracy
    assert other.answer.accuracy != first.answer.accuracy


def test_contexts_too_many_for_a_dense_table_give_the_same_floors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = at_64("dyck", 0.25)
    dense = task_floors(task, 0, 2000)
    floors._measured.cache_clear()
    monkeypatch.setattr("mecheval.tasks.floors._DENSE", 0)
    assert task_floors(task, 0, 2000).answer.accuracy == dense.answer.accuracy
    floors._measured.cache_clear()


def test_a_variable_that_is_defined_nowhere_behind_the_first_position_has_no_floors() -> None:
    task = Registry().load("task", "ar")(pairs=2)
    found = task_floors(task, 0, 256)
    assert found.variables["key"].accuracy == {}
    assert found.variables["key"].recalls == {}
    assert 0 < found.answer.best < 1
