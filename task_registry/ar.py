"""Associative recall: pairs of a key and a value, then queries that ask for the other half.

Shape suffixes: ``B`` examples, ``T`` positions (BOS included), ``P`` pairs of a sequence, ``Q``
its queries.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mecheval.errors import UsageError
from mecheval.tasks import BOS, UNDEFINED, UNSCORED, Batch, Task, task
from mecheval.tasks.distinct import all_different
from mecheval.tasks.symbols import CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.tasks.splits import Split

DIVIDER = 1  # index of the symbol between pairs and queries; keys follow it, then values
SIDES = ("key", "value")
_ROUNDS = 64  # of drawing again what does not fit


@task(
    name="ar",
    version=1,
    reference="Arora et al. 2025, arXiv:2505.15105; Arora et al. 2023, arXiv:2312.04927",
    mechanisms=(
        "recovery",
        "interchange",
        "mechanism",
        "convolution",
        "induction_circuit",
        "readability",
    ),
)
@dataclass(frozen=True, kw_only=True)
class AssociativeRecall(Task):
    """Which value a key came with, among pairs that are all different; a memory of pairs.

    A sequence is ``BOS k v k v ... divider q q ...``; the answer is asked for at the queries. No
    key and no value is in two pairs of a sequence. Counterfactuals exchange one token of the pair
    that the first query asks for: its value, or its key.

    Attributes:
        min_length: Fewest symbols of a training sequence; as ``max_length`` where 0.
        max_length: Follows from ``pairs`` and ``queries``.
        longer: Factors of ``pairs`` at which longer tests are made.
        keys: Number of different keys.
        values: Number of different values.
        pairs: Number of pairs at the in-distribution length.
        query: What a query gives: ``key`` or ``value``. The other half is the answer.
        queries: ``all`` asks for every pair once, in random order; ``one`` for one pair.
        held_out: Share of the combinations of a key and a value that no training sequence holds,
            and that the tests ask for; 0 for no such split.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"keys": 32, "values": 32, "pairs": 8, "queries": "all"},
        "paper": {"keys": 4096, "values": 4096, "pairs": 16, "queries": "one"},
    }

    min_length: int = 0
    max_length: int = 0
    longer: tuple[int, ...] = (2,)
    keys: int = 32
    values: int = 32
    pairs: int = 8
    query: str = "key"
    queries: str = "all"
    held_out: float = 0.0

    def __post_init__(self) -> None:
        """Work out the length, and check that there are such sequences."""
        self._check(self.query in SIDES, "query=key or query=value")
        self._check(self.queries in ("all", "one"), "queries=all or queries=one")
        self._check(self.pairs >= 2, "at least 2 pairs")
        least = max([self.pairs + 1, *(self.pairs * factor for factor in self.longer)])
        enough = min(self.keys, self.values) >= least
        self._check(enough, f"at least {least} keys and {least} values for its longest test")
        if self.held_out:
            some = 1 <= self.n_held < self.values
            self._check(some, "a held_out that leaves values on each side")
            self._check(self.keys <= self.values, "as many values as keys for held_out")
        length = self.length_of(self.pairs)
        follows = f"max_length={length} and min_length from {self.shortest} on, or neither"
        self._check(self.max_length in (0, length), follows)
        self._check(self.min_length in (0, *range(self.shortest, length + 1)), follows)
        object.__setattr__(self, "max_length", length)
        object.__setattr__(self, "min_length", self.min_length or length)
        super().__post_init__()

    def _check(self, holds: bool, needs: str) -> None:
        if not holds:
            given = ", ".join(f"{name}={value}" for name, value in self.params.items())
            raise UsageError(f"Task 'ar' needs {needs}; it was given {given}.")

    def length_of(self, pairs: int) -> int:
        """Return the number of symbols of a sequence with so many pairs."""
        return 2 * pairs + 1 + (pairs if self.queries == "all" else 1)

    def pairs_in(self, length: int) -> int:
        """Return the number of pairs of a sequence; the rest of its symbols are queries."""
        return (length - 1) // 3 if self.queries == "all" else (length - 2) // 2

    def side(self, side: str) -> tuple[int, int]:
        """Return the first symbol of the keys or of the values, and how many there are."""
        start = DIVIDER + 1
        return (start, self.keys) if side == "key" else (start + self.keys, self.values)

    @property
    def shortest(self) -> int:
        """Return the number of symbols of sequences with two pairs."""
        return self.length_of(2)

    @property
    def n_held(self) -> int:
        """Return the number of values per key that training does not show with it."""
        return round(self.held_out * self.values)

    @property
    def test_lengths(self) -> dict[str, int]:
        """Return the number of symbols of sequences with ``factor`` times as many pairs."""
        return {f"{factor}x": self.length_of(factor * self.pairs) for factor in (1, *self.longer)}

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return BOS, the divider, the keys, the values."""
        keys, values = (f"k{i}" for i in range(self.keys)), (f"v{i}" for i in range(self.values))
        return (BOS, "|", *keys, *values)

    @property
    def strings(self) -> tuple[str, ...]:
        """Return one character per symbol while there are enough, nothing in particular beyond."""
        n_symbols = 2 + self.keys + self.values
        return (BOS, *CHARACTERS[: n_symbols - 1]) if n_symbols <= len(CHARACTERS) else ()

    @property
    def answers(self) -> tuple[int, ...]:
        """Return the values; the keys where values are asked for."""
        first, n_answers = self.side(SIDES[self.query == "key"])
        return tuple(range(first, first + n_answers))

    @property
    def variables(self) -> Mapping[str, int]:
        """Return what is bound to a query, at the query; and the key of a pair, at its value."""
        return {"bound": len(self.answers), "key": self.keys}

    @property
    def counterfactuals(self) -> tuple[str, ...]:
        """Return the halves of a pair, the one that is the answer first."""
        return SIDES[::-1] if self.query == "key" else SIDES

    def sample(self, rng: np.random.Generator, n: int, length: int) -> Batch:
        """Draw ``n`` sequences with any combinations of keys and values."""
        return self.sample_split(rng, n, length, None)

    def sample_split(
        self, rng: np.random.Generator, n: int, length: int, split: Split | None
    ) -> Batch:
        """Draw ``n`` sequences of a split, which decides where held-out combinations may be.

        Training and validation sequences hold none of them; those of the test ask for nothing else.
        """
        n_pairs, row_B1 = self.pairs_in(length), np.arange(n)[:, None]
        n_queries = length - 1 - 2 * n_pairs
        order_BP = rng.random((n, n_pairs)).argsort(1)
        more_BQ = rng.integers(n_pairs, size=(n, max(n_queries - n_pairs, 0)))
        asked_BQ = np.concatenate([order_BP, more_BQ], 1)[:, :n_queries]
        low_BP, high_BP = np.zeros((n, n_pairs)), np.full((n, n_pairs), float(self.values))
        if self.held_out and split == "test":
            high_BP[row_B1, asked_BQ] = self.n_held
        elif self.held_out and split is not None:
            low_BP[:] = self.n_held

        def draw_keys(row_N: np.ndarray) -> np.ndarray:
            return rng.integers(self.keys, size=(len(row_N), n_pairs))

        def draw_values(row_N: np.ndarray) -> np.ndarray:
            low_NP, high_NP = low_BP[row_N], high_BP[row_N]
            lag_NP = low_NP + np.floor(rng.random(low_NP.shape) * (high_NP - low_NP))
            return (key_BP[row_N] + lag_NP.astype(np.int64)) % self.values

        key_BP = all_different(draw_keys, n)
        value_BP = all_different(draw_values, n)
        tokens_BT = np.zeros((n, length + 1), np.int64)
        tokens_BT[:, 1 : 2 * n_pairs : 2] = self.side("key")[0] + key_BP
        tokens_BT[:, 2 : 2 * n_pairs + 1 : 2] = self.side("value")[0] + value_BP
        tokens_BT[:, 2 * n_pairs + 1] = DIVIDER
        given_BP, _ = self._halves(tokens_BT)
        tokens_BT[:, 2 * n_pairs + 2 :] = given_BP[row_B1, asked_BQ]
        return self._labelled(tokens_BT)

    def counterfactual(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Exchange the half of the first query's pair that is its answer."""
        return self.counterfactual_of(self.counterfactuals[0], batch, rng)

    def counterfactual_of(self, kind: str, batch: Batch, rng: np.random.Generator) -> Batch:
        """Exchange one half of the first query's pair for one that the sequence does not hold.

        A held-out combination becomes a held-out one. Without the half that the query gives there
        is no answer; the foil is then another pair's, which a model that guesses could say.
        """
        tokens_BT, row_B = batch.tokens_BT.copy(), np.arange(len(batch))
        (first, size), column_B = self.side(kind), batch.roles[kind]
        held_B = self._is_held(tokens_BT, batch.roles)
        left_B = row_B
        for _ in range(_ROUNDS):
            fresh_B = first + rng.integers(size, size=len(left_B))
            known_B = (batch.tokens_BT[left_B] == fresh_B[:, None]).any(1)
            tokens_BT[left_B, column_B[left_B]] = fresh_B
            wrong_B = self._is_held(tokens_BT, batch.roles)[left_B] != held_B[left_B]
            left_B = left_B[known_B | wrong_B]
            if not len(left_B):
                break
        tokens_BT[left_B] = batch.tokens_BT[left_B]
        changed, foil_B = self._labelled(tokens_BT), None
        if kind == self.query:
            _, answer_BP = self._halves(tokens_BT)
            n_pairs = answer_BP.shape[1]
            other_B = (column_B - 1) // 2 + rng.integers(1, n_pairs, size=len(batch))
            foil_B = answer_BP[row_B, other_B % n_pairs]
        return dataclasses.replace(changed, roles=batch.roles, foil_B=foil_B)

    def guesses(self, batch: Batch) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Return the answer of the last pair: right as often as any of the sequence's answers."""
        _, answer_BP = self._halves(batch.tokens_BT)
        guess_BT = np.broadcast_to(answer_BP[:, -1:] - self.answers[0], batch.tokens_BT.shape)
        return {"context": {"answer": guess_BT, "bound": guess_BT}}

    def _halves(self, tokens_BT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the half of every pair that a query gives, and the one that it asks for."""
        end = 2 * self.pairs_in(tokens_BT.shape[1] - 1) + 1
        key_BP, value_BP = tokens_BT[:, 1:end:2], tokens_BT[:, 2:end:2]
        return (key_BP, value_BP) if self.query == "key" else (value_BP, key_BP)

    def _is_held(self, tokens_BT: np.ndarray, roles: Mapping[str, np.ndarray]) -> np.ndarray:
        """Say whether the pair at the roles is a held-out combination, ``(B,)``."""
        row_B = np.arange(len(tokens_BT))
        key_B, value_B = (tokens_BT[row_B, roles[side]] - self.side(side)[0] for side in SIDES)
        return (value_B - key_B) % self.values < self.n_held

    def _labelled(self, tokens_BT: np.ndarray) -> Batch:
        """Find answers, variables and roles by looking every query up among the pairs."""
        given_BP, answer_BP = self._halves(tokens_BT)
        end, row_B1 = 2 * given_BP.shape[1] + 1, np.arange(len(tokens_BT))[:, None]
        match_BQP = tokens_BT[:, end + 1 :, None] == given_BP[:, None]
        pair_BQ, found_BQ = match_BQP.argmax(2), match_BQP.any(2)
        answer_BQ = answer_BP[row_B1, pair_BQ]
        targets_BT = np.full_like(tokens_BT, UNSCORED)
        bound_BT, key_BT = np.full_like(tokens_BT, UNDEFINED), np.full_like(tokens_BT, UNDEFINED)
        targets_BT[:, end + 1 :] = np.where(found_BQ, answer_BQ, UNSCORED)
        bound_BT[:, end + 1 :] = np.where(found_BQ, answer_BQ - self.answers[0], UNDEFINED)
        key_BT[:, 2:end:2] = tokens_BT[:, 1:end:2] - self.side("key")[0]
        asked_B, all_B = 2 * pair_BQ[:, 0], np.ones(len(tokens_BT), np.int64)
        roles = {
            "key": asked_B + 1, "value": asked_B + 2, "next_key": asked_B + 3,
            "divider": end * all_B, "query": (end + 1) * all_B, "readout": (end + 1) * all_B,
        }  # fmt: skip
        return Batch(tokens_BT, targets_BT, {"bound": bound_BT, "key": key_BT}, roles)
