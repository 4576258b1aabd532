"""A report in a line and in a notebook: what it is of, and its headline numbers, escaped."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from synthetic_reports import REASON, called, retrieval, synthetic

from mecheval.reports.collection import collect
from mecheval.reports.schema import Failure, Headline, Report

RECIPE = {"optimizer": "adamw", "lr": 0.01, "gate": 0.95}
SAID = "gate 0.95; adamw, learning rate 0.01"
FAILURE = Failure(type="ValueError", message="it went wrong", stage="train", traceback="")


def test_a_line_names_the_cell_and_its_numbers() -> None:
    text = repr(synthetic("lstm", seed=3))
    assert text.startswith(
        "<lstm on parity@1, seed 3: learned (adamw, learning rate 0.003); token accuracy at 1x 0.99"
    )
    assert str(synthetic("lstm", seed=3)) == text
    assert len(text) < 250
    assert "induction" in repr(with_headlines(retrieval()))


def with_headlines(report: Report) -> Report:
    metrics = [
        metric.model_copy(update={"headline": [Headline(title="Retrieval", at="verdict")]})
        if metric.id == "mechanism"
        else metric
        for metric in report.metrics
    ]
    return report.model_copy(update={"metrics": metrics})


@pytest.mark.parametrize(
    ("report", "state"),
    [
        (synthetic(learned=False, recipe=RECIPE), f"not learned ({SAID});"),
        (synthetic(recipe={**RECIPE, "gate": 0.0}), "no gate (adamw"),
        (synthetic(limit=4, recipe=RECIPE), f"learned ({SAID}, limit=4), partial (limit 4);"),
        (
            synthetic(status="error", learned=None, metrics=[], error=FAILURE),
            "failed in train (ValueError)>",
        ),
        (synthetic(status="not_applicable", learned=None, metrics=[]), "not applicable>"),
    ],
)
def test_a_line_says_what_became_of_the_cell(report: Report, state: str) -> None:
    assert f"seed 0: {state}" in repr(report)


def test_a_notebook_shows_numbers_intervals_and_reasons() -> None:
    table = ElementTree.fromstring(f"<div>{synthetic(learned=False)._repr_html_()}</div>")
    rows = [[cell.text or "" for cell in row] for row in table.iter("tr")]
    assert rows[0] == ["Result", "Value", "95 % interval", "Scored"]
    assert rows[1][0] == "token accuracy at 1x"
    assert rows[1][2].startswith("[0.6")
    assert ["recovery at the middle position, block_in", REASON, "", "0 of 64"] in rows


def test_what_stands_in_a_report_is_shown_and_not_obeyed() -> None:
    report = called("<script>alert(1)</script>\x1b[31m", synthetic())
    said = {"title": "<script>t</script>", "value": None, "reason": "<script>r</script>"}
    odd = report.metrics[0].model_copy(update=said)
    report = report.model_copy(update={"metrics": [odd, *report.metrics[1:]]})
    assert "<script>" not in report._repr_html_()
    assert report._repr_html_().count("&lt;script&gt;") == 3
    assert "\x1b" not in report._repr_html_() + repr(report)


def test_no_line_is_without_end() -> None:
    report = called("a" * 5000 + "\x1b[31m\u202e", synthetic(recipe={"optimizer": "b" * 4000}))
    titled = report.metrics[0].model_copy(update={"title": "c" * 290})
    report = report.model_copy(update={"metrics": [titled, *report.metrics[1:]]})
    (group,) = collect([report])
    for text in (repr(report), str(group), repr(group), str(group.name)):
        assert len(text) < 1200
        assert text.isprintable()


def test_a_gate_that_is_no_number_is_none() -> None:
    for gate in ("high", True, None, [0.9]):
        assert "seed 0: learned (adamw);" in repr(
            synthetic(recipe={"optimizer": "adamw", "gate": gate})
        )


def test_a_notebook_shows_the_gate_and_the_recipe() -> None:
    assert f"seed 0</b>: learned ({SAID})" in synthetic(recipe=RECIPE)._repr_html_()


def test_showing_a_report_does_not_need_its_schema_or_its_file() -> None:
    """The schema imports what shows a report, so that may not import the schema again."""
    found = subprocess.run(
        [sys.executable, "-c", "import mecheval.reports.display, sys; print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(found.stdout.split())
    assert "mecheval.reports.collection.columns" in loaded
    assert not loaded & {f"mecheval.reports.{name}" for name in ("schema", "reading", "files")}
