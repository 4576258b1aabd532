"""Associative treecall: whose constituent a token belongs to, in sentences of a random grammar.

Shape suffixes: ``B`` examples, ``T`` positions (BOS included), ``L`` places of a yield, ``Q``
queries of an example.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mecheval.errors import UsageError
from mecheval.tasks import BOS, UNDEFINED, UNSCORED, Batch, Task, task
from mecheval.tasks.batch import where_answers_differ
from mecheval.tasks.splits import sequence_hash
from mecheval.tasks.symbols import CHARACTERS
from mecheval.tasks.treecall import documents
from mecheval.tasks.treecall.grammar import Grammar, GrammarShape, random_grammar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.tasks.splits import Split
    from mecheval.tasks.treecall.ceiling import Ceiling

DIVIDER, PAD, FIRST = 1, 2, 3  # between yield and queries; behind them; the first terminal
SHORTEST = 3  # tokens of a yield
_CHUNK = 16_384  # trees drawn at once
_MOST_BARREN = 4 * _CHUNK  # trees without a single find, after which there is nothing to find
_ROUNDS = 64  # of drawing again what does not fit


@task(
    name="atr",
    version=1,
    reference="Arora et al. 2025, arXiv:2505.15105",
    mechanisms=(
        "recovery",
        "interchange",
        "mechanism",
        "convolution[n_pairs=32]",
        "readability",
    ),
)
@dataclass(frozen=True, kw_only=True)
class AssociativeTreecall(Task):
    """Which token heads the constituent of another one, in the yield of a right-headed tree.

    A sequence is ``BOS yield divider q q ... pad pad ...``. Every token of the yield but the last
    one, the root, has a parent to its right: the head of the constituent that it is part of. A
    query repeats a token, and asks for the parent of its rightmost occurrence. Some yields have
    several trees, so that no model is always right; :meth:`ceiling` says how often one can be.

    Attributes:
        min_length: Fewest symbols of a training sequence; as ``max_length`` where 0.
        max_length: Symbols of the in-distribution test. Yields that do not fit are left out.
        longer: Factors of ``max_length`` for longer tests, of yields that do not fit into it.
        terminals: Number of different tokens of the yields.
        nonterminals: Number of kinds of constituents.
        max_rhs: Most tokens and constituents in a constituent, its head included.
        max_rules: Most rules of a kind of constituent.
        max_depth: Most constituents that a token is inside of.
        tau: Weight of a terminal in rules, where every nonterminal weighs 1; 0 for ``terminals``.
        transparent: Whether each kind of constituent has a head of its own.
        grammar_seed: Decides the grammar. Those of the presets give documents much like the
            study's in length, depth, branching and rules of thumb; most seeds give shorter ones.
        relation: What is asked for: ``parent``, or ``sibling`` for the parent's rightmost child.
        queries: Most tokens asked for in one sequence; fewer where a yield has fewer.
        select: How they are drawn: ``uniform``, or ``target`` for an answer first and then one
            of its tokens.
        held_out: Share of the combinations of a token and its answer that training does not ask
            for, and that the tests do; 0 for no such split.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "easy": {"max_rhs": 5, "terminals": 20},
        "medium": {"max_rhs": 10, "terminals": 20, "max_length": 160, "grammar_seed": 53},
        "8192": {"max_rhs": 5, "terminals": 8192, "tau": 20.0, "grammar_seed": 333},
        "gen": {"max_rhs": 5, "terminals": 20, "held_out": 0.2},
    }
    ambiguous: ClassVar[bool] = True
    queried: ClassVar[bool] = True

    min_length: int = 0
    max_length: int = 48
    longer: tuple[int, ...] = (2,)
    terminals: int = 20
    nonterminals: int = 40
    max_rhs: int = 5
    max_rules: int = 5
    max_depth: int = 10
    tau: float = 0.0
    transparent: bool = False
    grammar_seed: int = 91
    relation: str = "parent"
    queries: int = 4
    select: str = "uniform"
    held_out: float = 0.0

    def __post_init__(self) -> None:
        """Check that there are such grammars, and that a yield fits."""
        self._check(self.terminals >= 2, "at least 2 terminals, or no token can be asked for")
        self._check(min(self.nonterminals, self.max_rules, self.max_depth) >= 1,
                    "at least one nonterminal, rule and level")  # fmt: skip
        self._check(self.max_rhs >= 2, "max_rhs from 2 on, as a head is one of them")
        self._check(self.tau >= 0, "a tau of 0 or more")
        distinct = self.terminals > self.nonterminals or not self.transparent
        self._check(distinct, "more terminals than nonterminals for transparent")
        self._check(self.relation in ("parent", "sibling"), "relation=parent or relation=sibling")
        self._check(self.select in ("uniform", "target"), "select=uniform or select=target")
        self._check(self.queries >= 1, "at least one of queries")
        self._check(0 <= self.held_out < 1, "a held_out from 0 on and beneath 1")
        object.__setattr__(self, "min_length", self.min_length or self.max_length)
        enough = self.min_length >= self.shortest
        self._check(enough, f"a min_length of at least {self.shortest}")
        super().__post_init__()

    def _check(self, holds: bool, needs: str) -> None:
        if not holds:
            given = ", ".join(f"{name}={value}" for name, value in self.params.items())
            raise UsageError(f"Task 'atr' needs {needs}; it was given {given}.")

    @property
    def grammar(self) -> Grammar:
        """Return the grammar."""
        names = ("terminals", "nonterminals", "max_rhs", "max_rules", "max_depth", "tau",
                 "transparent")  # fmt: skip
        shape = {name: getattr(self, name) for name in names}
        return random_grammar(GrammarShape(**shape, seed=self.grammar_seed))

    @property
    def shortest(self) -> int:
        """Return the number of symbols of the smallest trees, with their queries."""
        return SHORTEST + 1 + self.queries

    def room(self, length: int) -> int:
        """Return the most tokens of a yield in a sequence of so many symbols."""
        return length - 1 - self.queries

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return BOS, the divider, the pad, the terminals."""
        return (BOS, "|", "_", *(f"t{i}" for i in range(self.terminals)))

    @property
    def strings(self) -> tuple[str, ...]:
        """Return one character per symbol while there are enough, nothing in particular beyond."""
        n_symbols = FIRST + self.terminals
        return (BOS, *CHARACTERS[: n_symbols - 1]) if n_symbols <= len(CHARACTERS) else ()

    @property
    def answers(self) -> tuple[int, ...]:
        """Return the terminals."""
        return tuple(range(FIRST, FIRST + self.terminals))

    @property
    def variables(self) -> Mapping[str, int]:
        """Return the answer at a query; depth and parent's token of each token of the yield.

        The last two belong to the tree that was drawn; what follows them is part of it.
        """
        return {"bound": self.terminals, "depth": self.max_depth + 1, "head": self.terminals}

    @property
    def counterfactuals(self) -> tuple[str, ...]:
        """Return what can be exchanged: the first query's answer, or the token it repeats."""
        return ("value", "key")

    def split_key(self, tokens_BT: np.ndarray) -> np.ndarray:
        """Return the yields: whatever is asked of one, and behind however much, is in one split."""
        queries_BT = (tokens_BT == DIVIDER).cumsum(1) > 0
        rest = max(0, max(self.test_lengths.values()) + 1 - tokens_BT.shape[1])
        yields_BT = np.where(queries_BT, PAD, tokens_BT)
        return np.pad(yields_BT, ((0, 0), (0, rest)), constant_values=PAD)

    def sample(self, rng: np.random.Generator, n: int, length: int) -> Batch:
        """Draw ``n`` sequences that ask for any combinations."""
        return self.sample_split(rng, n, length, None)

    def sample_split(
        self, rng: np.random.Generator, n: int, length: int, split: Split | None
    ) -> Batch:
        """Draw ``n`` sequences of a split, which decides which combinations may be asked for.

        Raises:
            UsageError: The grammar has no yield of that length that something can be asked of.
        """
        most = self.room(length)
        least = SHORTEST if length <= self.max_length else self.room(self.max_length) + 1
        parts, n_found, n_tried = [], 0, 0
        while n_found < n:
            share = (n_found + 1) / (n_tried + 1)
            size = min(_CHUNK, int(1.1 * (n - n_found) / share) + 64)
            parts.append(self._documents(rng, size, (least, most), split))
            n_tried, n_found = n_tried + size, n_found + len(parts[-1][0])
            if not n_found and n_tried >= _MOST_BARREN:
                raise UsageError(
                    f"Task 'atr' found nothing to ask for in {n_tried} sentences of its grammar "
                    f"({least} to {most} tokens, split {split or 'any'}). Give it another "
                    "grammar_seed, more terminals, or another max_length."
                )
        token_BL, depth_BL, key_BQ = (np.concatenate(of)[:n] for of in zip(*parts, strict=True))
        length_B, row_B = (token_BL >= 0).sum(1), np.arange(n)
        tokens_BT = np.full((n, length + 1), PAD)
        depth_BT = np.full_like(tokens_BT, UNDEFINED)
        tokens_BT[:, 0] = 0
        tokens_BT[:, 1 : most + 1] = np.where(token_BL >= 0, FIRST + token_BL, PAD)
        depth_BT[:, 1 : most + 1] = depth_BL
        tokens_BT[row_B, 1 + length_B] = DIVIDER
        asked_BQ = np.take_along_axis(token_BL, np.maximum(key_BQ, 0), 1)
        column_BQ = 2 + length_B[:, None] + np.arange(key_BQ.shape[1])
        asked_BQ = np.where(key_BQ >= 0, FIRST + asked_BQ, PAD)
        np.put_along_axis(tokens_BT, column_BQ, asked_BQ, 1)
        return self._labelled(tokens_BT, depth_BT)

    def _documents(
        self, rng: np.random.Generator, n: int, sizes: tuple[int, int], split: Split | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw at most ``n`` documents: terminals, depths, and the places that are asked for."""
        least, most = sizes
        token_BL, depth_BL = documents.draw_trees(self.grammar, rng, n, least=least, most=most)
        parent_BL = documents.parents(depth_BL)
        target_BL = self._targets(parent_BL)
        right_BL = documents.rightmost(token_BL)
        eligible_BL = right_BL & (parent_BL >= 0)
        if self.relation == "sibling":
            eligible_BL &= np.take_along_axis(right_BL, np.maximum(target_BL, 0), 1)
        if self.held_out and split is not None:
            answer_BL = np.take_along_axis(token_BL, np.maximum(target_BL, 0), 1)
            eligible_BL &= self._is_held(token_BL, answer_BL) == (split == "test")
        by_target_BL = target_BL if self.select == "target" else None
        key_BQ = documents.draw_queries(rng, eligible_BL, by_target_BL, self.queries)
        asked_B = key_BQ[:, 0] >= 0
        return token_BL[asked_B], depth_BL[asked_B], key_BQ[asked_B]

    def _targets(self, parent_BL: np.ndarray) -> np.ndarray:
        """Return the place of every place's answer, -1 where there is none."""
        return parent_BL if self.relation == "parent" else documents.last_siblings(parent_BL)

    def _is_held(self, token: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """Say of combinations of terminals, in arrays of any shape, whether they are held out."""
        pairs_N3 = np.stack([token, answer, np.full_like(token, self.grammar_seed)], -1)
        hash_N = sequence_hash(pairs_N3.reshape(-1, 3)) >> np.uint64(11)
        return (hash_N < self.held_out * 2.0**53).reshape(token.shape)

    def _keys(self, tokens_BT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the columns of the queries, and of what they repeat: -1 where it is nothing."""
        divider_B1 = (tokens_BT == DIVIDER).argmax(1)[:, None]
        column_BQ = divider_B1 + 1 + np.arange(self.queries)
        asked_BQ = np.take_along_axis(tokens_BT, column_BQ, 1)
        yield_BT = np.where(np.arange(tokens_BT.shape[1]) < divider_B1, tokens_BT, UNDEFINED)
        match_BQT = asked_BQ[:, :, None] == yield_BT[:, None, ::-1]
        last_BQ = tokens_BT.shape[1] - 1 - match_BQT.argmax(2)
        return column_BQ, np.where(match_BQT.any(2), last_BQ, UNDEFINED)

    def _labelled(self, tokens_BT: np.ndarray, depth_BT: np.ndarray) -> Batch:
        """Find answers, variables and roles from tokens and the depths that make the tree."""
        parent_BT = documents.parents(depth_BT)
        column_BQ, key_BQ = self._keys(tokens_BT)
        place_BQ = np.take_along_axis(self._targets(parent_BT), np.maximum(key_BQ, 0), 1)
        answered_BQ = (key_BQ >= 0) & (place_BQ >= 0)
        answer_BQ = np.take_along_axis(tokens_BT, np.maximum(place_BQ, 0), 1)
        targets_BT, bound_BT = np.full_like(tokens_BT, UNSCORED), np.full_like(tokens_BT, UNDEFINED)
        for values_BT, values_BQ, missing in (
            (targets_BT, answer_BQ, UNSCORED), (bound_BT, answer_BQ - FIRST, UNDEFINED)
        ):  # fmt: skip
            kept_BQ = np.where(answered_BQ, values_BQ, missing)
            np.put_along_axis(values_BT, column_BQ, kept_BQ, 1)
        head_BT = np.take_along_axis(tokens_BT, np.maximum(parent_BT, 0), 1) - FIRST
        head_BT = np.where(parent_BT >= 0, head_BT, UNDEFINED)
        query_B = column_BQ[:, 0]
        roles = {
            "key": key_BQ[:, 0], "value": place_BQ[:, 0], "next_key": key_BQ[:, 0] + 1,
            "divider": query_B - 1, "query": query_B, "readout": query_B,
        }  # fmt: skip
        variables = {"bound": bound_BT, "depth": depth_BT, "head": head_BT}
        return Batch(tokens_BT, targets_BT, variables, roles)

    def counterfactual(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Exchange the token that is the first query's answer."""
        return self.counterfactual_of("value", batch, rng)

    def counterfactual_of(self, kind: str, batch: Batch, rng: np.random.Generator) -> Batch:
        """Exchange the first query's answer or what it repeats, in the same tree.

        The new token is one that the sequence does not hold, or, where it holds them all, one that
        is not asked for. A held-out combination becomes a held-out one. Without the token that it
        repeats, the query has no answer unless there was an earlier one; the foil is then another
        token that could have been the answer. Where the earlier one has the same answer, or there
        is no other token, the example stays as it is.
        """
        tokens_BT, row_B = batch.tokens_BT.copy(), np.arange(len(batch))
        tokens_BT[row_B, batch.roles[kind]] = self._exchanged(kind, batch, rng)
        changed, foil_B = self._labelled(tokens_BT, batch.variables["depth"]), None
        if kind == "key":
            foil_B = self._foils(batch, rng)
        changed = dataclasses.replace(changed, roles=batch.roles, foil_B=foil_B)
        return where_answers_differ(batch, changed)

    def _exchanged(self, kind: str, batch: Batch, rng: np.random.Generator) -> np.ndarray:
        """Draw what to put at a role; where nothing fits, it is the token that stands there."""
        row_B, column_B = np.arange(len(batch)), batch.roles[kind]
        old_B = batch.tokens_BT[row_B, column_B]
        query_B = batch.tokens_BT[row_B, batch.roles["query"]]
        new_B = old_B.copy()
        # A rightmost sibling that is the queried token itself cannot change without the query.
        left_B = np.flatnonzero((old_B != query_B) | (kind == "key"))
        position_T, divider_B1 = np.arange(batch.n_positions), batch.roles["divider"][:, None]
        needed_BT = (position_T > divider_B1) | (position_T == column_B[:, None])
        for known_BT in (batch.tokens_BT, np.where(needed_BT, batch.tokens_BT, UNDEFINED)):
            for _ in range(_ROUNDS):
                fresh_B = FIRST + rng.integers(self.terminals, size=len(left_B))
                fits_B = (known_BT[left_B] != fresh_B[:, None]).all(1)
                if self.held_out and kind == "value":
                    held_2B = [self._is_held(query_B[left_B] - FIRST, value_B - FIRST)
                               for value_B in (fresh_B, old_B[left_B])]  # fmt: skip
                    fits_B &= held_2B[0] == held_2B[1]
                new_B[left_B[fits_B]] = fresh_B[fits_B]
                left_B = left_B[~fits_B]
        return new_B

    def _foils(self, batch: Batch, rng: np.random.Generator) -> np.ndarray:
        """Draw another token of the yield than key and answer, to the key's right if there is one.

        The answer itself where the yield has no other token.
        """
        tokens_BT, row_B = batch.tokens_BT, np.arange(len(batch))
        position_T, key_B = np.arange(batch.n_positions), batch.roles["key"]
        answer_B = batch.target_at("readout")
        score_BT = rng.random(tokens_BT.shape) + (position_T > key_B[:, None])
        possible_BT = (position_T > 0) & (position_T < batch.roles["divider"][:, None])
        for other_B in (answer_B, tokens_BT[row_B, key_B]):
            possible_BT &= tokens_BT != other_B[:, None]
        foil_B = tokens_BT[row_B, np.where(possible_BT, score_BT, -1.0).argmax(1)]
        return np.where(possible_BT.any(1), foil_B, answer_B)

    def guesses(self, batch: Batch) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Return the token to the right of the queried one, the last, and the most frequent."""
        tokens_BT = batch.tokens_BT
        column_BQ, key_BQ = self._keys(tokens_BT)
        right_BT = np.roll(tokens_BT, -1, axis=1) - FIRST
        copy_BT = np.zeros_like(tokens_BT)
        copied_BQ = np.take_along_axis(right_BT, np.maximum(key_BQ, 0), 1)
        np.put_along_axis(copy_BT, column_BQ, copied_BQ, 1)
        yield_BT = np.arange(batch.n_positions) < batch.roles["divider"][:, None]
        yield_BT[:, 0] = False
        last_B1 = np.take_along_axis(tokens_BT, batch.roles["divider"][:, None] - 1, 1)
        often_B = documents.most_frequent(np.where(yield_BT, tokens_BT, UNDEFINED))
        last_BT, often_BT = (np.broadcast_to(token_B1 - FIRST, tokens_BT.shape)
                             for token_B1 in (last_B1, often_B[:, None]))  # fmt: skip
        return {
            "copy_right": {"answer": copy_BT, "bound": copy_BT, "head": right_BT},
            "last_token": {"answer": last_BT, "bound": last_BT},
            "most_frequent": {"answer": often_BT, "bound": often_BT},
        }

    def ceiling(self, *, n: int = 200, seed: int = 0) -> Ceiling:
        """Estimate the accuracy of the best possible model, by exact inference over trees.

        Args:
            n: Number of sequences.
            seed: Decides them.

        Raises:
            UsageError: The posterior is exact only for parents asked for uniformly, without a
                held-out split; otherwise what is asked for says something of the tree.
        """
        from mecheval.tasks.treecall.ceiling import ceiling

        exact = self.relation == "parent" and self.select == "uniform" and not self.held_out
        self._check(exact, "relation=parent, select=uniform and no held_out for a ceiling")
        batch = self.sample(np.random.default_rng(seed), n, self.max_length)
        before_BT = np.arange(batch.n_positions) < batch.roles["divider"][:, None]
        token_BL = np.where(before_BT, batch.tokens_BT - FIRST, UNDEFINED)[:, 1:]
        key_BQ = self._keys(batch.tokens_BT)[1]
        return ceiling(self.grammar, token_BL, np.where(key_BQ > 0, key_BQ - 1, UNDEFINED))
