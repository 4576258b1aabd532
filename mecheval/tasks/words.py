"""Words that an automaton reads letter by letter: the answer is its state after every one.

The letters of a group are its elements and the state is their product so far; a memory's letters
overwrite it. Shape suffixes: ``B`` examples, ``T`` positions (BOS included), ``S`` symbols of a
sequence, ``A`` letters that are drawn, ``Q`` states.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mecheval.errors import UsageError
from mecheval.tasks import order_free
from mecheval.tasks.batch import UNDEFINED, UNSCORED, Batch
from mecheval.tasks.contract import BOS, RANGE, Task
from mecheval.tasks.symbols import characters

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Words(Task):
    """Words of a finite automaton; letter 0 is the no-op, state 0 the one it starts in.

    With ``reveal_rate`` the state itself is a symbol of the input behind some of the letters, as in
    the printed traces of a program (Siems et al. 2026, arXiv:2602.14814). Its position asks for
    nothing and has no variables, because the token there is the answer. Behind it a short window
    knows the answer too: this leak is what the task is about, and its size is in the floors, those
    of windows and the rule ``shown``, the state that was shown last. Pairs differ only behind the
    last state shown, so that no token gives away what differs.

    Attributes:
        reveal_rate: Probability that the state is shown behind a letter; 0 for none.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"range": RANGE})
    later: ClassVar[tuple[str, ...]] = ("reveal_rate",)
    gate_on = "last"

    reveal_rate: float = 0.0

    def __post_init__(self) -> None:
        """Check the rate of states that are shown."""
        super().__post_init__()
        self._check_rate("reveal_rate", self.reveal_rate)

    def _check_rate(self, name: str, rate: float) -> None:
        if not 0.0 <= rate < 1.0:
            raise UsageError(
                f"Task '{self.card.name}' got {name}={rate}; give 0 <= {name} < 1. "
                f"See `mecheval show task {self.card.name}`."
            )

    @property
    @abstractmethod
    def letters(self) -> tuple[str, ...]:
        """Return the letters, the no-op first."""

    @property
    @abstractmethod
    def step(self) -> np.ndarray:
        """Return the table ``(Q, letters)`` of the state after a state and a letter."""

    @abstractmethod
    def read(self, state_BT: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the value of every variable for given states."""

    @property
    @abstractmethod
    def answers(self) -> tuple[int, ...]:
        """Return the letters that stand for the states, as indices of symbols."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return BOS and the letters; then the states as they are shown, if any are."""
        letters = (BOS, *self.letters)
        if not self.reveal_rate:
            return letters
        return (*letters, *(f"={letters[answer]}" for answer in self.answers))

    @property
    def strings(self) -> tuple[str, ...]:
        """Return one character per symbol, because tokenizers split what is longer."""
        single = all(len(symbol) == 1 for symbol in self.symbols[1:])
        return self.symbols if single else characters(len(self.symbols) - 1)

    def guesses(self, batch: Batch) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Return the state that was shown last, where any are shown."""
        if not self.reveal_rate:
            return {}
        shown_BT = self._shown(batch)
        place_BT = np.where(shown_BT, np.arange(batch.n_positions), 0)
        last_BT = np.take_along_axis(
            batch.tokens_BT, np.maximum.accumulate(place_BT, axis=1), axis=1
        )
        return {"shown": self._says(np.maximum(last_BT - 1 - len(self.letters), 0))}

    def _says(self, state_BT: np.ndarray) -> dict[str, np.ndarray]:
        return {"answer": state_BT, **self.read(state_BT)}

    def _shown(self, batch: Batch) -> np.ndarray:
        """Say at which positions the state is shown, ``(B, T)``."""
        return batch.tokens_BT > len(self.letters)

    def _draw_shown(self, rng: np.random.Generator, n: int, length: int) -> np.ndarray | None:
        """Draw behind which letters the state is shown, ``(B, S)``; the last symbol is a letter."""
        if not self.reveal_rate:
            return None
        shown_BS = rng.random((n, length)) < self.reveal_rate
        shown_BS[:, [0, -1]] = False
        for position in range(1, length):
            shown_BS[:, position] &= ~shown_BS[:, position - 1]
        return shown_BS

    def _letters_of(self, batch: Batch) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the letters of a batch, no-ops where states are shown, and where they are."""
        if not self.reveal_rate:
            return batch.tokens_BT[:, 1:] - 1, None
        shown_BS = self._shown(batch)[:, 1:]
        return np.where(shown_BS, 0, batch.tokens_BT[:, 1:] - 1), shown_BS

    def _batch(self, letters_BS: np.ndarray, shown_BS: np.ndarray | None = None) -> Batch:
        """Label words; what is shown takes the place of a no-op."""
        n, length = letters_BS.shape
        step, state_BT = self.step, np.zeros((n, length + 1), np.int64)
        for position in range(length):
            state_BT[:, position + 1] = step[state_BT[:, position], letters_BS[:, position]]
        tokens_BT = np.concatenate([np.zeros((n, 1), np.int64), letters_BS + 1], 1)
        targets_BT = np.array(self.answers)[state_BT]
        silent_BT = np.zeros((n, length + 1), bool)
        silent_BT[:, 0] = True
        if shown_BS is not None:
            silent_BT[:, 1:] = shown_BS
            tokens_BT[:, 1:][shown_BS] = (1 + len(self.letters) + state_BT[:, 1:])[shown_BS]
        targets_BT[silent_BT] = UNSCORED
        variables = {
            name: np.where(silent_BT, UNDEFINED, values)
            for name, values in self.read(state_BT).items()
        }
        return Batch(tokens_BT, targets_BT, variables, {"readout": np.full(n, length)})


@dataclass(frozen=True, kw_only=True)
class GroupWords(Words):
    """Products of group elements; element 0 is the identity, which is the no-op symbol.

    Attributes:
        noop_rate: Probability of the identity; the other elements share the rest equally.
    """

    noop_rate: float = 0.5

    def __post_init__(self) -> None:
        """Check the no-op rate."""
        super().__post_init__()
        self._check_rate("noop_rate", self.noop_rate)

    @property
    @abstractmethod
    def elements(self) -> tuple[str, ...]:
        """Return the symbol of every group element, the identity first."""

    @property
    @abstractmethod
    def product(self) -> np.ndarray:
        """Return the table with ``product[a, b]`` = the state a followed by the element b."""

    @property
    def drawn_A(self) -> np.ndarray:
        """Return the elements that words are made of, the identity first: all of them."""
        return np.arange(len(self.elements))

    @property
    def letters(self) -> tuple[str, ...]:
        """Return the elements."""
        return self.elements

    @property
    def step(self) -> np.ndarray:
        """Return the group's table: the states are the elements too."""
        return self.product

    @property
    def answers(self) -> tuple[int, ...]:
        """Return the symbols of the elements: the answer is the state itself."""
        return tuple(range(1, 1 + len(self.elements)))

    def sample(self, rng: np.random.Generator, n: int, length: int) -> Batch:
        """Draw ``n`` words of ``length`` independent elements."""
        drawn_A = self.drawn_A
        rates = np.full(len(drawn_A), (1.0 - self.noop_rate) / (len(drawn_A) - 1))
        rates[0] = self.noop_rate
        elements_BS = drawn_A[rng.choice(len(drawn_A), size=(n, length), p=rates)]
        shown_BS = self._draw_shown(rng, n, length)
        if shown_BS is not None:
            elements_BS[shown_BS] = 0
        return self._batch(elements_BS, shown_BS)

    def counterfactual(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Replace one element of the first half by another one, so every later state differs.

        Where states are shown, it is the first half of what is behind the last of them.
        """
        elements_BS, shown_BS = self._letters_of(batch)
        (n, length), drawn_A = elements_BS.shape, self.drawn_A
        place_G = np.zeros(len(self.elements), np.int64)
        place_G[drawn_A] = np.arange(len(drawn_A))
        first_B = behind_last(shown_BS) if shown_BS is not None else np.zeros(n, np.int64)
        changed_B = first_B + rng.integers(np.maximum(1, (length - first_B) // 2))
        other_B = rng.integers(1, len(drawn_A), size=n)
        place_B = place_G[elements_BS[np.arange(n), changed_B]] + other_B
        return self.replaced(batch, changed_B, drawn_A[place_B % len(drawn_A)])

    def replaced(self, batch: Batch, place_B: np.ndarray, element_B: np.ndarray) -> Batch:
        """Put another element in the place of one, in every word; states that are shown follow.

        Args:
            batch: Words, in the task's own symbols.
            place_B: Which of its elements, from 0.
            element_B: What comes there.
        """
        elements_BS, shown_BS = self._letters_of(batch)
        elements_BS = elements_BS.copy()
        elements_BS[np.arange(len(batch)), place_B] = element_B
        return self._batch(elements_BS, shown_BS)

    def guesses(self, batch: Batch) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Return the best guess without the order of elements, where not all of them commute."""
        if self.reveal_rate:
            return super().guesses(batch)
        values = self._says(np.arange(len(self.elements)))
        found = order_free.best_guesses(self.product, batch.tokens_BT[:, 1:] - 1, values)
        return {order_free.ORDER_FREE: found} if found else {}


def behind_last(mark_BS: np.ndarray) -> np.ndarray:
    """Return the place behind the last mark, 0 where there is none, ``(B,)``."""
    return np.where(mark_BS.any(1), mark_BS.shape[1] - mark_BS[:, ::-1].argmax(1), 0)
