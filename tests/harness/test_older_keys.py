"""Fields that recipes got later leave the keys of older cells and weights as they are."""

from __future__ import annotations

import json
from pathlib import Path

import mecheval
from mecheval.harness.plan import plan
from mecheval.harness.request import Settings
from mecheval.harness.suites import load_suite
from mecheval.models.load import resolve
from mecheval.recipe import LATER, Recipe, whole
from mecheval.registry import Registry
from mecheval.reports.files import find_reports
from mecheval.spec import parse_spec
from mecheval.training.training_run import TrainingRun

PUBLISHED = Path(__file__).parents[2] / "leaderboards" / "results"
OTHERWISE = {
    "gate_on": "last",
    "stop_length": 2,
    "patience": 8,
    "least_rise": 0.02,
    "margin": 0.1,
    "stop_loss": 2.5,
}


def published() -> list[dict]:
    reports = [path for path in find_reports(PUBLISHED) if PUBLISHED / "pairs" not in path.parents]
    return [json.loads(path.read_text()) for path in reports]


def test_cells_of_a_published_suite_have_the_keys_of_their_reports() -> None:
    request, *_ = load_suite("retrieval-small").requests(settings=Settings())
    keys = {cell.key for cell in plan(request)}
    assert len(keys) > 10
    assert keys <= {report["key"] for report in published()}


def test_published_recipes_keep_their_hashes() -> None:
    for report in published():
        swept = next((run["values"] for run in report["training"]["sweep"] if run["chosen"]), {})
        recipe = Recipe().replace({**whole(report["identity"]["recipe"]), **swept})
        assert recipe.sha256 == report["training"]["recipe_sha256"]
        assert recipe.to_dict() == {**report["identity"]["recipe"], **swept}


def test_cached_weights_keep_their_key() -> None:
    """The key is that of weights which were trained before recipes had these fields."""
    source, task = (
        resolve(parse_spec("gru[layers=2,width=16]"), Registry()),
        mecheval.load_task("ar"),
    )
    run = TrainingRun(source, task, source.encode(task), source.recipe, 0)
    assert run.key == "b3eb4b8c7c1701a868f07d00e30550db57643681904efe70fad3f52952c94f8a"
    other = TrainingRun(source, task, source.encode(task), Recipe(stop_length=2), 0)
    assert other.content["recipe"]["stop_length"] == 2


def test_a_field_is_in_the_canonical_form_where_it_changes_the_procedure() -> None:
    assert LATER.keys() == OTHERWISE.keys()
    before = Recipe(gate_on="token").to_dict()
    assert not LATER.keys() & before.keys()
    for name, value in OTHERWISE.items():
        recipe = Recipe(gate_on="token").replace({name: value})
        assert recipe.to_dict() == {**before, name: value}
        assert whole(recipe.to_dict()) == recipe.fields()
        assert Recipe().replace(recipe.to_dict()).replace({"gate_on": recipe.gate_on}) == recipe
