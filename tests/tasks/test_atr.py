"""Associative treecall against an oracle in plain Python, its statistics, splits and pairs."""

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
from mecheval.tasks.splits import draw, draw_pairs
from mecheval.tasks.treecall import documents

DIVIDER, PAD = 1, 2
VARIANTS = [
    "atr", "atr[queries=1]", "atr[select=target]", "atr[relation=sibling]",
    "atr[relation=sibling,select=target,queries=2]", "atr[medium]", "atr[8192]",
    "atr[gen]", "atr[terminals=60,transparent=true,tau=10]",
    "atr[terminals=3,max_length=24,min_length=12]",
]  # fmt: skip


@cache
def load(name: str) -> type[Task]:
    return Registry().load("task", name)


def build(text: str) -> Task:
    spec = parse_spec(text)
    return configure(load(spec.name), spec.args, name=spec.name)


def parse(depths: list[int]) -> list[list[int]]:
    """Return the children of every place: a head closes what is one deeper and still open."""
    children: list[list[int]] = [[] for _ in depths]
    still_open: list[int] = []
    for place, depth in enumerate(depths):
        while still_open and depths[still_open[-1]] == depth + 1:
            children[place].insert(0, still_open.pop())
        still_open.append(place)
    assert still_open == [len(depths) - 1]
    return children


def derivable(task: Task, tokens: list[int], children: list[list[int]]) -> bool:
    """Say whether the grammar makes the tree: which nonterminals can be each constituent."""
    grammar = task.grammar
    kinds: list[set[int]] = []
    for place, token in enumerate(tokens):
        parts = children[place]
        kinds.append(set())
        for kind in range(grammar.n_nonterminals if parts else 0):
            for rule in np.flatnonzero(grammar.rule_AR[kind]):
                symbols = grammar.rhs_ARS[kind, rule][: grammar.length_AR[kind, rule]].tolist()
                if len(symbols) == len(parts) and grammar.head_AW[kind, token] > 0 and all(
                    (symbol == tokens[part] and not children[part])
                    or symbol - grammar.n_terminals in kinds[part]
                    for symbol, part in zip(symbols, parts, strict=True)
                ):  # fmt: skip
                    kinds[place].add(kind)
    return bool(kinds[-1])


def assert_labelled(task: Task, batch: Batch, *, derived: bool) -> None:
    """Parse every sequence, and look up what each query asks for."""
    for row, tokens in enumerate(batch.tokens_BT.tolist()):
        middle = tokens.index(DIVIDER)
        words = [token - 3 for token in tokens[1:middle]]
        n = len(words)
        depths = batch.variables["depth"][row]
        assert (depths[[0, *range(middle, len(tokens))]] == UNDEFINED).all()
        children = parse(depths[1:middle].tolist())
        parent = {part: head for head, parts in enumerate(children) for part in parts}
        assert min(words) >= 0
        assert not derived or derivable(task, words, children)
        heads = [words[parent[i]] if i in parent else UNDEFINED for i in range(n)]
        rest = [UNDEFINED] * (len(tokens) - middle)
        assert batch.variables["head"][row].tolist() == [UNDEFINED, *heads, *rest]
        expected = dict.fromkeys(range(len(tokens)), UNSCORED)
        queries = [token for token in tokens[middle + 1 :] if token != PAD]
        assert tokens[middle + 1 :] == queries + [PAD] * (len(tokens) - middle - 1 - len(queries))
        assert len(set(queries)) == len(queries) <= task.queries
        for column, query in enumerate(queries, middle + 1):
            places = [i for i, word in enumerate(words) if word == query - 3]
            if places and places[-1] in parent:
                target = parent[places[-1]]
                if task.relation == "sibling":
                    target = children[target][-1]
                expected[column] = words[target] + 3
        assert batch.targets_BT[row].tolist() == list(expected.values())
        bound = [answer - 3 if answer >= 0 else UNDEFINED for answer in expected.values()]
        assert batch.variables["bound"][row].tolist() == bound
        assert_roles(task, {name: int(of[row]) for name, of in batch.roles.items()}, parent, middle)
        if derived:
            key = batch.roles["key"][row]
            assert words[key - 1] + 3 == queries[0]
            assert queries[0] not in tokens[key + 1 : middle]
            assert tokens[batch.roles["value"][row]] == batch.target_at("readout")[row]


