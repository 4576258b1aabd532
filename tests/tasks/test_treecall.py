"""Grammars, trees and their exact posteriors, against plain Python that enumerates all trees."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mecheval.errors import UsageError
from mecheval.tasks.treecall import documents
from mecheval.tasks.treecall.ceiling import best_guesses, ceiling
from mecheval.tasks.treecall.grammar import Grammar, GrammarShape, random_grammar
from mecheval.tasks.treecall.inside import Chart

if TYPE_CHECKING:
    from collections.abc import Iterator

TINY = [
    GrammarShape(
        terminals=terminals, nonterminals=nonterminals, max_rhs=max_rhs, max_depth=max_depth,
        tau=tau, seed=seed,
    )
    for terminals, nonterminals, max_rhs, max_depth, tau, seed in (
        (2, 12, 4, 4, 2.0, 1), (2, 12, 4, 6, 4.0, 0), (3, 10, 3, 5, 3.0, 3)
    )
]  # fmt: skip
Tree = tuple[tuple[int, ...], tuple[int, ...]]  # tokens and depths


def trees(grammar: Grammar, most: int) -> dict[Tree, float]:
    """Enumerate all trees of up to ``most`` tokens with their probabilities."""

    @cache
    def of_kind(kind: int, depth: int) -> tuple[tuple[Tree, float], ...]:
        return tuple(constituents(kind, depth))

    def constituents(kind: int, depth: int) -> Iterator[tuple[Tree, float]]:
        for rule in np.flatnonzero(grammar.rule_AR[kind]):
            symbols = grammar.rhs_ARS[kind, rule][: grammar.length_AR[kind, rule]].tolist()
            parts = [of_symbol(symbol, depth + 1) for symbol in symbols]
            for chosen in itertools.product(*parts):
                tokens = tuple(token for (of, _), _ in chosen for token in of)
                depths = tuple(place for (_, of), _ in chosen for place in of)
                if len(tokens) >= most:
                    continue
                weight = grammar.rule_AR[kind, rule] * np.prod([share for _, share in chosen])
                for head, share in enumerate(grammar.head_AW[kind]):
                    yield ((*tokens, head), (*depths, depth)), float(weight * share)

    def of_symbol(symbol: int, depth: int) -> tuple[tuple[Tree, float], ...]:
        if symbol < grammar.n_terminals:
            return ((((symbol,), (depth,)), 1.0),)
        return of_kind(symbol - grammar.n_terminals, depth)

    found: dict[Tree, float] = defaultdict(float)
    for kind in range(grammar.n_nonterminals):
        for tree, share in of_kind(kind, 0):
            found[tree] += share / grammar.n_nonterminals
    return found


def parents_of(depths: tuple[int, ...]) -> list[int]:
    """Give every token to the head that closes its constituent."""
    waiting: list[int] = []
    parents = [-1] * len(depths)
    for place, depth in enumerate(depths):
        while waiting and depths[waiting[-1]] == depth + 1:
            parents[waiting.pop()] = place
        waiting.append(place)
    assert waiting == [len(depths) - 1]
    return parents


@pytest.mark.parametrize("shape", TINY)
def test_trees_come_out_as_often_as_they_should(shape: GrammarShape) -> None:
    grammar = random_grammar(shape)
    expected = trees(grammar, 7)
    n = 40_000
    drawn = documents.draw_trees(grammar, np.random.default_rng(0), n, least=1, most=6)
    assert {array.shape[1] for array in drawn} == {6}
    counts = Counter(
        (tuple(tokens[: tokens.index(-1)] if -1 in tokens else tokens),
         tuple(depths[: depths.index(-1)] if -1 in depths else depths))
        for tokens, depths in zip(*(array.tolist() for array in drawn), strict=True)
    )  # fmt: skip
    short = {tree: share for tree, share in expected.items() if len(tree[0]) <= 6}
    assert set(counts) <= set(short)
    assert len(drawn[0]) / n == pytest.approx(sum(short.values()), abs=0.01)
    likely = {tree: share for tree, share in short.items() if share * n > 50}
    assert len(likely) > 30
    for tree, share in likely.items():
        assert abs(counts[tree] - share * n) < 5 * np.sqrt(share * n)


@pytest.mark.parametrize("shape", TINY)
def test_posteriors_are_those_of_all_trees(shape: GrammarShape) -> None:
    grammar = random_grammar(shape)
    by_yield: dict[tuple[int, ...], list[tuple[tuple[int, ...], float]]] = defaultdict(list)
    for (tokens, depths), share in trees(grammar, 8).items():
        if len(tokens) < 8 and share:
            by_yield[tokens].append((depths, share))
    yields = sorted(by_yield, key=len)[-400:] + sorted(by_yield, key=len)[:100]
    width = max(map(len, yields))
    token_BL = np.array([[*tokens, *[-1] * (width - len(tokens))] for tokens in yields])
    chart = Chart(grammar, token_BL)
    posterior = chart.parents()
    n_several = 0
    for row, tokens in enumerate(yields):
        expected = np.zeros((width, width))
        for depths, share in by_yield[tokens]:
            for child, parent in enumerate(parents_of(depths)):
                if parent >= 0:
                    expected[child, parent] += share
        evidence = sum(share for _, share in by_yield[tokens])
        assert chart.evidence_B[row] == pytest.approx(evidence, rel=1e-9)
        assert posterior[row] == pytest.approx(expected / evidence, abs=1e-9)
        n_several += len(by_yield[tokens]) > 1
    assert n_several > 30


def test_a_yield_that_the_grammar_does_not_make_is_a_usage_error() -> None:
    grammar = random_grammar(TINY[0])
    with pytest.raises(UsageError, match="makes no tree"):
        Chart(grammar, np.array([[0]])).parents()


def test_the_best_guess_is_the_token_with_the_greatest_posterior() -> None:
    grammar = random_grammar(
        GrammarShape(terminals=3, nonterminals=24, max_depth=6, tau=4.0, seed=3)
    )
    rng = np.random.default_rng(0)
    token_BL, depth_BL = documents.draw_trees(grammar, rng, 1000, least=3, most=12)
    parent_BL = documents.parents(depth_BL)
    eligible = documents.rightmost(token_BL) & (parent_BL >= 0)
    asked = eligible.any(1)
    token_BL, parent_BL, eligible = token_BL[asked], parent_BL[asked], eligible[asked]
    place_BQ = documents.draw_queries(rng, eligible, None, 2)
    guess_BQ, share_BQ = best_guesses(grammar, token_BL, place_BQ)
    one = best_guesses(grammar, token_BL[:7], place_BQ[:7])
    assert np.array_equal(one[0], guess_BQ[:7])
    assert one[1] == pytest.approx(share_BQ[:7], abs=1e-12)
    known = place_BQ >= 0
    assert (guess_BQ[~known] == -1).all()
    row = np.arange(len(token_BL))[:, None]
    right = guess_BQ == token_BL[row, parent_BL[row, np.maximum(place_BQ, 0)]]
    estimate = ceiling(grammar, token_BL, place_BQ)
    assert estimate.n_queries == known.sum()
    assert estimate.accuracy == pytest.approx(share_BQ[known].mean())
    assert estimate.interval.low < estimate.accuracy < estimate.interval.high
    # A guess is right as often as its posterior says.
    spread = 4 * np.sqrt((share_BQ * (1 - share_BQ)).sum()) / known.sum()
    assert right[known].mean() == pytest.approx(estimate.accuracy, abs=spread)
    assert 0.98 < estimate.accuracy < 1 - spread / 4
    copied = token_BL[row, np.maximum(place_BQ, 0) + 1] == token_BL[
        row, parent_BL[row, np.maximum(place_BQ, 0)]]  # fmt: skip
    assert copied[known].mean() < estimate.accuracy


def test_places_against_plain_loops() -> None:
    rng = np.random.default_rng(0)
    grammar = random_grammar(GrammarShape(seed=4))
    token_BL, depth_BL = documents.draw_trees(grammar, rng, 400, least=3, most=40)
    parent_BL = documents.parents(depth_BL)
    arrays = (documents.rightmost(token_BL), parent_BL, documents.last_siblings(parent_BL))
    often = documents.most_frequent(token_BL)
    for row in range(len(token_BL)):
        n = int((token_BL[row] >= 0).sum())
        tokens, depths = token_BL[row, :n].tolist(), tuple(depth_BL[row, :n].tolist())
        assert n >= 3
        parents = parents_of(depths)
        last = [token not in tokens[place + 1 :] for place, token in enumerate(tokens)]
        siblings = [max(i for i in range(n) if parents[i] == parent) if parent >= 0 else -1
                    for parent in parents]  # fmt: skip
        for array, expected, rest in zip(arrays, (last, parents, siblings), (False, -1, -1),
                                         strict=True):  # fmt: skip
            assert array[row].tolist() == [*expected, *[rest] * (40 - n)]
        assert often[row] == min(Counter(tokens).items(), key=lambda item: (-item[1], item[0]))[0]


def test_answers_can_be_drawn_first() -> None:
    """Places 0, 1 and 2 have one answer, place 3 another: it is drawn half of the time."""
    eligible = np.tile([True, True, True, True, False], (40_000, 1))
    target = np.tile([4, 4, 4, 5, 5], (40_000, 1))
    for by_target, expected in ((None, [0.25] * 4), (target, [1 / 6, 1 / 6, 1 / 6, 1 / 2])):
        places = documents.draw_queries(np.random.default_rng(0), eligible, by_target, 5)
        share = np.bincount(places[:, 0], minlength=4) / len(places)
        assert share == pytest.approx(expected, abs=0.01)
        assert np.array_equal(np.sort(places[:, :4]), np.tile(range(4), (40_000, 1)))
        assert (places[:, 4] == -1).all()


def test_a_grammar_is_what_its_shape_says() -> None:
    shape = GrammarShape(terminals=50, nonterminals=30, max_rhs=6, max_rules=4, tau=5.0, seed=3)
    grammar = random_grammar(shape)
    assert random_grammar(shape) is grammar
    assert grammar.rule_AR.sum(1) == pytest.approx(1)
    assert grammar.head_AW.sum(1) == pytest.approx(1)
    used = grammar.rhs_ARS >= 0
    assert np.array_equal(used.sum(2), grammar.length_AR)
    assert set(np.unique(grammar.length_AR)) == {1, 2, 3, 4, 5}
    assert set((grammar.rule_AR > 0).sum(1)) == {1, 2, 3, 4}
    larger = random_grammar(GrammarShape(**{**vars(shape), "terminals": 500}))
    kinds, others = (np.maximum(of.rhs_ARS - of.n_terminals, -1) for of in (grammar, larger))
    assert np.array_equal(kinds, others)
    assert np.array_equal(grammar.rule_AR, larger.rule_AR)
    own = random_grammar(GrammarShape(**{**vars(shape), "transparent": True}))
    assert np.array_equal(own.head_AW, np.eye(30, 50))
    assert own.rhs_ARS[(own.rhs_ARS >= 0) & (own.rhs_ARS < 50)].min() >= 30


def test_the_weight_of_terminals_is_tau() -> None:
    """A nonterminal with n allowed ones has terminals at a share tau / (tau + n) of places."""
    shares, expected = [], []
    for seed in range(300):
        grammar = random_grammar(GrammarShape(terminals=9, nonterminals=2, max_depth=10**6,
                                              max_rules=1, tau=3.0, seed=seed))  # fmt: skip
        terminal = ((grammar.rhs_ARS >= 0) & (grammar.rhs_ARS < 9)).sum((1, 2))
        shares.append(terminal.sum() / grammar.length_AR.sum())
        expected.append(grammar.length_AR.sum())
    # One of the two nonterminals has the other one beneath it: 3 / 4; the other has none: 1.
    assert np.average(shares, weights=expected) == pytest.approx(7 / 8, abs=0.02)
