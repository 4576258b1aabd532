"""The recovery ratio, the roles and the trivial sites, on arrays."""

from __future__ import annotations

import numpy as np
import pytest

from mecheval.metrics.intervention import patching
from mecheval.tasks import Batch, Pairs


def pairs_of(clean: list[list[int]], corrupted: list[list[int]], readout: list[int]) -> Pairs:
    roles = {"readout": np.array(readout)}
    batches = [
        Batch(np.array(tokens), np.zeros_like(tokens), {}, roles) for tokens in (clean, corrupted)
    ]
    return Pairs(*batches)


def test_recovery_is_the_share_of_the_gap_and_is_not_clipped() -> None:
    clean, corrupted = np.array([2.0, 2.0, 1.0]), np.array([-2.0, -2.0, 1.0])
    patched = np.array([[2.0, -2.0, 1.0], [4.0, -3.0, 5.0]])
    found = patching.recovery(clean, corrupted, patched)
    assert found[:, :2].tolist() == [[1.0, 0.0], [1.5, -0.25]]
    assert np.isnan(found[:, 2]).all()  # donor equals recipient: 0/0


def test_the_middle_lies_strictly_between() -> None:
    changed, readout = np.array([1, 1, 1, 4, 4]), np.array([9, 4, 3, 5, 6])
    assert patching.middle(changed, readout).tolist() == [5, 2, 2, patching.NOWHERE, 5]


@pytest.mark.parametrize(
    ("component", "layer", "expected"),
    [
        # positions:   0    1    2 (changed)  3    4 (readout)  5
        ("block_in", 0, [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
        ("block_in", 1, [0.0, 0.0, None, None, None, 0.0]),
        ("block_in", 2, [0.0, 0.0, None, None, None, 0.0]),
        ("mixer_in", 0, [0.0, 0.0, None, 0.0, 0.0, 0.0]),
        ("mixer_out", 0, [0.0, 0.0, None, None, None, 0.0]),
        ("mixer_out", 2, [0.0, 0.0, 0.0, 0.0, None, 0.0]),
        ("mlp_out", 2, [0.0, 0.0, 0.0, 0.0, None, 0.0]),
        ("block_out", 2, [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
    ],
)
def test_trivial_sites(component: str, layer: int, expected: list[float | None]) -> None:
    pairs = pairs_of([[0, 1, 1, 1, 1, 1]], [[0, 1, 2, 1, 1, 1]], [4])
    known = patching.by_construction(pairs, component, 3)[layer, :, 0]
    assert [None if np.isnan(value) else value for value in known] == expected


def test_two_changed_tokens_leave_neither_trivial() -> None:
    pairs = pairs_of([[0, 1, 1, 1]], [[0, 2, 2, 1]], [3])
    known = patching.by_construction(pairs, "block_in", 2)[0, :, 0]
    assert np.isnan(known).tolist() == [False, True, True, False]


def test_values_at_positions() -> None:
    values = np.arange(12.0).reshape(2, 3, 2)
    found = patching.at_positions(values, np.array([2, patching.NOWHERE]))
    assert found[:, 0].tolist() == [4.0, 10.0]
    assert np.isnan(found[:, 1]).all()