def assert_roles(task: Task, roles: dict[str, int], parent: dict[int, int], middle: int) -> None:
    head = parent[roles["key"] - 1]
    siblings = [part for part, of in parent.items() if of == head]
    value = head if task.relation == "parent" else max(siblings)
    assert roles == {
        "key": roles["key"], "value": value + 1, "next_key": roles["key"] + 1,
        "divider": middle, "query": middle + 1, "readout": middle + 1,
    }  # fmt: skip


@pytest.mark.parametrize("text", VARIANTS)
def test_labels_are_those_of_a_parser(text: str) -> None:
    task = build(text)
    for length in sorted({task.min_length, task.max_length, task.test_lengths["2x"]}):
        batch = task.sample(stream(0, "oracle", length), 15, length)
        assert batch.tokens_BT.shape == (15, length + 1)
        assert_labelled(task, batch, derived=True)
        assert (batch.targets_BT != UNSCORED).any(1).all()
    for kind in task.counterfactuals:
        pairs = draw_pairs(task, stream(0, kind), 15, length=task.max_length, kind=kind)
        assert_labelled(task, pairs.clean, derived=True)
        assert_labelled(task, pairs.corrupted, derived=False)


def test_all_that_can_be_asked_for_is_asked_for_alike() -> None:
    task = build("atr[queries=60,max_length=124]")
    batch = task.sample(stream(0, "all"), 300, 124)
    for row, tokens in enumerate(batch.tokens_BT.tolist()):
        middle = tokens.index(DIVIDER)
        asked = {token for token in tokens[middle + 1 :] if token != PAD}
        assert asked == set(tokens[1:middle]) - {tokens[middle - 1]}
        assert (batch.targets_BT[row] != UNSCORED).sum() == len(asked)
    assert task.room(124) == 63


def test_longer_tests_have_yields_that_do_not_fit_into_the_others() -> None:
    task = build("atr[max_length=24]")
    short = task.sample(stream(0, "short"), 300, 24).roles["divider"] - 1
    long = task.sample(stream(0, "long"), 300, 48).roles["divider"] - 1
    assert 3 <= short.min() < 5
    assert short.max() == 24 - 1 - 4
    assert long.min() == 24 - 1 - 4 + 1
    assert long.max() > 30


@pytest.mark.parametrize("text", ["atr", "atr[queries=1]", "atr[min_length=30]"])
def test_no_yield_of_a_test_is_in_training(text: str) -> None:
    """Not even with other queries, or before more padding."""
    task = build(text)
    seen = {}
    for split in ("train", "validation", "test"):
        for length in {task.min_length, task.max_length}:
            batch = draw(task, stream(0, split, length), 500, length=length, split=split)
            yields = {tuple(row[: row.index(DIVIDER)]) for row in batch.tokens_BT.tolist()}
            seen[split] = seen.get(split, set()) | yields
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]
    assert min(map(len, seen.values())) > 250


@pytest.mark.parametrize("relation", ["parent", "sibling"])
def test_held_out_combinations_are_asked_for_in_the_test_alone(relation: str) -> None:
    task = build(f"atr[held_out=0.2,relation={relation}]")
    asked = {}
    for split in ("train", "validation", "test"):
        batch = draw(task, stream(0, split), 1500, length=task.max_length, split=split)
        scored = batch.targets_BT != UNSCORED
        pairs = zip(batch.tokens_BT[scored].tolist(), batch.targets_BT[scored].tolist(),
                    strict=True)  # fmt: skip
        asked[split] = set(pairs)
    assert not asked["test"] & (asked["train"] | asked["validation"])
    share = len(asked["test"]) / len(asked["test"] | asked["train"])
    assert share == pytest.approx(0.2, abs=0.08)
    pairs = draw_pairs(task, stream(0, "pairs"), 300, length=task.max_length)
    query = pairs.clean.tokens_BT[np.arange(300), pairs.readout_P]
    foils = set(zip(query.tolist(), pairs.foils_P.tolist(), strict=True))
    assert not foils & asked["train"]
    any_split = task.sample(stream(0, "any"), 300, task.max_length)
    scored = any_split.targets_BT != UNSCORED
    pairs = set(zip(any_split.tokens_BT[scored].tolist(), any_split.targets_BT[scored].tolist(),
                    strict=True))  # fmt: skip
    assert pairs & asked["train"]
    assert pairs & asked["test"]


@pytest.mark.parametrize("text", ["atr", "atr[8192]", "atr[relation=sibling]",
                                  "atr[queries=1,select=target]"])  # fmt: skip
