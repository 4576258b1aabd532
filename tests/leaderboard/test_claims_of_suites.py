"""The claims of the package's suites are about what their grids measure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mecheval.harness.claim_schema import ALL
from mecheval.harness.suites import load_suite, suite_names
from mecheval.leaderboard.claim import claims_of
from mecheval.registry import Registry
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from mecheval.harness.suites import Suite
    from mecheval.leaderboard.claim import Named


def canonical(name: str, size: str = "") -> str:
    spec = parse_spec(name)
    sized = f"{spec.name}[size={size}]" if size and not spec.args else name
    return str(parse_spec(sized))


def measured(suite: Suite, named: Named) -> list[list[str]]:
    """Return the metrics of the cells that a number is of."""
    return [
        list(grid.get("metrics", ()))
        for grid in suite.grids
        for model in grid["models"]
        for task in grid["tasks"]
        if named.model in (ALL, "")
        or canonical(named.model) == canonical(model, grid.get("size", ""))
        if named.task in (ALL, "") or canonical(named.task) == canonical(task)
    ]


def is_measured(named: Named, metrics: list[str]) -> bool:
    metric = named.result.partition("/")[0]
    if named.partner:  # the metrics of pairs that fit a task are measured by `mecheval similarity`
        return Registry().get("metric", metric).scope == "pair"
    return not metrics or metric in metrics or metric.endswith("accuracy")


@pytest.mark.parametrize("name", suite_names())
def test_claims_are_of_what_the_grids_measure_or_say_what_to_run(name: str):
    suite = load_suite(name)
    for claim in claims_of(suite):
        numbers = () if claim.untestable else claim.numbers
        partners = [replace(each, model=each.partner) for each in numbers if each.partner]
        for named in [*numbers, *partners]:
            cells = measured(suite, named)
            assert cells or claim.command, f"{claim.id}: no grid has {named.model} on {named.task}"
            assert not cells or any(is_measured(named, metrics) for metrics in cells), (
                f"{claim.id}: no grid measures {named.result} of {named.model} on {named.task}"
            )


def test_claims_of_pretrained_models_say_which_suite_tests_them():
    (command,) = {claim["command"] for claim in load_suite("formal-small").claims
                  if claim.get("command")}  # fmt: skip
    tested = load_suite(command.rpartition(" ")[2])
    for claim in claims_of(load_suite("formal-small")):
        if claim.command:
            assert claim in claims_of(tested)
            assert all(measured(tested, named) for named in claim.numbers)
