"""Word problems of a finite group: the state after each symbol is the product so far.

Shape suffixes: ``B`` examples, ``T`` positions (BOS included), ``S`` symbols of a sequence.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.errors import UsageError
from mecheval.tasks.batch import UNDEFINED, UNSCORED, Batch
from mecheval.tasks.contract import BOS, Task

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class GroupWords(Task):
    """Products of group elements; element 0 is the identity, which is the no-op symbol.

    Attributes:
        noop_rate: Probability of the identity; the other elements share the rest equally.
    """

    gate_on = "last"

    noop_rate: float = 0.5

    def __post_init__(self) -> None:
        """Check the no-op rate."""
        super().__post_init__()
        if not 0.0 <= self.noop_rate < 1.0:
            raise UsageError(
                f"Task '{self.card.name}' got noop_rate={self.noop_rate}; give 0 <= rate < 1."
            )

    @property
    @abstractmethod
    def elements(self) -> tuple[str, ...]:
        """Return the symbol of every group element, the identity first."""

    @property
    @abstractmethod
    def product(self) -> np.ndarray:
        """Return the table with ``product[a, b]`` = the state a followed by the element b."""

    @abstractmethod
    def read(self, state_BT: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the value of every variable for given states (element indices)."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return BOS and the elements."""
        return (BOS, *self.elements)

    @property
    def answers(self) -> tuple[int, ...]:
        """Return the symbols of the elements: the answer is the state itself."""
        return tuple(range(1, 1 + len(self.elements)))

    def sample(self, rng: np.random.Generator, n: int, length: int) -> Batch:
        """Draw ``n`` words of ``length`` independent elements."""
        n_elements = len(self.elements)
        rates = np.full(n_elements, (1.0 - self.noop_rate) / (n_elements - 1))
        rates[0] = self.noop_rate
        return self._batch(rng.choice(n_elements, size=(n, length), p=rates))

    def counterfactual(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Replace one element of the first half by another one, so every later state differs."""
        elements_BS = batch.tokens_BT[:, 1:] - 1
        n, length = elements_BS.shape
        row_B = np.arange(n)
        changed_B = rng.integers(max(1, length // 2), size=n)
        other_B = rng.integers(1, len(self.elements), size=n)
        elements_BS = elements_BS.copy()
        elements_BS[row_B, changed_B] += other_B
        return self._batch(elements_BS % len(self.elements))

    def _batch(self, elements_BS: np.ndarray) -> Batch:
        n, length = elements_BS.shape
        state_BT = np.zeros((n, length + 1), np.int64)
        for position in range(length):
            state_BT[:, position + 1] = self.product[
                state_BT[:, position], elements_BS[:, position]
            ]
        tokens_BT = np.concatenate([np.zeros((n, 1), np.int64), elements_BS + 1], 1)
        targets_BT = state_BT + 1
        targets_BT[:, 0] = UNSCORED
        variables = {name: values.copy() for name, values in self.read(state_BT).items()}
        for values_BT in variables.values():
            values_BT[:, 0] = UNDEFINED
        return Batch(tokens_BT, targets_BT, variables, {"readout": np.full(n, length)})
