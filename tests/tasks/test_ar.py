"""Associative recall against an oracle in plain Python, its splits, and its two kinds of pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mecheval.errors import UsageError
from mecheval.registry import Registry
from mecheval.seeding import stream
from mecheval.spec import parse_spec
from mecheval.tasks import UNDEFINED, UNSCORED, Batch, Task
from mecheval.tasks.contract import configure
from mecheval.tasks.distinct import all_different
from mecheval.tasks.floors import task_floors
from mecheval.tasks.splits import draw, draw_pairs

VARIANTS = [
    "ar", "ar[query=value]", "ar[queries=one]", "ar[query=value,queries=one,pairs=3]",
    "ar[keys=12,values=12,pairs=6]", "ar[keys=40,values=33]", "ar[held_out=0.25]",
    "ar[min_length=7]", "ar[paper]",
]  # fmt: skip


def build(text: str) -> Task:
    spec = parse_spec(text)
    return configure(Registry().load("task", spec.name), spec.args, name=spec.name)


def assert_labelled(task: Task, batch: Batch) -> None:
    """Read every sequence symbol by symbol, and look its queries up in a dictionary."""
    symbols = task.symbols
    for row in range(len(batch)):
        words = [symbols[token] for token in batch.tokens_BT[row]]
        middle = words.index("|")
        keys, values = words[1:middle:2], words[2:middle:2]
        assert words[0] == "<bos>"
        assert all(key[0] == "k" for key in keys)
        assert all(value[0] == "v" for value in values)
        assert len(set(keys)) == len(keys) == len(values) == len(set(values))
        given, asked = (keys, values) if task.query == "key" else (values, keys)
        answer_of = dict(zip(given, asked, strict=True))
        for position, word in enumerate(words):
            answer = answer_of.get(word) if position > middle else None
            target = batch.targets_BT[row, position]
            bound = batch.variables["bound"][row, position]
            assert (None if target == UNSCORED else symbols[target]) == answer
            assert bound == (UNDEFINED if answer is None else int(answer[1:]))
            key = words[position - 1] if word in values and position < middle else None
            assert batch.variables["key"][row, position] == (int(key[1:]) if key else UNDEFINED)
        roles = {name: int(positions[row]) for name, positions in batch.roles.items()}
        assert roles["divider"] == middle
        assert roles["query"] == roles["readout"] == middle + 1
        assert roles["value"] == roles["key"] + 1 == roles["next_key"] - 1
        if batch.foil_B is None:
            assert words[roles["query"]] == words[roles[task.query]]


@pytest.mark.parametrize("text", VARIANTS)
def test_labels_are_those_of_a_dictionary(text: str) -> None:
    task = build(text)
    lengths = {task.min_length, *task.test_lengths.values(), task.max_length - 1}
    for length in sorted(lengths):
        batch = task.sample(stream(0, "oracle", length), 40, length)
        assert batch.tokens_BT.shape == (40, length + 1)
        assert_labelled(task, batch)
    for kind in task.counterfactuals:
        pairs = draw_pairs(task, stream(0, kind), 40, length=task.max_length, kind=kind)
        assert_labelled(task, pairs.clean)
        assert_labelled(task, pairs.corrupted)


def test_every_pair_is_asked_for_once() -> None:
    batch = build("ar").sample(stream(0, "all"), 200, 25)
    assert np.array_equal(np.sort(batch.tokens_BT[:, 18:]), np.sort(batch.tokens_BT[:, 1:17:2]))
    first = np.bincount(batch.roles["key"], minlength=17)[1::2]
    assert first.min() > 0
    one = build("ar[queries=one]").sample(stream(0, "one"), 200, 18)
    assert (one.targets_BT != UNSCORED).sum() == 200


@pytest.mark.parametrize("text", ["ar", "ar[query=value]", "ar[paper]", "ar[held_out=0.2]"])
@pytest.mark.parametrize("kind", ["key", "value"])
def test_a_counterfactual_exchanges_one_token_for_an_unused_one(text: str, kind: str) -> None:
    task = build(text)
    pairs = draw_pairs(task, stream(0, "pairs"), 200, length=task.max_length, kind=kind)
    clean, corrupted = pairs.clean.tokens_BT, pairs.corrupted.tokens_BT
    assert ((clean != corrupted).sum(1) == 1).all()
    assert np.array_equal(pairs.changed_P, pairs.clean.roles[kind])
    new = corrupted[np.arange(200), pairs.changed_P]
    assert not (clean == new[:, None]).any()
    assert {task.symbols[token][0] for token in new} == {kind[0]}
    answered = kind != task.query
    assert (pairs.answered_P == answered).all()
    assert np.isin(pairs.foils_P, task.answers).all()
    assert (pairs.foils_P != pairs.answers_P).all()
    if answered:
        assert np.array_equal(pairs.foils_P, new)
    else:  # a value of the sequence that is not the right one
        assert (corrupted == pairs.foils_P[:, None]).any(1).all()
        recoded = pairs.recoded(np.arange(len(task.symbols)) + 100)
        assert np.array_equal(recoded.foils_P, pairs.foils_P + 100)


def test_the_first_kind_has_an_answer() -> None:
    assert build("ar").counterfactuals == ("value", "key")
    assert build("ar[query=value]").counterfactuals == ("key", "value")
    with pytest.raises(UsageError, match=r"no counterfactual 'query'\. Choose one of value, key"):
        draw_pairs(build("ar"), stream(0), 4, length=25, kind="query")


@pytest.mark.parametrize("queries", ["all", "one"])
def test_held_out_combinations_are_in_the_test_alone(queries: str) -> None:
    task = build(f"ar[held_out=0.25,queries={queries}]")
    seen: dict[str, set[tuple[int, int]]] = {}
    asked: dict[str, set[tuple[int, int]]] = {}
    for split in ("train", "validation", "test"):
        batch = draw(task, stream(0, split), 3000, length=task.max_length, split=split)
        keys, values = batch.tokens_BT[:, 1:17:2] - 2, batch.tokens_BT[:, 2:17:2] - 34
        seen[split] = set(zip(keys.ravel().tolist(), values.ravel().tolist(), strict=True))
        scored = batch.targets_BT != UNSCORED
        queried, answers = batch.tokens_BT[scored] - 2, batch.targets_BT[scored] - 34
        asked[split] = set(zip(queried.tolist(), answers.tolist(), strict=True))
    assert not asked["test"] & (seen["train"] | seen["validation"])
    assert len(seen["train"]) == 32 * 24  # the rest is all seen, and all of what is held out
    assert len(asked["test"]) == 32 * 8  # is asked for
    pairs = draw_pairs(task, stream(0, "pairs"), 300, length=task.max_length)
    key = pairs.clean.tokens_BT[np.arange(300), pairs.clean.roles["key"]] - 2
    foils = set(zip(key.tolist(), (pairs.foils_P - 34).tolist(), strict=True))
    assert foils <= asked["test"]


def test_guessing_among_the_values_of_a_sequence_is_a_floor() -> None:
    floors = task_floors(build("ar"), 0, 8000)
    assert floors.answer.accuracy["context"] == pytest.approx(1 / 8, abs=0.01)
    assert floors.answer.best == floors.answer.accuracy["context"]
    assert floors.variables["bound"].balanced()["context"] == pytest.approx(1 / 8, abs=0.01)
    assert "context" not in floors.variables["key"].accuracy
    assert floors.variables["key"].accuracy["last2"] == pytest.approx(1.0, abs=0.01)


def test_presets_are_defaults_for_the_other_parameters() -> None:
    assert build("ar[small]") == build("ar")
    paper = build("ar[paper]")
    assert (len(paper.symbols), paper.max_length) == (2 + 2 * 4096, 34)
    assert build("ar[paper,pairs=4]").max_length == 10
    with pytest.raises(UsageError, match=r"Unknown preset 'papr' of ar\. Did you mean 'paper'"):
        build("ar[papr]")
    with pytest.raises(UsageError, match="no preset 'small' of brackets"):
        build("brackets[small]")


@pytest.mark.parametrize(
    ("args", "needs"),
    [
        ("pairs=1", "at least 2 pairs"),
        ("pairs=17", "at least 34 keys and 34 values"),
        ("pairs=32,longer=[]", "at least 33 keys"),
        ("query=both", "query=key or query=value"),
        ("queries=some", "queries=all or queries=one"),
        ("held_out=1.0", "a held_out that leaves values on each side"),
        ("held_out=0.01", "a held_out that leaves values on each side"),
        ("held_out=0.2,keys=40", "as many values as keys"),
        ("max_length=30", "max_length=25 and min_length from 7 on, or neither"),
        ("min_length=3", "max_length=25 and min_length from 7 on, or neither"),
    ],
)
def test_parameters_that_do_not_fit_are_usage_errors(args: str, needs: str) -> None:
    with pytest.raises(UsageError, match=needs):
        build(f"ar[{args}]")


def test_symbols_have_texts_of_one_character_while_there_are_enough() -> None:
    assert all(len(text) == 1 for text in build("ar").strings[1:])
    assert build("ar[paper]").strings == ()


def test_rows_without_repeats_come_out_equally_often() -> None:
    rng = np.random.default_rng(0)
    rows = all_different(lambda row: rng.integers(4, size=(len(row), 3)), 24_000)
    counts = dict.fromkeys(itertools.permutations(range(4), 3), 0)
    for row in map(tuple, rows.tolist()):
        counts[row] += 1
    assert min(counts.values()) > 850  # 1000 each, with a standard deviation of 31
    assert max(counts.values()) < 1150


def test_a_row_that_cannot_be_finished_is_drawn_anew() -> None:
    """The first entry must not be 1, which is all that the second one can be."""
    rng = np.random.default_rng(0)

    def draw_rows(row):
        return np.stack([rng.integers(3, size=len(row)), np.ones(len(row), int)], 1)

    assert (all_different(draw_rows, 500)[:, 0] != 1).all()