@pytest.mark.parametrize("kind", ["value", "key"])
def test_a_counterfactual_exchanges_one_token(text: str, kind: str) -> None:
    task = build(text)
    pairs = draw_pairs(task, stream(0, "pairs"), 300, length=task.max_length, kind=kind)
    clean, corrupted = pairs.clean.tokens_BT, pairs.corrupted.tokens_BT
    assert ((clean != corrupted).sum(1) == 1).all()
    assert np.array_equal(pairs.changed_P, pairs.clean.roles[kind])
    new = corrupted[np.arange(300), pairs.changed_P]
    position = np.arange(clean.shape[1])
    asked = position > pairs.clean.roles["divider"][:, None]
    assert not ((clean == new[:, None]) & asked).any()
    unused = ~(clean == new[:, None]).any(1)
    all_used = np.array([len(set(row)) for row in clean.tolist()]) >= task.terminals
    assert (unused | all_used).all()
    assert (pairs.foils_P != pairs.answers_P).all()
    if kind == "value":
        assert pairs.answered_P.all()
        assert np.array_equal(pairs.foils_P, new)
        return
    assert 0.5 < 1 - pairs.answered_P.mean() <= 1
    assert (corrupted == pairs.foils_P[:, None]).any(1).all()
    query = clean[np.arange(300), pairs.clean.roles["query"]]
    inner = ~asked & (position != pairs.changed_P[:, None])
    earlier = ((clean == query[:, None]) & inner).any(1)
    assert np.array_equal(pairs.answered_P, earlier)


def test_a_key_that_is_its_own_answer_is_not_exchanged_as_a_value() -> None:
    task = build("atr[relation=sibling]")
    batch = task.sample(stream(0, "sibling"), 500, task.max_length)
    changed = task.counterfactual_of("value", batch, stream(1))
    own = batch.roles["key"] == batch.roles["value"]
    assert 0.1 < own.mean() < 0.9
    same = (batch.tokens_BT == changed.tokens_BT).all(1)
    assert same[own].all()
    assert not same[~own].any()


def untruncated(task: Task, n: int) -> dict[str, float]:
    """Measure the statistics of documents with one query, drawn by its answer."""
    rng = stream(0, "statistics")
    token_BL, depth_BL = documents.draw_trees(task.grammar, rng, n, least=3, most=1023)
    used = (token_BL >= 0).any(0)
    token_BL, depth_BL = token_BL[:, used], depth_BL[:, used]
    parent_BL = documents.parents(depth_BL)
    eligible_BL = documents.rightmost(token_BL) & (parent_BL >= 0)
    key_B = documents.draw_queries(rng, eligible_BL, parent_BL, 1)[:, 0]
    kept = key_B >= 0
    token_BL, depth_BL, parent_BL = token_BL[kept], depth_BL[kept], parent_BL[kept]
    eligible_BL, key_B, row_B = eligible_BL[kept], key_B[kept], np.arange(kept.sum())
    length_B = (token_BL >= 0).sum(1)
    answer_B = token_BL[row_B, parent_BL[row_B, key_B]]
    n_heads_B = np.array([len(set(row) - {-1}) for row in parent_BL.tolist()])
    return {
        "length": (length_B + 5).mean(),  # with BOS, divider, query, answer and end
        "depth": depth_BL.max(1).mean(),
        "branching": ((length_B - 1) / n_heads_B).mean(),
        "eligible": eligible_BL.sum(1).mean(),
        "distance": (parent_BL[row_B, key_B] - key_B).mean(),
        "copy_right": (token_BL[row_B, key_B + 1] == answer_B).mean(),
        "last": (token_BL[row_B, length_B - 1] == answer_B).mean(),
    }


STATISTICS = {
    "easy": {"length": 19.7, "depth": 3.0, "branching": 2.8, "eligible": 7.7, "distance": 2.5,
             "copy_right": 0.499, "last": 0.462},
    "medium": {"length": 45.2, "depth": 3.0, "branching": 4.4, "eligible": 11.4, "distance": 3.8,
               "copy_right": 0.429, "last": 0.429},
    "8192": {"length": 18.4, "depth": 2.6, "branching": 2.7, "eligible": 11.8, "distance": 2.4,
             "copy_right": 0.500, "last": 0.405},
}  # fmt: skip
"""What the study's grammars give, by preset."""


