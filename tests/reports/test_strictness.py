"""What the models take as a file is, follows the schema: so reports are checked in a hundredth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from synthetic_pairs import synthetic_pair
from synthetic_reports import snapshots, synthetic

from mecheval.reports import schema_file
from mecheval.reports.files import dumps, find_reports, sealed
from mecheval.reports.reading import ReportFile, read_file
from mecheval.reports.schema import Report
from mecheval.reports.validate import validate_file

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLISHED = Path(__file__).parents[2] / "leaderboards" / "results"
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
    content["metrics"] = content["metrics"][-1:]  # all that is changed: they are alike
    for metric in content["metrics"]:
        metric["profiles"] = dict.fromkeys(metric["profiles"], metric["profile"])  # smaller
    validator = Draft202012Validator(schema_file.committed(schema))
    taken = n_refused = 0
    assert is_taken(content, schema)
    for where in _changed(content):
        if not is_taken(content, schema):
            n_refused += 1
            continue
        taken += 1
        problem = next(validator.iter_errors(content), None)
        assert problem is None, f"{where}: {problem.message}"
    assert taken > 50
    assert n_refused > 500


def test_a_report_that_does_not_say_what_it_is_has_a_field_less(tmp_path: Path) -> None:
    content = json.loads(dumps(sealed(synthetic())))
    del content["schema"]
    path = tmp_path / "seed0.json"
    path.write_text(json.dumps(content))
    (failed,) = (check for check in validate_file(path) if check.passed is False)
    assert failed.detail == "the report: 'schema' is a required property"


def test_the_last_of_fields_with_one_name_counts() -> None:
    text = dumps(synthetic())
    for twice in ('{"seed": "x",', '{"seed": 7,'):
        data = text.replace('"identity": {', f'"identity": {twice}', 1)
        assert data != text
        file = ReportFile.of(Path(), data.encode(), json.loads(data), Report)
        assert file.exact
        assert file.report == Report.model_validate(json.loads(text))


@pytest.mark.parametrize("path", find_reports(PUBLISHED)[::25])
def test_a_published_report_is_the_same_read_from_text_or_from_values(path: Path) -> None:
    file = read_file(path, Report, verify=True)
    assert file.exact
    assert file.report == Report.model_validate(file.content)


def is_taken(content: dict[str, Any], schema: str) -> bool:
    data = json.dumps(content).encode()
    try:
        file = ReportFile.of(Path(), data, content, schema_file.model_of(schema))
    except ValidationError:
        return False
    return file.exact and content.get("schema") == schema  # which models would fill in


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
