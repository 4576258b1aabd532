"""Suites: files that name grids, and become requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mecheval.api import evaluate_suite
from mecheval.errors import UsageError
from mecheval.harness.plan import plan
from mecheval.harness.suites import load_suite, suite_names
from mecheval.spec import Spec

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
summary = "two grids"

[[grid]]
models = ["lstm[layers=1]"]
tasks = ["parity", "ar[small]"]
seeds = [0, 1]
recipe = { lr = 1e-2, steps = 7 }

[[grid]]
models = ["gru[layers=1]"]
tasks = ["parity"]
metrics = ["recovery"]
recipe = { steps = 3 }
"""


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "own.toml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_of_the_package_can_be_planned(name):
    suite = load_suite(name)
    cells = [cell for request in suite.requests() for cell in plan(request)]
    assert len({cell.key for cell in cells}) == len(cells) == suite.n_cells
    assert suite.summary


def test_a_grid_becomes_a_request(written):
    first, second = load_suite(written(TEXT)).requests(limit=8, seeds=None)
    assert first.models == (Spec("lstm", {"layers": 1}),)
    assert first.tasks == (Spec("parity"), Spec("ar", {"preset": "small"}))
    assert (first.chosen_seeds, second.chosen_seeds) == ((0, 1), (0,))
    assert (first.metrics, second.metrics) == (None, ("recovery",))
    assert (first.limit, second.limit) == (8, 8)


def test_what_is_given_takes_precedence_and_recipes_are_merged(written):
    first, second = load_suite(written(TEXT)).requests(seeds=(5,), recipe={"steps": 3})
    assert first.chosen_seeds == second.chosen_seeds == (5,)
    assert first.recipe == {"lr": 1e-2, "steps": 3}
    assert second.recipe == {"steps": 3}
    assert load_suite(written(TEXT)).n_cells == 5


def test_a_suite_runs_from_python(written, tmp_path):
    suite = written(TEXT)
    reports = evaluate_suite(suite, [0], output=tmp_path / "results", cache=tmp_path / "cache")
    assert [report.identity.model.name for report in reports] == ["lstm", "lstm", "gru"]
    assert {report.status for report in reports} == {"success"}
    assert [report.training.steps for report in reports if report.training][:2] == [7, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("summary = 'x'", r"has no \[\[grid\]\]"),
        ("[[grid]]\nmodels = ['gru']", "has no tasks"),
        ("[[grid]]\nmodels = 'gru'\ntasks = ['parity']", "Write a list"),
        ("[[grid]]\nmodels = ['gru']\ntasks = ['parity']\nsize = 'tiny'\nseed = [1]",
         "Did you mean 'seeds'"),
        ("[[grid", "is not a TOML file"),
    ],
)  # fmt: skip
def test_malformed_files_are_usage_errors(written, text, message):
    with pytest.raises(UsageError, match=message):
        load_suite(written(text))


def test_unknown_suites_and_files_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match=r"Unknown suite 'dmeo'\. Did you mean 'demo'"):
        load_suite("dmeo")
    with pytest.raises(UsageError, match="There is no file"):
        load_suite(str(tmp_path / "none.toml"))