@pytest.mark.parametrize("preset", STATISTICS)
def test_documents_are_like_those_of_the_study(preset: str) -> None:
    """Grammars differ a lot; the presets name seeds whose documents are much like the study's."""
    found = untruncated(build(f"atr[{preset}]"), 6000)
    expected = STATISTICS[preset]
    for name in ("copy_right", "last"):
        assert found[name] == pytest.approx(expected[name], abs=0.025), name
    for name in set(expected) - {"copy_right", "last"}:
        assert found[name] == pytest.approx(expected[name], rel=0.12), name


def test_rules_of_thumb_are_floors_of_all_queries() -> None:
    task = build("atr")
    batch = task.sample(stream(0, "rules"), 4000, task.max_length)
    right, n = dict.fromkeys(("copy_right", "last_token", "most_frequent"), 0), 0
    for tokens, targets in zip(batch.tokens_BT.tolist(), batch.targets_BT.tolist(), strict=True):
        middle = tokens.index(DIVIDER)
        words = tokens[1:middle]
        often = max(sorted(set(words)), key=words.count)
        for query, answer in zip(tokens, targets, strict=True):
            if answer != UNSCORED:
                last = max(place for place, word in enumerate(words) if word == query)
                right["copy_right"] += words[last + 1] == answer
                right["last_token"] += words[-1] == answer
                right["most_frequent"] += often == answer
                n += 1
    floors = task_floors(task, 0, 8000)
    for name, count in right.items():
        assert floors.answer.accuracy[name] == pytest.approx(count / n, abs=0.02)
    assert floors.answer.best == floors.answer.accuracy["last_token"]
    assert floors.answer.accuracy["majority"] < 0.12
    assert "copy_right" in floors.variables["head"].accuracy


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["medium", "8192", "gen"])
def test_contract_of_the_presets(preset: str) -> None:
    checks = check_task(build(f"atr[{preset}]"))
    assert not [str(check) for check in checks if check.passed is False]


def test_the_ceiling_is_beneath_one_and_above_the_rules_of_thumb() -> None:
    task = build("atr[max_length=24,terminals=4]")
    found = task.ceiling(n=30)
    assert found.n_documents == 30
    assert 30 <= found.n_queries <= 120
    assert task_floors(task, 0, 4000).answer.best < found.interval.low
    assert found.interval.low <= found.accuracy <= found.interval.high <= 1
    assert found == task.ceiling(n=30)
    assert found.accuracy != task.ceiling(n=30, seed=1).accuracy
    for args in ("relation=sibling", "select=target", "held_out=0.2"):
        with pytest.raises(UsageError, match="no held_out for a ceiling"):
            build(f"atr[{args}]").ceiling(n=4)


def test_presets_are_defaults_for_the_other_parameters() -> None:
    assert build("atr[easy]") == build("atr")
    large = build("atr[8192]")
    assert (len(large.symbols), large.tau, large.strings) == (8195, 20.0, ())
    assert build("atr[8192,terminals=100]").terminals == 100
    assert build("atr[gen]") == build("atr[held_out=0.2]")
    assert all(len(text) == 1 for text in build("atr").strings[1:])


@pytest.mark.parametrize(
    ("args", "needs"),
    [
        ("terminals=1", "at least 2 terminals"),
        ("nonterminals=0", "at least one nonterminal, rule and level"),
        ("max_rhs=1", "max_rhs from 2 on"),
        ("tau=-1", "a tau of 0 or more"),
        ("transparent=true", "more terminals than nonterminals"),
        ("relation=child", "relation=parent or relation=sibling"),
        ("select=last", "select=uniform or select=target"),
        ("queries=0", "at least one of queries"),
        ("held_out=1.0", "a held_out from 0 on and beneath 1"),
        ("max_length=7", "a min_length of at least 8"),
    ],
)
def test_parameters_that_do_not_fit_are_usage_errors(args: str, needs: str) -> None:
    with pytest.raises(UsageError, match=needs):
        build(f"atr[{args}]")


@pytest.mark.parametrize("args", ["max_rhs=2,max_depth=1", "max_depth=1,max_length=48"])
def test_a_grammar_without_such_yields_is_a_usage_error(args: str) -> None:
    """A tree of one level has at most as many tokens as a right-hand side and its head."""
    task = build(f"atr[{args}]")
    length = task.max_length if "rhs" in args else 2 * task.max_length
    with pytest.raises(UsageError, match="found nothing to ask for"):
        task.sample(stream(0, "barren"), 10, length)
