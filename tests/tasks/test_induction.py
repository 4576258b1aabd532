"""Induction against an oracle in plain Python, and its four kinds of pairs."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest

from mecheval.errors import UsageError
from mecheval.registry import Registry
from mecheval.seeding import stream
from mecheval.spec import parse_spec
from mecheval.tasks import UNDEFINED, UNSCORED, Batch, Task
from mecheval.tasks.checks import check_task
from mecheval.tasks.contract import configure
from mecheval.tasks.floors import task_floors
from mecheval.tasks.splits import draw_pairs

KINDS = ("value", "key", "pair", "fresh")


@cache
def load(name: str) -> type[Task]:
    return Registry().load("task", name)


def build(text: str) -> Task:
    spec = parse_spec(text)
    return configure(load(spec.name), spec.args, name=spec.name)


def assert_labelled(task: Task, batch: Batch) -> None:
    """Read every sequence from left to right, as someone who remembers what followed what."""
    for row, tokens in enumerate(batch.tokens_BT.tolist()):
        *before, query = tokens[1:]
        followed = dict(itertools.pairwise(before))
        answer = followed.get(query)
        targets = batch.targets_BT[row].tolist()
        assert targets[:-1] == [UNSCORED] * (len(tokens) - 1)
        assert targets[-1] == (UNSCORED if answer is None else answer)
        bound = batch.variables["bound"][row].tolist()
        assert bound[:-1] == [UNDEFINED] * (len(tokens) - 1)
        assert bound[-1] == (UNDEFINED if answer is None else answer - 1)
        previous = [UNDEFINED, UNDEFINED, *(token - 1 for token in before)]
        assert batch.variables["previous"][row].tolist() == previous


@pytest.mark.parametrize("text", ["induction", "induction[tokens=5]", "induction[tokens=50000]",
                                  "induction[min_length=4,max_length=9,tokens=12]"])  # fmt: skip
def test_labels_are_those_of_a_reader(text: str) -> None:
    task = build(text)
    for length in sorted({task.min_length, *task.test_lengths.values()}):
        batch = task.sample(stream(0, "oracle", length), 60, length)
        assert batch.tokens_BT.shape == (60, length + 1)
        assert_labelled(task, batch)
        row = np.arange(60)
        assert (batch.tokens_BT[:, 1:-1] == batch.tokens_BT[:, -1:]).sum(1).tolist() == [1] * 60
        assert np.array_equal(batch.tokens_BT[row, batch.roles["key"]], batch.tokens_BT[:, -1])
        assert np.array_equal(
            batch.tokens_BT[row, batch.roles["value"]], batch.target_at("readout")
        )
        for name, distance in (("value", 1), ("next_key", 2)):
            assert (batch.roles[name] - batch.roles["key"] == distance).all()
    for kind in KINDS:
        pairs = draw_pairs(task, stream(0, kind), 40, length=task.max_length, kind=kind)
        assert_labelled(task, pairs.clean)
        assert_labelled(task, pairs.corrupted)


@pytest.mark.parametrize("tokens", [4, 64, 5000])
def test_each_kind_exchanges_what_it_says(tokens: int) -> None:
    task = build(f"induction[tokens={tokens}]")
    row = np.arange(300)
    for kind in KINDS:
        pairs = draw_pairs(task, stream(0, kind), 300, length=64, kind=kind)
        differs = pairs.clean.tokens_BT != pairs.corrupted.tokens_BT
        assert not differs[:, -1].any()
        expected = np.zeros_like(differs)
        for role in {"value": ["value"], "key": ["key"], "pair": ["key", "value"]}.get(kind, []):
            expected[row, pairs.clean.roles[role]] = True
        if kind == "fresh":
            assert differs[:, 1:-1].mean() == pytest.approx(1 - 1 / (tokens - 1), abs=0.03)
        else:
            assert np.array_equal(differs, expected)
        assert (pairs.answered_P == (kind == "value")).all()
        assert (pairs.foils_P != pairs.answers_P).all()
        in_place = pairs.corrupted.tokens_BT[row, pairs.clean.roles["value"]]
        if kind == "key":
            assert (pairs.clean.tokens_BT == pairs.foils_P[:, None]).any(1).all()
            assert (pairs.foils_P != pairs.clean.tokens_BT[:, -1]).all()
        else:
            assert np.array_equal(pairs.foils_P, in_place)


def test_tokens_are_uniform_and_the_key_is_in_the_first_half() -> None:
    batch = build("induction[tokens=10]").sample(stream(0, "law"), 20_000, 64)
    share = np.bincount(batch.tokens_BT[:, 1:].ravel(), minlength=11)[1:] / batch.tokens_BT.size
    assert share == pytest.approx(64 / 65 / 10, abs=0.002)
    answers = np.bincount(batch.target_at("readout"), minlength=11)[1:] / 20_000
    assert answers == pytest.approx(0.1, abs=0.01)
    places = np.bincount(batch.roles["key"], minlength=65)
    assert not places[[0, *range(33, 65)]].any()
    assert places[1:33] / 20_000 == pytest.approx(1 / 32, abs=0.006)
    pairs = draw_pairs(build("induction[tokens=4]"), stream(0, "law"), 1000, length=16)
    foils = np.bincount(pairs.foils_P, minlength=5)[1:] / 1000
    assert foils == pytest.approx(0.25, abs=0.06)


def test_contract_at_other_vocabularies() -> None:
    for text in ("induction[tokens=3,max_length=24]", "induction[tokens=3000,max_length=16]"):
        failed = [str(check) for check in check_task(build(text)) if check.passed is False]
        assert not failed


def test_a_guess_among_the_tokens_of_the_sequence_is_a_floor() -> None:
    floors = task_floors(build("induction"), 0, 20_000)
    # What followed is at the middle in 1 of 32, and elsewhere the token of 1 of 63.
    expected = 1 / 32 + 31 / 32 / 63
    assert floors.answer.accuracy["context"] == pytest.approx(expected, abs=0.006)


def test_texts_are_single_characters_while_there_are_enough() -> None:
    assert all(len(text) == 1 for text in build("induction[tokens=94]").strings[1:])
    assert build("induction[tokens=95]").strings == ()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("tokens=2", "tokens=2; it must be at least 3"),
        ("min_length=3", "min_length=3; it must be at least 4"),
        ("min_length=70", "give 1 <= min_length <= max_length"),
    ],
)
def test_parameters_that_do_not_fit_are_usage_errors(args: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(f"induction[{args}]")
