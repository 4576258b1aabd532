"""Sweeps: members, and the choice among them by validation accuracy alone."""

from __future__ import annotations

import pytest
from training_runs import QUICK

from mecheval.errors import UsageError
from mecheval.reports.schema import TrainingPart
from mecheval.spec import parse_sweep
from mecheval.training import sweeps


def record(accuracy: float | None, steps: int = 10, *, reason: str | None = None) -> TrainingPart:
    return TrainingPart(
        recipe="tiny", recipe_sha256="", optimizer="adamw", steps=steps, examples=0,
        stopped="budget" if reason is None else "diverged", reason=reason,
        validation_accuracy=accuracy, curve=[(steps, 0.5, 0.9)], weights_sha256="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr=1e-3,3e-3", {"lr": [1e-3, 3e-3]}),
        ("lr=1e-3,3e-3 optimizer=adamw,muon", {"lr": [1e-3, 3e-3], "optimizer": ["adamw", "muon"]}),
        ("lr=1e-3,optimizer=adamw,muon", {"lr": [1e-3], "optimizer": ["adamw", "muon"]}),
        ("betas=[0.9,0.98],[0.9,0.99]", {"betas": [[0.9, 0.98], [0.9, 0.99]]}),
    ],
)
def test_a_value_belongs_to_the_field_before_it(text, expected) -> None:
    assert parse_sweep(text) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1e-3,lr=2", "'1e-3' belongs to no field"),
        ("lr=", "The sweep of 'lr' lists no values"),
        ("lr=,optimizer=muon", "The sweep of 'lr' lists no values"),
        ("lr=1 lr=2", "Field 'lr' is given twice"),
        ("", "names no field"),
    ],
)
def test_malformed_sweeps(text, sentence) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse_sweep(text)


def test_values_become_what_the_recipe_has() -> None:
    sweep = sweeps.checked(QUICK, {"lr": [1, 1.0, 2], "betas": [(0.9, 0.99)]})
    assert sweep == {"betas": [[0.9, 0.99]], "lr": [1.0, 2.0]}
    assert list(sweep) == ["betas", "lr"]


@pytest.mark.parametrize(
    ("sweep", "sentence"),
    [
        ({"lrr": [1]}, "Unknown argument 'lrr' of recipe. Did you mean 'lr'"),
        ({"lr": []}, "lists no values"),
        ({"lr": 1e-3}, "not a list of values"),
        ({"optimizer": "muon"}, "not a list of values"),
        ({"lr": ["fast"]}, "must be a finite number"),
        ({"gate": [0.9]}, "'gate' decides what counts as learned"),
    ],
)
def test_what_can_be_wrong_with_a_sweep(sweep, sentence) -> None:
    with pytest.raises(UsageError, match=sentence):
        sweeps.checked(QUICK, sweep)


def test_several_fields_make_a_grid() -> None:
    recipes = sweeps.members(QUICK, {"lr": [1e-3, 1e-2], "batch": [4, 8]})
    assert [(recipe.batch, recipe.lr) for recipe in recipes] == [
        (4, 1e-3), (4, 1e-2), (8, 1e-3), (8, 1e-2),
    ]  # fmt: skip
    assert sweeps.members(QUICK, None) == [QUICK]


def test_the_best_on_validation_is_chosen_then_the_shortest_then_the_first() -> None:
    assert sweeps.choose([record(0.5, 5), record(0.9), record(0.7)]) == 1
    assert sweeps.choose([record(0.9, 20), record(0.9, 10), record(0.9, 10)]) == 1
    lost = record(None, reason="diverged: the loss is not finite from step 3 on")
    assert sweeps.choose([lost, record(0.0)]) == 1
    assert sweeps.choose([lost, lost]) == 0


def test_all_runs_are_described() -> None:
    recipes = sweeps.members(QUICK, {"lr": [1e-3, 1e-2]})
    lost = record(None, 4, reason="diverged: the loss is not finite from step 2 on")
    described = sweeps.described([lost, record(0.9)], recipes, ["lr"])
    assert [run.values for run in described.sweep] == [{"lr": 1e-3}, {"lr": 1e-2}]
    assert [run.chosen for run in described.sweep] == [False, True]
    assert [run.loss for run in described.sweep] == [None, 0.5]
    assert described.sweep[0].reason == lost.reason
    assert (described.validation_accuracy, described.reason) == (0.9, None)
    none = sweeps.described([lost, lost], recipes, ["lr"])
    assert not any(run.chosen for run in none.sweep)
    assert none.reason is not None
    assert none.reason.startswith("every run of the sweep diverged; in the first, the loss is not")
