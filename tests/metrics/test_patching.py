"""The recovery ratio and the roles, on arrays."""

from __future__ import annotations

import numpy as np

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


def test_values_at_positions() -> None:
    values = np.arange(12.0).reshape(2, 3, 2)
    found = patching.at_positions(values, np.array([2, patching.NOWHERE]))
    assert found[:, 0].tolist() == [4.0, 10.0]
    assert np.isnan(found[:, 1]).all()
