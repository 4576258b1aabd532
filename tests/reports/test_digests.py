"""Digests of published reports are those of the same reports written today."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from mecheval.reports.canonical import LATER, digest_of, normalised
from mecheval.reports.files import dumps, read_report, sealed, write_report
from mecheval.reports.pair import PairReport
from mecheval.reports.reading import digest_problem
from mecheval.reports.schema import Report

RESULTS = Path(__file__).parents[2] / "leaderboards" / "results"
SWEPT = "attention+layers=2,width=64/ar@1*/seed0*sweep*.json"


@pytest.fixture(scope="module")
def published() -> list[Path]:
    pairs = RESULTS / "pairs"
    found = sorted(path for path in RESULTS.rglob("*.json") if pairs not in path.parents)
    return [*found[::60], next(RESULTS.glob(SWEPT))]


def test_a_published_report_has_the_digest_that_it_would_get_now(published: list[Path]) -> None:
    for path in published:
        report, content = read_report(path), json.loads(path.read_text())
        assert not digest_problem(normalised(content))
        assert sealed(report.model_copy(update={"digest": None})).digest == content["digest"]


def test_a_published_report_may_be_written_again(published: list[Path], tmp_path: Path) -> None:
    write_report(read_report(published[-1]), tmp_path / "seed0.json")
    written = json.loads((tmp_path / "seed0.json").read_text())
    assert written["training"]["losses"] == []
    assert written["training"]["sweep"][0]["validation_loss"] is None
    assert read_report(tmp_path / "seed0.json", verify=True).digest == written["digest"]


def test_what_such_a_field_holds_is_in_the_digest(published: list[Path]) -> None:
    content = json.loads(dumps(read_report(published[-1])))
    assert content["training"]["sweep"]
    for field, values in {"losses": [[2.5], [0.0]], "validation_loss": [2.5, 0.0, False]}.items():
        changed = [{**content["training"], field: value} for value in values]
        digests = {digest_of({**content, "training": training}) for training in changed}
        assert len({digest_of(content), *digests}) == 1 + len(values)
    assert digest_of({**content, "losses": []}) != digest_of(content)  # not of this name anywhere


def test_whole_numbers_are_one_number_and_truth_is_none() -> None:
    assert digest_of({"value": 1.0}) == digest_of({"value": 1})
    assert digest_of({"value": True}) != digest_of({"value": 1})


@pytest.mark.parametrize("path", LATER, ids=".".join)
def test_every_such_field_is_one_of_a_report_and_empty_by_default(path: tuple[str, ...]) -> None:
    found = [field for of in (Report, PairReport) if (field := _field(of, path)) is not None]
    assert found
    assert all(field.get_default(call_default_factory=True) in (None, []) for field in found)


def _field(record: type[BaseModel], path: tuple[str, ...]):
    """Return the field at the end of a path, None where there is none."""
    name, *rest = (part for part in path if part != "*")
    field = record.model_fields.get(name)
    if field is None or not rest:
        return field
    inner = [of for of in _types(field.annotation) if isinstance(of, type)]
    records = [of for of in inner if issubclass(of, BaseModel)]
    return next(filter(None, (_field(of, tuple(rest)) for of in records)), None)


def _types(annotation: object) -> list[object]:
    return [each for part in get_args(annotation) for each in _types(part)] or [annotation]
