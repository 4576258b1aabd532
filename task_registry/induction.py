"""Induction: a token that has been there before is followed by what followed it then.

Shape suffixes: ``B`` examples, ``T`` positions (BOS included), ``M`` tokens that match, ``N`` those
that are not to be drawn, ``W`` those that are.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mecheval.errors import UsageError, unknown
from mecheval.tasks import BOS, UNDEFINED, UNSCORED, Batch, Task, task
from mecheval.tasks.batch import first_of, where_answers_differ
from mecheval.tasks.distinct import all_different
from mecheval.tasks.symbols import characters

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST = 1  # index of the first token; BOS is 0
SPELLINGS = ("characters", "words")


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

    One token is little for a model that was trained on text, where what was said of a word once
    seldom comes again; a run of them tells it that a passage repeats. With ``matched`` the last
    tokens, all different, have been there once before in the same order, and none of them is
    anywhere else. The key is then all of that run: an exchange of one of its tokens would leave
    others that still match. The preset ``pretrained`` has eight, in words.

    Attributes:
        min_length: Fewest symbols of a training sequence; as ``max_length`` where 0.
        max_length: Symbols of the in-distribution test, the query included.
        tokens: Number of different tokens.
        matched: How many of the last tokens have been there before.
        spelling: What tokens are to a model with a tokenizer: ``characters``, while there are
            enough, or ``words``, drawn at random from its commonest ones.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {"pretrained": {"matched": 8, "spelling": "words", "max_length": 32}}
    )
    later: ClassVar[tuple[str, ...]] = ("matched", "spelling")

    longer: tuple[int, ...] = (2,)
    min_length: int = 0
    max_length: int = 64
    tokens: int = 64
    matched: int = 1
    spelling: str = SPELLINGS[0]

    def __post_init__(self) -> None:
        """Check that a key, its value and a query fit, with tokens to exchange them for."""
        object.__setattr__(self, "min_length", self.min_length or self.max_length)
        for name, least in (
            ("matched", 1), ("min_length", self.shortest), ("tokens", self.matched + 2)
        ):  # fmt: skip
            given = getattr(self, name)
            if given < least:
                of = f" with matched={self.matched}" if self.matched > 1 else ""
                raise UsageError(
                    f"Task 'induction' got {name}={given}; it must be at least {least}{of}. "
                    "See `mecheval show task induction`."
                )
        if self.spelling not in SPELLINGS:
            raise unknown(
                "spelling of induction", self.spelling, SPELLINGS,
                see="`mecheval show task induction`",
            )  # fmt: skip
        super().__post_init__()

    @property
    def shortest(self) -> int:
        """Return the number of symbols of a key, its value, one between, and the query."""
        return 2 * self.matched + 2

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return BOS and the tokens."""
        return (BOS, *(f"t{i}" for i in range(self.tokens)))

    @property
    def strings(self) -> tuple[str, ...]:
        """Return one character per token while there are enough, nothing in particular beyond."""
        return () if self.in_words else characters(self.tokens)

    @property
    def in_words(self) -> bool:
        """Say whether tokens are words of a tokenizer."""
        return self.spelling == "words"

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
        """Draw ``n`` sequences; the tokens of the query are nowhere else but at its key."""
        m, tokens_BT = self.matched, np.zeros((n, length + 1), np.int64)

        def drawn(row_B: np.ndarray) -> np.ndarray:
            return FIRST + rng.integers(self.tokens, size=(len(row_B), m))

        query_BM = all_different(drawn, n)
        tokens_BT[:, 1:] = self._others(rng, query_BM, length)
        first_B = rng.integers(1, self._n_places(length) + 1, size=n)
        tokens_BT[np.arange(n)[:, None], first_B[:, None] + np.arange(m)] = query_BM
        tokens_BT[:, -m:] = query_BM
        return self._labelled(tokens_BT)

    def _n_places(self, length: int) -> int:
        """Return at how many places a key may begin: in the first half, clear of the query."""
        return min(length // 2, length - 2 * self.matched)

    def _others(self, rng: np.random.Generator, not_BN: np.ndarray, width: int) -> np.ndarray:
        """Draw ``(B, W)`` tokens uniformly from all but some different ones per row."""
        step_BN = np.sort((not_BN - not_BN[:, :1]) % self.tokens, axis=1)
        step_BW = rng.integers(self.tokens - not_BN.shape[1], size=(len(not_BN), width))
        for step_B1 in np.split(step_BN, step_BN.shape[1], axis=1):
            step_BW += step_BW >= step_B1
        return FIRST + (not_BN[:, :1] - FIRST + step_BW) % self.tokens

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
        tokens_BT, row_B1 = batch.tokens_BT.copy(), np.arange(len(batch))[:, None]
        m, query_BM = self.matched, tokens_BT[:, -self.matched :]
        value_B1 = batch.roles["value"][:, None]
        if kind == "fresh":
            tokens_BT[:, 1:-m] = self._others(rng, query_BM, tokens_BT.shape[1] - 1 - m)
        if kind in ("key", "pair"):
            tokens_BT[row_B1, value_B1 - m + np.arange(m)] = self._others(rng, query_BM, m)
        if kind in ("value", "pair"):
            answer_B1 = batch.target_at("readout")[:, None]
            tokens_BT[row_B1, value_B1] = self._none_of(
                rng, np.concatenate([query_BM, answer_B1], 1)
            )
        changed, foil_B = self._labelled(tokens_BT), None
        if kind != "value":
            is_key = kind == "key"
            foil_B = self._elsewhere(batch, rng) if is_key else tokens_BT[row_B1, value_B1][:, 0]
        changed = dataclasses.replace(changed, roles=batch.roles, foil_B=foil_B)
        return where_answers_differ(batch, changed)

    def _none_of(self, rng: np.random.Generator, not_BN: np.ndarray) -> np.ndarray:
        """Draw a token uniformly from all but some different ones per row, ``(B, 1)``."""
        token_B1 = FIRST + rng.integers(self.tokens - not_BN.shape[1], size=(len(not_BN), 1))
        for lower_B1 in np.split(np.sort(not_BN, axis=1), not_BN.shape[1], axis=1):
            token_B1 += token_B1 >= lower_B1
        return token_B1

    def _elsewhere(self, batch: Batch, rng: np.random.Generator) -> np.ndarray:
        """Draw a place whose token is neither query nor answer; the answer if there is none."""
        tokens_BT, answer_B = batch.tokens_BT, batch.target_at("readout")
        possible_BT = tokens_BT != answer_B[:, None]
        for place in range(1, self.matched + 1):
            possible_BT &= tokens_BT != tokens_BT[:, [-place]]
        possible_BT[:, 0] = False
        place_B = np.where(possible_BT, rng.random(tokens_BT.shape), -1.0).argmax(1)
        return np.where(possible_BT.any(1), tokens_BT[np.arange(len(batch)), place_B], answer_B)

    def guesses(self, batch: Batch) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Return the token in the middle of where answers stand, each of them as often."""
        n_places = self._n_places(batch.n_positions - 1)
        middle = min(batch.n_positions // 2, n_places + 1) + self.matched - 1
        middle_B1 = batch.tokens_BT[:, middle][:, None] - FIRST
        guess_BT = np.broadcast_to(middle_B1, batch.tokens_BT.shape)
        return {"context": {"answer": guess_BT, "bound": guess_BT}}

    def _labelled(self, tokens_BT: np.ndarray) -> Batch:
        """Look the last tokens up among those before them."""
        m, (n, n_positions) = self.matched, tokens_BT.shape
        row_B, n_places = np.arange(n), n_positions - 2 * m
        match_BT = np.ones((n, n_places), bool)
        for place in range(m):
            here = slice(1 + place, 1 + place + n_places)
            match_BT &= tokens_BT[:, here] == tokens_BT[:, [place - m]]
        key_B, found_B = m + match_BT.argmax(1), match_BT.any(1)
        answer_B = tokens_BT[row_B, key_B + 1]
        targets_BT = np.full_like(tokens_BT, UNSCORED)
        bound_BT, previous_BT = (np.full_like(tokens_BT, UNDEFINED) for _ in range(2))
        targets_BT[:, -1] = np.where(found_B, answer_B, UNSCORED)
        bound_BT[:, -1] = np.where(found_B, answer_B - FIRST, UNDEFINED)
        previous_BT[:, 2:] = tokens_BT[:, 1:-1] - FIRST
        last_B = np.full(n, n_positions - 1)
        roles = {
            "key": key_B, "value": key_B + 1, "next_key": key_B + 2,
            "query": last_B, "readout": last_B,
        }  # fmt: skip
        if m > 1:
            roles[first_of("key")] = key_B - m + 1
        return Batch(tokens_BT, targets_BT, {"bound": bound_BT, "previous": previous_BT}, roles)
