"""Induction against an oracle in plain Python, and its four kinds of pairs."""

from __future__ import annotations

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


def assert_labelled(task: Task, batch: Batch, matched: int = 1) -> None:
    """Read every sequence from left to right, as someone who remembers what followed what."""
    for row, tokens in enumerate(batch.tokens_BT.tolist()):
        before, query = tokens[1:-1], tuple(tokens[-matched:])
        runs = zip(*(tokens[1 + place : -matched] for place in range(matched + 1)), strict=False)
        followed = {tuple(run[:-1]): run[-1] for run in runs}
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
        assert batch.run_of("key")[1] == 1
    for kind in KINDS:
        pairs = draw_pairs(task, stream(0, kind), 40, length=task.max_length, kind=kind)
        assert_labelled(task, pairs.clean)
        assert_labelled(task, pairs.corrupted)


LONG = [
    ("induction[matched=2,tokens=4,max_length=6]", 2),
    ("induction[matched=3,tokens=9,max_length=20]", 3),
    ("induction[pretrained]", 8),
    ("induction[matched=8,max_length=18,tokens=3000]", 8),
]


@pytest.mark.parametrize(("text", "matched"), LONG)
def test_runs_that_match(text: str, matched: int) -> None:
    task = build(text)
    n, lengths = 60, sorted({task.min_length, *task.test_lengths.values()})
    for length in lengths:
        batch = task.sample(stream(0, "oracle", length), n, length)
        assert_labelled(task, batch, matched)
        run_BM, (first_B, span) = batch.tokens_BT[:, -matched:], batch.run_of("key")
        assert span == matched
        assert (batch.roles["key"] - first_B == matched - 1).all()
        for place in range(matched):
            column_B = batch.tokens_BT[np.arange(n), first_B + place]
            assert np.array_equal(column_B, run_BM[:, place])
            here_BT = batch.tokens_BT[:, 1:] == run_BM[:, [place]]
            assert here_BT.sum(1).tolist() == [2] * n, "at its key and at the query alone"
        assert (batch.roles["value"] - batch.roles["key"] == 1).all()
        assert (batch.roles["value"] <= length - matched).all()
    firsts = task.sample(stream(0, "places"), 4000, task.max_length).run_of("key")[0]
    n_places = min(task.max_length // 2, task.max_length - 2 * matched)
    assert {*firsts.tolist()} == {*range(1, n_places + 1)}


@pytest.mark.parametrize(("text", "matched"), LONG)
def test_the_whole_run_is_the_key(text: str, matched: int) -> None:
    """Every pair has another answer or none, and nothing of the run is left to match."""
    task, n = build(text), 100
    row_B1, run_M = np.arange(n)[:, None], np.arange(matched)
    for kind in KINDS:
        pairs = draw_pairs(task, stream(0, kind), n, length=task.max_length, kind=kind)
        assert_labelled(task, pairs.corrupted, matched)
        differs_BT = pairs.clean.tokens_BT != pairs.corrupted.tokens_BT
        assert not differs_BT[:, -matched:].any()
        assert (pairs.foils_P != pairs.answers_P).all()
        assert (pairs.answered_P == (kind == "value")).all()
        key_BM = pairs.clean.run_of("key")[0][:, None] + run_M
        if kind in ("key", "pair"):
            assert differs_BT[row_B1, key_BM].all()
            assert (differs_BT.sum(1) == matched + (kind == "pair")).all()
            assert np.array_equal(pairs.source_P, pairs.clean.roles["key"])
        if kind == "value":
            assert np.array_equal(pairs.source_P, pairs.clean.roles["value"])
            assert (differs_BT.sum(1) == 1).all()
        left_BTM = (
            pairs.corrupted.tokens_BT[:, :-matched, None]
            == (pairs.clean.tokens_BT[:, None, -matched:])
        )
        assert left_BTM.any() == (kind == "value")
    if task.tokens > 4:  # of so few there may be no other to hold the answer against
        every = task.counterfactual_of("key", pairs.clean, stream(0, "every"))
        assert (every.tokens_BT != pairs.clean.tokens_BT).any(1).all(), "none stays as it is"


@pytest.mark.parametrize("text", [text for text, _ in LONG[1:]])
def test_contract_of_runs_that_match(text: str) -> None:
    assert not [str(check) for check in check_task(build(text)) if check.passed is False]


def test_what_was_published_keeps_its_parameters() -> None:
    assert build("induction").params == {
        "longer": (2,), "min_length": 64, "max_length": 64, "tokens": 64
    }  # fmt: skip
    assert build("induction[pretrained]").params["matched"] == 8


def test_words_are_left_to_the_tokenizer() -> None:
    task = build("induction[spelling=words]")
    assert (task.strings, task.in_words) == ((), True)
    assert not build("induction[tokens=95]").in_words


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
        ("matched=0", "matched=0; it must be at least 1"),
        ("matched=8,max_length=17", "min_length=17; it must be at least 18 with matched=8"),
        ("matched=8,tokens=9", "tokens=9; it must be at least 10 with matched=8"),
        ("spelling=letters", "Unknown spelling 'letters' of induction"),
    ],
)
def test_parameters_that_do_not_fit_are_usage_errors(args: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(f"induction[{args}]")
