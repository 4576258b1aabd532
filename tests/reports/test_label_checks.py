"""Labels name what the identity says, or the report is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError
from synthetic_reports import synthetic, write

from mecheval.checks import all_passed
from mecheval.reports.collection import load_results
from mecheval.reports.files import dumps, read_report
from mecheval.reports.label_checks import contradiction
from mecheval.reports.labels import names_of
from mecheval.reports.reading import ReportError
from mecheval.reports.schema import Labels, Report
from mecheval.reports.validate import validate_file

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = synthetic().identity.model_copy(
    update={
        "limit": 8, "dtype": "float64", "snapshots": 5, "sweep": {"lr": [0.001, 0.01]},
        "recipe": {"optimizer": "adamw", "betas": [0.9, 0.98], "gate": 1.0},
    }
)  # fmt: skip


def labels(**parts: Any) -> Labels:
    return Labels.model_validate(parts)


@pytest.mark.parametrize(
    "fitting",
    [
        labels(model={"layers": 4, "size": "formal"}, task={"max_length": 16, "preset": "small"}),
        labels(model={"layers": 4.0}, task={"max_length": 16}),
        labels(run={"limit": 8, "dtype": "float64", "snapshots": 5, "sweep.lr": [0.001, 0.01]}),
        labels(run={"gate": 1, "betas": (0.9, 0.98), "metrics": ["behaviour[n=7]"]}),
        labels(),
    ],
)
def test_what_was_asked_for_is_no_contradiction(fitting: Labels) -> None:
    assert not contradiction(fitting, IDENTITY)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (labels(model={"layers": 99}), "model.layers is 99, and 4 in the identity"),
        (labels(task={"max_length": "long"}), "task.max_length is 'long', and 16"),
        (labels(run={"gate": 0.5}), "run.gate is 0.5, and 1.0"),
        (labels(run={"limit": 9}), "run.limit is 9, and 8"),
        (labels(run={"dtype": "float32"}), "run.dtype is 'float32', and 'float64'"),
        (labels(run={"snapshots": 2}), "run.snapshots is 2, and 5"),
        (labels(run={"sweep.lr": [0.001]}), "run.sweep.lr is [0.001], and"),
        (labels(run={"sweep.batch": [8]}), "'run.sweep.batch' is nothing that the identity has"),
        (labels(run={"deterministic": True}), "'run.deterministic' is nothing"),
        (labels(run={"metrics": ["behaviour", "recovery"]}), "has 'recovery', which is no metric"),
        (labels(run={"metrics": 3}), "has 3, which is no metric"),
    ],
)
def test_what_the_identity_does_not_say_is_named(other: Labels, said: str) -> None:
    assert said in contradiction(other, IDENTITY)


def test_a_report_with_false_labels_is_not_made() -> None:
    with pytest.raises(ValidationError, match=r"model\.layers is 99, and 4 in the identity"):
        synthetic(labels=labels(model={"layers": 99}))


def test_a_report_with_false_labels_is_refused_by_all_readers(tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic(labels=labels(model={"layers": 4})))
    assert all_passed(validate_file(path))
    content = json.loads(path.read_text())
    content["labels"]["model"] = {"layers": 99}
    path.write_text(json.dumps(content))
    with pytest.raises(ReportError, match=r"'labels': model\.layers is 99") as caught:
        read_report(path)
    assert str(caught.value).count("\n") == 0
    assert [check.detail for check in validate_file(path) if check.passed is False] == [
        f"the report {caught.value.problem}"
    ]
    (refused,) = load_results(tmp_path).refused
    assert caught.value.problem in refused.reason


def test_an_argument_that_the_identity_does_not_hold_names_nothing() -> None:
    report = synthetic(labels=labels(model={"depth": 99, "size": "formal"}, task={"odd": 1}))
    assert names_of([report])[0][:2] == ("gru[size=formal]", "parity@1")


def test_labels_are_looked_at_only_beside_an_identity_that_is_one() -> None:
    content = json.loads(dumps(synthetic(labels=labels(model={"layers": 4}))))
    del content["identity"]["seed"]
    with pytest.raises(ValidationError) as caught:
        Report.model_validate(content)
    assert [problem["loc"] for problem in caught.value.errors()] == [("identity", "seed")]
