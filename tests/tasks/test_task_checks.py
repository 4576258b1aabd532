"""Each contract check fails on a task that breaks just that promise."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mecheval.registry import Registry
from mecheval.tasks import UNSCORED, Batch, Metric, Task, task
from mecheval.tasks.batch import where_answers_differ
from mecheval.tasks.checks import check_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Parity: type[Task] = Registry().load("task", "parity")
Dyck: type[Task] = Registry().load("task", "dyck")


def broken(**members: object) -> Task:
    """Build parity with some members replaced."""
    cls = dataclass(frozen=True, kw_only=True)(type("Broken", (Parity,), members))
    cls.__doc__ = "Parity, broken."
    return task(name="broken", version=1, reference="none", mechanisms=(Metric("recovery"),))(cls)()


def edited(edit: Callable[[Batch], Batch]) -> Task:
    """Build parity whose every batch goes through an edit."""

    def sample(self: Task, rng: np.random.Generator, n: int, length: int) -> Batch:
        return edit(Parity.sample(self, rng, n, length))

    return broken(sample=sample)


def _with(batch: Batch, *, column: int, token: int) -> Batch:
    tokens_BT = batch.tokens_BT.copy()
    tokens_BT[:, column] = token
    return dataclasses.replace(batch, tokens_BT=tokens_BT)


def _targets(batch: Batch, value: int) -> Batch:
    targets_BT = batch.targets_BT.copy()
    targets_BT[0, 3] = value
    return dataclasses.replace(batch, targets_BT=targets_BT)


def _same_answer(self: Task, batch: Batch, rng: np.random.Generator) -> Batch:
    return batch


def _sometimes_same(self: Task, batch: Batch, rng: np.random.Generator) -> Batch:
    """Change two symbols of every fiftieth example, which keeps its parity."""
    changed = Parity.counterfactual(self, batch, rng)
    tokens_BT = changed.tokens_BT.copy()
    tokens_BT[::50, -1] = 3 - tokens_BT[::50, -1]
    return Parity._batch(self, tokens_BT[:, 1:] - 1)


def _sometimes_unchanged(self: Task, batch: Batch, rng: np.random.Generator) -> Batch:
    return where_answers_differ(batch, _sometimes_same(self, batch, rng))


def _relabelled(self: Task, batch: Batch, rng: np.random.Generator) -> Batch:
    changed = Parity.counterfactual(self, batch, rng)
    changed.tokens_BT[::50] = batch.tokens_BT[::50]
    return changed


def _unlabelled(self: Task, batch: Batch, rng: np.random.Generator) -> Batch:
    changed = Parity.counterfactual(self, batch, rng)
    wrong_BT = np.where(changed.targets_BT > 0, 3 - batch.targets_BT, UNSCORED)
    return dataclasses.replace(changed, targets_BT=wrong_BT)


def _restless(self: Task, rng: np.random.Generator, n: int, length: int) -> Batch:
    return Parity.sample(self, np.random.default_rng(), n, length)


def _frozen(self: Task, rng: np.random.Generator, n: int, length: int) -> Batch:
    return Parity.sample(self, np.random.default_rng(0), n, length)


def _raising(self: Task, rng: np.random.Generator, n: int, length: int) -> Batch:
    raise ZeroDivisionError("no luck")


def _noisy(self: Task, rng: np.random.Generator, n: int, length: int) -> Batch:
    batch = Parity.sample(self, rng, n, length)
    flip_BT = (rng.random(batch.tokens_BT.shape) < 0.5) & (batch.targets_BT > 0)
    return dataclasses.replace(
        batch, targets_BT=np.where(flip_BT, 3 - batch.targets_BT, batch.targets_BT)
    )


def _halved(batch: Batch) -> Batch:
    return dataclasses.replace(batch, variables={"parity": batch.variables["parity"] / 2})


def _defined_at_bos(batch: Batch) -> Batch:
    values_BT = np.maximum(batch.variables["parity"], 0)
    return dataclasses.replace(batch, variables={"parity": values_BT})


def _always_one(batch: Batch) -> Batch:
    return dataclasses.replace(batch, targets_BT=np.minimum(batch.targets_BT, 1))


def _variables(values: Mapping[str, np.ndarray]) -> Callable[[Batch], Batch]:
    return lambda batch: dataclasses.replace(batch, variables=values)


BROKEN = {
    "symbols and answers": broken(symbols=("0", "1", "<bos>")),
    "parameters, version and reference": broken(
        __annotations__={"gate": "object"}, gate=frozenset({1})
    ),
    "deterministic given the stream": broken(sample=_restless),
    "shapes and types at every length": edited(_halved),
    "BOS first and only there": edited(lambda batch: _with(batch, column=5, token=0)),
    "targets are answers or unscored": edited(lambda batch: _targets(batch, 0)),
    "variables in range, undefined at BOS": edited(_defined_at_bos),
    "readout is scored": edited(lambda batch: dataclasses.replace(batch, roles={})),
    "pairs": broken(counterfactual=_same_answer),
    "labels follow from the tokens": broken(counterfactual=_unlabelled),
    "answers are balanced": edited(_always_one),
    "floors": broken(sample=_raising),
    "longer tests": broken(sample=_raising),
    "generation speed": broken(sample=_raising),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_check_fails(name: str) -> None:
    outcome = {check.name: check for check in check_task(BROKEN[name])}[name]
    assert outcome.passed is False
    assert outcome.detail


@pytest.mark.parametrize(
    ("changed", "name", "detail"),
    [
        (broken(sample=_frozen), "deterministic given the stream", "the stream is not used"),
        (broken(sample=_noisy), "labels follow from the tokens", "two sets of labels"),
        (broken(sample=_raising), "floors", "ZeroDivisionError: no luck"),
        (broken(answers=(1,)), "symbols and answers", "fewer than two answers"),
        (broken(counterfactual=_sometimes_same), "pairs", "(2.00%) change and keep their"),
        (broken(counterfactual=_relabelled), "pairs", "come back as they are with another answer"),
        (
            edited(_variables({})),
            "shapes and types at every length",
            "variables are [], declared are ['parity']",
        ),
    ],
)
def test_the_sentence_says_what_is_wrong(changed: Task, name: str, detail: str) -> None:
    outcome = {check.name: check for check in check_task(changed)}[name]
    assert outcome.passed is False
    assert detail in outcome.detail


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            broken(counterfactual=_sometimes_unchanged),
            "(2.0% come back unchanged, and are dropped)",
        ),
        (Dyck(), "change at the readout or behind it, and are dropped)"),
        (Parity(), "1 to 1 tokens change, 1.00 on average"),
    ],
)
def test_what_cannot_become_a_pair_is_said(changed: Task, said: str) -> None:
    outcome = {check.name: check for check in check_task(changed)}["pairs"]
    assert outcome.passed is True
    assert outcome.detail.endswith(said)


def test_a_split_that_leaks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "mecheval.tasks.splits.in_split", lambda tokens_BT, split: np.ones(len(tokens_BT), bool)
    )
    checks = {check.name: check for check in check_task(Parity(max_length=8, min_length=8))}
    assert checks["splits share no sequence"].passed is False


def test_a_task_without_longer_tests_is_not_failed_for_it() -> None:
    checks = {check.name: check for check in check_task(Parity(longer=()))}
    assert checks["longer tests"].passed is None
