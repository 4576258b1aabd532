"""What a report must keep, one property at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from synthetic_reports import synthetic, write

from mecheval.checks import all_passed
from mecheval.reports.validate import MAX_BYTES, validate_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path, synthetic())[0]


def edit(path: Path, change: Callable[[dict[str, Any]], object], *, digest: bool = False) -> None:
    """Change a report; without its digest, which any change would make wrong."""
    content = json.loads(path.read_text())
    if not digest:
        del content["digest"]
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "report", [synthetic(), synthetic(task="dyck", learned=False), synthetic(limit=4)]
)
def test_a_whole_report_passes(tmp_path: Path, report: Any) -> None:
    (path,) = write(tmp_path, report)
    assert not [str(check) for check in validate_file(path) if not check.passed]


def failure(path: Path) -> str:
    """Return the name and detail of the one check that failed."""
    failed = [check for check in validate_file(path) if check.passed is False]
    assert len(failed) == 1, [str(check) for check in failed]
    assert not all_passed(failed)
    return f"{failed[0].name}: {failed[0].detail}"


def _first_metric(**changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["metrics"][0].update(changes)


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda c: c.pop("status"), "'status' is a required property"),
        (lambda c: c.pop("schema"), "'schema' is a required property"),
        (lambda c: c.update(surprise=1), "'surprise' was unexpected"),
        (lambda c: c["identity"].update(seed="zero"), "identity.seed: 'zero' is not of type"),
        (lambda c: c["metrics"][0].pop("id"), "metrics[0]: 'id' is a required property"),
        (lambda c: c.update(schema="mecheval.report/2"), "'mecheval.report/1' was expected"),
    ],
)
def test_the_schema_names_the_field(
    path: Path, change: Callable[[dict[str, Any]], object], detail: str
) -> None:
    edit(path, change)
    assert failure(path).startswith("follows mecheval.report/1")
    assert detail in failure(path)


@pytest.mark.parametrize(
    ("change", "name", "detail"),
    [
        (lambda c: c.update(key="0" * 64), "key is the hash", "the hash of the identity is"),
        (lambda c: c["identity"]["recipe"].update(lr=0.004), "key is the hash", "identity"),
        (_first_metric(value=None), "numbers make sense", "token_accuracy/1x is null without"),
        (_first_metric(n_scored=65), "numbers make sense", "has scored 65 of 64 units"),
        (_first_metric(n_scored=0), "numbers make sense", "has a value from no unit"),
        (_first_metric(value=1.5), "numbers make sense", "is 1.5, outside its bounds 0.0 to 1.0"),
        (_first_metric(id="last_accuracy/1x"), "numbers make sense", "occurs twice"),
        (
            lambda c: c["metrics"][0]["uncertainty"].update(low=0.9, high=0.8),
            "numbers make sense",
            "has an interval from 0.9 to 0.8",
        ),
        (lambda c: c.update(learned=False), "numbers make sense", "although the task was not"),
        (lambda c: c.update(status="error"), "status fits", "error says otherwise"),
        (lambda c: c.update(partial=True), "status fits", "contradict each other"),
        (lambda c: c.update(metrics=[]), "status fits", "there are no metrics"),
        (lambda c: c.update(command=["x" * MAX_BYTES]), "size", "kB"),
    ],
)
def test_what_does_not_hold_is_named(
    path: Path, change: Callable[[dict[str, Any]], object], name: str, detail: str
) -> None:
    edit(path, change)
    assert failure(path).startswith(name)
    assert detail in failure(path)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none_are_refused(path: Path, constant: str) -> None:
    path.write_text(path.read_text().replace('"n_scored": 64', f'"n_scored": {constant}', 1))
    assert failure(path).startswith(f"whole JSON without NaN: {constant} is not a JSON number")


@pytest.mark.parametrize("text", ["", "{", "[1, 2", '{"schema": "mecheval.rep'])
def test_half_a_file_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    assert failure(path).startswith("whole JSON without NaN")


@pytest.mark.parametrize("text", ["[]", "null", "3", '"a"', "{}"])
def test_other_json_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    assert failure(path).startswith("follows mecheval.report/1")


def test_a_missing_file_is_a_failed_check(tmp_path: Path) -> None:
    assert "cannot be read" in failure(tmp_path / "seed0.json")


def test_a_report_belongs_where_its_identity_says(path: Path) -> None:
    moved = path.with_name("seed1.json")
    path.rename(moved)
    assert failure(moved) == "path fits the identity: it should lie at gru/parity@1/seed0.json"


def test_a_report_elsewhere_has_no_place_to_keep(path: Path, tmp_path: Path) -> None:
    moved = tmp_path / "mine.json"
    path.rename(moved)
    checks = {check.name: check for check in validate_file(moved)}
    assert checks["path fits the identity"].passed is None
    assert all_passed(list(checks.values()))
