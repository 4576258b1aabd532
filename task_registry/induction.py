"""Induction: a token that has been there before is followed by what followed it then.

Shape suffixes: ``B`` examples, ``T`` positions (BOS included).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.errors import UsageError
from mecheval.tasks import BOS, UNDEFINED, UNSCORED, Batch, Task, task
from mecheval.tasks.batch import where_answers_differ
from mecheval.tasks.symbols import characters

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST = 1  # index of the first token; BOS is 0
SHORTEST = 4  # symbols: the pair, one between, the query


@task(
    name="induction",
    version=1,
    reference="Olsson et al. 2022, arXiv:2209.11895; Elhage et al. 2021, A Mathematical Framework "
    "for Transformer Circuits",
    mechanisms=(
        "recovery",
        "interchange[n_pairs=64]",
        "mechanism[n_pairs=64]",
        "convolution[n_pairs=32]",
        "induction_circuit[n_pairs=32]",
        "readability",
    ),
)
@dataclass(frozen=True, kw_only=True)
class Induction(Task):
    """What followed a token when it was there before: A B ... A asks for B, among random tokens.

    Tokens are uniform and independent, so that nothing but the sequence itself says what follows:
    a pretrained model can be asked as it is. The last token has been there once before, at a
    place uniform over the first half. Counterfactuals exchange what stands there: ``value`` what
    followed, ``key`` the token itself, ``pair`` both, ``fresh`` all that is before the query.

    Attributes:
        min_length: Fewest symbols of a training sequence; as ``max_length`` where 0.
        max_length: Symbols of the in-distribution test, the query included.
        tokens: Number of different tokens.
    """

    longer: tuple[int, ...] = (2,)
    min_length: int = 0
    max_length: int = 64
    tokens: int = 64

    def __post_init__(self) -> None:
        """Check that a pair and a query fit, and that there are tokens to exchange them for."""
        object.__setattr__(self, "min_length", self.min_length or self.max_length)
        for name, least in (("min_length", SHORTEST), ("tokens", 3)):
            given = getattr(self, name)
            if given < least:
                raise UsageError(
                    f"Task 'induction' got {name}={given}; it must be at least {least}. "
                    "See `mecheval show task induction`."
                )
        super().__post_init__()

    @property
    def shortest(self) -> int:
        """Return the number of symbols of a pair and its query."""
        return SHORTEST

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return BOS and the tokens."""
        return (BOS, *(f"t{i}" for i in range(self.tokens)))

    @property
    def strings(self) -> tuple[str, ...]:
        """Return one character per token while there are enough, nothing in particular beyond."""
        return characters(self.tokens)

    @property
    def answers(self) -> tuple[int, ...]:
        """Return the tokens."""
        return tuple(range(FIRST, FIRST + self.tokens))

    @property
    def variables(self) -> Mapping[str, int]:
        """Return what is bound to the query, at the query; and at every token the one before it."""
        return {"bound": self.tokens, "previous": self.tokens}

    @property
    def counterfactuals(self) -> tuple[str, ...]:
        """Return what can be exchanged; only ``value`` leaves a right answer."""
        return ("value", "key", "pair", "fresh")

    def sample(self, rng: np.random.Generator, n: int, length: int) -> Batch:
        """Draw ``n`` sequences; the token of the query is nowhere else but at its key."""
        row_B, tokens_BT = np.arange(n), np.zeros((n, length + 1), np.int64)
        query_B = FIRST + rng.integers(self.tokens, size=n)
        tokens_BT[:, 1:] = self._others(rng, query_B, length)
        key_B = rng.integers(1, length // 2 + 1, size=n)
        tokens_BT[row_B, key_B] = tokens_BT[:, -1] = query_B
        return self._labelled(tokens_BT)

    def _others(self, rng: np.random.Generator, token_B: np.ndarray, width: int) -> np.ndarray:
        """Draw ``(B, width)`` tokens uniformly from all but one token per row."""
        step_BW = rng.integers(1, self.tokens, size=(len(token_B), width))
        return FIRST + (token_B[:, None] - FIRST + step_BW) % self.tokens

    def counterfactual(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Exchange what followed the query's token when it was there before."""
        return self.counterfactual_of("value", batch, rng)

    def counterfactual_of(self, kind: str, batch: Batch, rng: np.random.Generator) -> Batch:
        """Exchange what stands before the query, which stays.

        Without the query's token before it there is no right answer. The foil is then what stands
        in the answer's place; where the answer itself still stands there (``key``), another token
        of the sequence. Where all else is new (``fresh``) and the answer is there again, the
        example stays as it is.
        """
        tokens_BT, row_B = batch.tokens_BT.copy(), np.arange(len(batch))
        key_B, value_B, query_B = batch.roles["key"], batch.roles["value"], tokens_BT[:, -1]
        if kind == "fresh":
            tokens_BT[:, 1:-1] = self._others(rng, query_B, tokens_BT.shape[1] - 2)
        if kind in ("key", "pair"):
            tokens_BT[row_B, key_B] = self._others(rng, query_B, 1)[:, 0]
        if kind in ("value", "pair"):
            tokens_BT[row_B, value_B] = self._neither(rng, query_B, batch.target_at("readout"))
        changed, foil_B = self._labelled(tokens_BT), None
        if kind != "value":
            is_key = kind == "key"
            foil_B = self._elsewhere(batch, rng) if is_key else tokens_BT[row_B, value_B]
        changed = dataclasses.replace(changed, roles=batch.roles, foil_B=foil_B)
        return where_answers_differ(batch, changed)

    def _neither(
        self, rng: np.random.Generator, one_B: np.ndarray, other_B: np.ndarray
    ) -> np.ndarray:
        """Draw a token uniformly from all but two different ones per row."""
        low_B, high_B = np.minimum(one_B, other_B), np.maximum(one_B, other_B)
        token_B = FIRST + rng.integers(self.tokens - 2, size=len(one_B))
        token_B += token_B >= low_B
        return token_B + (token_B >= high_B)

    def _elsewhere(self, batch: Batch, rng: np.random.Generator) -> np.ndarray:
        """Draw a place whose token is neither query nor answer; the answer if there is none."""
        tokens_BT, answer_B = batch.tokens_BT, batch.target_at("readout")
        possible_BT = (tokens_BT != answer_B[:, None]) & (tokens_BT != tokens_BT[:, -1:])
        possible_BT[:, 0] = False
        place_B = np.where(possible_BT, rng.random(tokens_BT.shape), -1.0).argmax(1)
        return np.where(possible_BT.any(1), tokens_BT[np.arange(len(batch)), place_B], answer_B)

    def guesses(self, batch: Batch) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Return the token in the middle: as often what followed as any other of the first half."""
        middle_B1 = batch.tokens_BT[:, batch.n_positions // 2][:, None] - FIRST
        guess_BT = np.broadcast_to(middle_B1, batch.tokens_BT.shape)
        return {"context": {"answer": guess_BT, "bound": guess_BT}}

    def _labelled(self, tokens_BT: np.ndarray) -> Batch:
        """Look the last token up among those before it."""
        row_B = np.arange(len(tokens_BT))
        match_BT = tokens_BT[:, 1:-1] == tokens_BT[:, -1:]
        key_B, found_B = 1 + match_BT.argmax(1), match_BT.any(1)
        answer_B = tokens_BT[row_B, key_B + 1]
        targets_BT = np.full_like(tokens_BT, UNSCORED)
        bound_BT, previous_BT = (np.full_like(tokens_BT, UNDEFINED) for _ in range(2))
        targets_BT[:, -1] = np.where(found_B, answer_B, UNSCORED)
        bound_BT[:, -1] = np.where(found_B, answer_B - FIRST, UNDEFINED)
        previous_BT[:, 2:] = tokens_BT[:, 1:-1] - FIRST
        last_B = np.full(len(tokens_BT), tokens_BT.shape[1] - 1)
        roles = {
            "key": key_B, "value": key_B + 1, "next_key": key_B + 2,
            "query": last_B, "readout": last_B,
        }  # fmt: skip
        return Batch(tokens_BT, targets_BT, {"bound": bound_BT, "previous": previous_BT}, roles)
