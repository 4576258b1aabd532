"""A number by its path, and the interval that stands beside it."""

from __future__ import annotations

import pytest
from headline_reports import result

from mecheval.reports.lookup import interval_at, number_at
from mecheval.reports.schema import Profile

FULL = result(
    "recovery/state", 0.5,
    references={"floor": 0.1},
    scalars={"cost": 0.4, "cost_low": 0.3, "cost_high": 0.6, "bare": 1.0},
    profile=Profile(
        axes=["layer", "role"], index={"layer": [0, 1], "role": ["key", "value"]},
        value=[[0.0, 0.1], [0.2, None]], low=[[0.0, 0.05], [0.1, None]],
        high=[[0.0, 0.15], [0.3, None]], marks={"trivial": [[True, False], [False, False]]},
        series={"random": [[1.0, 2.0], [3.0, 4.0]], "random_low": [[0.5, 1.5], [2.5, 3.5]],
                "random_high": [[1.5, 2.5], [3.5, 4.5]]},
    ),
    profiles={"grid": Profile(axes=["layer"], index={"layer": [7]}, value=[9.0])},
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "number", "interval"),
    [
        ("", 0.5, (0.45, 0.55)),
        ("floor", 0.1, None),
        ("cost", 0.4, (0.3, 0.6)),
        ("bare", 1.0, None),
        ("layer=1 role=key", 0.2, (0.1, 0.3)),
        ("role=key layer=1", 0.2, (0.1, 0.3)),
        ("layer=1 role=value", None, None),
        ("series=random layer=0 role=value", 2.0, (1.5, 2.5)),
        ("mark=trivial layer=0 role=key", 1.0, None),
        ("profile=grid layer=7", 9.0, None),
        ("nothing", "there is no nothing", None),
        ("layer=5 role=key", "there is no layer=5 role=key", None),
        ("layer=1", "there is no layer=1", None),
        ("profile=other layer=1", "there is no such profile", None),
        ("series=other layer=0 role=key", "there is no series=other layer=0 role=key", None),
        ("layer=1=2 word", "there is no layer=1=2 word", None),
    ],
)
def test_paths(path, number, interval):
    assert number_at(FULL, path.split()) == number
    found = interval_at(FULL, path.split())
    assert found == (pytest.approx(interval) if interval else None)


def test_a_missing_value_gives_its_reason():
    empty = result("recovery/state", None)
    for path in ([], ["cost"], ["layer=1"]):
        assert number_at(empty, path) == "no gap: 0.01"
        assert interval_at(empty, path) is None
