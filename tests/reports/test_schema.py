"""The committed JSON Schema is that of the models, and says the same as they do."""

import json

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from synthetic_reports import synthetic

from mecheval.reports import schema_file
from mecheval.reports.content import SCHEMA
from mecheval.reports.files import dumps
from mecheval.reports.schema import MetricResult, Report


def test_the_committed_schema_is_current() -> None:
    assert schema_file.committed() == schema_file.generate(), (
        "mecheval/reports/schema.py changed. If a field was added, run "
        "`python -m mecheval.reports.schema_file` and commit report.v1.json; any other change "
        "needs a new schema version."
    )
    assert schema_file.file_of(SCHEMA).read_text() == schema_file.dumps(schema_file.committed())


def test_it_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(schema_file.committed())


def test_every_field_is_documented() -> None:
    schema = schema_file.committed()
    undocumented = [
        f"{name}.{field}"
        for name, part in {**schema["$defs"], "Report": schema}.items()
        for field, of_field in part["properties"].items()
        if "description" not in of_field
    ]
    assert not undocumented


def test_written_reports_follow_it() -> None:
    for report in (synthetic(), synthetic(learned=False), synthetic(task="dyck", limit=3)):
        written = json.loads(dumps(report))
        assert not list(Draft202012Validator(schema_file.committed()).iter_errors(written))


def test_reading_gives_back_what_was_written() -> None:
    report = synthetic(task="dyck")
    assert Report.model_validate(json.loads(dumps(report))) == Report.model_validate(
        json.loads(dumps(Report.model_validate(json.loads(dumps(report)))))
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_cannot_be_written(value: float) -> None:
    content = synthetic().metrics[0].model_dump()
    with pytest.raises(ValidationError):
        MetricResult.model_validate({**content, "value": value})


def test_numbers_are_written_with_ten_digits() -> None:
    content = {**synthetic().metrics[0].model_dump(), "value": 1 / 3}
    assert MetricResult.model_validate(content).model_dump(mode="json")["value"] == 0.3333333333


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="surprise"):
        Report.model_validate({**json.loads(dumps(synthetic())), "surprise": 1})
