"""A report says what was asked for, so that tables made later can call it by that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mecheval
from mecheval.harness.plan import plan
from mecheval.harness.request import Request
from mecheval.reports.collection import load_results
from mecheval.reports.schema import Labels
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from pathlib import Path


def test_cells_know_what_differs_from_the_defaults():
    tasks = tuple(map(parse_spec, ("dyck[k=3]", "dyck[k=2]")))
    (cell, default) = plan(Request(models=(parse_spec("lstm[layers=2]"),), tasks=tasks, limit=8))
    assert cell.labels == Labels(model={"layers": 2}, task={"k": 3}, run={"limit": 8})
    assert default.labels.task == {}


def test_reports_keep_it_and_tables_show_it(tmp_path: Path):
    given = {"recipe": {"steps": 5}, "limit": 8, "metrics": ["recovery"], "device": "cpu"}
    (report,) = mecheval.evaluate("lstm[layers=2]", "parity", output=tmp_path, **given)
    assert report.labels is not None
    assert report.labels.model == {"layers": 2}
    (group,) = load_results(tmp_path)
    assert str(group) == "lstm[layers=2] on parity@1 (limit=8)"
    for model in ("lstm", "lstm[layers=2]"):
        assert len(load_results(tmp_path).select(model=model)) == 1
    assert not load_results(tmp_path).select(model="lstm[layers=3]")
