"""JSON for people: the same values, what is short on one line, arrays one line per row."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mecheval.reports.json_text import WIDTH, dumps

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=30,
)  # fmt: skip


@given(VALUES)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_it_says_what_json_says(value: Any) -> None:
    assert json.loads(dumps(value)) == value
    assert dumps(value).isascii()


def test_a_row_of_numbers_is_one_line_however_long() -> None:
    row = [i / 7 for i in range(200)]
    text = dumps({"name": "x", "values": row, "inner": {"deep": [row, row]}})
    assert text.count("\n") == 7
    assert json.dumps(row) in text.splitlines()[2]


def test_short_things_are_one_line_and_long_ones_are_filled() -> None:
    assert dumps({"a": 1, "b": [1, None, True], "c": ["x"]}) == (
        '{"a": 1, "b": [1, null, true], "c": ["x"]}'
    )
    filled = dumps({f"member{i}": i for i in range(20)})
    assert all(len(line) <= WIDTH for line in filled.splitlines())
    assert filled.count("\n") < 6


def test_members_with_members_have_lines_of_their_own() -> None:
    assert dumps({"a": 1, "b": {"c": 2}}) == '{\n "a": 1,\n "b": {"c": 2}\n}'


def test_an_array_has_a_line_per_row() -> None:
    rows = [[0.125] * 12] * 3
    lines = dumps({"value": rows}).splitlines()
    assert [line.count("0.125") for line in lines] == [0, 12, 12, 12, 0]


def test_what_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps({"a": [float("nan")]})
