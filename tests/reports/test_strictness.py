"""What the models take as a file is, follows the schema: so reports are checked in a hundredth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from synthetic_pairs import synthetic_pair
from synthetic_reports import snapshots, synthetic

from mecheval.reports import schema_file
from mecheval.reports.files import dumps, sealed
from mecheval.reports.validate import _is_accepted

if TYPE_CHECKING:
    from collections.abc import Iterator

REPORTS = {
    "cell": snapshots(synthetic(limit=4), 1),
    "pair": synthetic_pair(synthetic("gru"), synthetic("lstm")),
}
OTHERS = (
    None, True, 0, -1, 1.0, 1.5, 10**15, 2**63, 1e300, "", "1", "x", "a\nb", "x" * 5000,
    "2026-01-01T00:00:00Z", [], [None], [1], ["x"], {}, {"x": 1}, {"x": None}, {"": {"x": []}},
)  # fmt: skip

FREE = ("args", "index", "marks", "params", "profiles", "recipe", "references", "scalars", "series")
"""Fields whose keys are names that a metric, a model or a task has chosen."""


@pytest.mark.parametrize("name", REPORTS)
def test_what_the_models_take_follows_the_schema(name: str) -> None:
    content = json.loads(dumps(sealed(REPORTS[name])))
    schema = content["schema"]
    for metric in content["metrics"]:
        metric["profiles"] = dict.fromkeys(metric["profiles"], metric["profile"])  # smaller
    validator = Draft202012Validator(schema_file.committed(schema))
    taken = n_refused = 0
    assert _is_accepted(json.dumps(content).encode(), content, schema)
    for where in _changed(content):
        if not _is_accepted(json.dumps(content).encode(), content, schema):
            n_refused += 1
            continue
        taken += 1
        problem = next(validator.iter_errors(content), None)
        assert problem is None, f"{where}: {problem.message}"
    assert taken > 50
    assert n_refused > 500


@pytest.mark.parametrize("schema", [None, 1, "mecheval.report/2", "mecheval.pair/1"])
def test_a_report_says_itself_what_it_is(schema: Any) -> None:
    content = json.loads(dumps(synthetic()))
    content["schema"] = schema
    assert not _is_accepted(json.dumps(content).encode(), content, "mecheval.report/1")
    del content["schema"]
    assert not _is_accepted(json.dumps(content).encode(), content, "mecheval.report/1")


def test_the_last_of_fields_with_one_name_counts() -> None:
    text = dumps(synthetic())
    for twice in ('{"seed": "x",', '{"seed": 0,'):
        data = text.replace('"identity": {', f'"identity": {twice}', 1)
        assert data != text
        assert _is_accepted(data.encode(), json.loads(data), "mecheval.report/1")


def _changed(content: dict[str, Any]) -> Iterator[str]:
    """Change one place of a report after the other: another value, one more, one less.

    Of places that one field describes, such as all entries of a list, the first is changed.
    """
    parts: list[tuple[str, Any]] = [("", content)]
    seen = set()
    while parts:
        path, part = parts.pop()
        if path in seen:
            continue
        seen.add(path)
        is_named = isinstance(part, dict) and not path.endswith(FREE)
        keys = list(part) if is_named else list(part)[:1] if isinstance(part, dict) else [0]
        for key in keys:
            before = part[key]
            for other in OTHERS:
                part[key] = other
                yield f"{path}.{key} is {str(other)[:20]!r}"
            part[key] = before
        if isinstance(part, dict):
            for key in keys:
                before = part.pop(key)
                yield f"{path} without {key}"
                part[key] = before
            part["surprise"] = 1
            yield f"{path} with more"
            del part["surprise"]
        inner = part.items() if isinstance(part, dict) else enumerate(part)
        parts += [
            (f"{path}.{key if is_named else '*'}", value)
            for key, value in inner
            if isinstance(value, dict | list) and value
        ]
