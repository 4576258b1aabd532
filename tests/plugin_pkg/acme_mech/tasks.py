"""Flip-flop: the bit that was written last (Liu et al. 2023, arXiv:2306.00946).

Shape suffixes: ``B`` examples, ``T`` positions (BOS included), ``S`` symbols of a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.tasks import BOS, UNDEFINED, UNSCORED, Batch, Task, task

if TYPE_CHECKING:
    from collections.abc import Mapping

SYMBOLS = (BOS, ".", "a", "b", "0", "1")
NOOP, WRITE, ANSWER = 1, 2, 4  # a and b write 0 and 1


@task(
    name="flipflop",
    version=2,
    reference="Liu et al. 2023, arXiv:2306.00946",
    mechanisms=("recovery", "readability[variables=['bit']]"),
)
@dataclass(frozen=True, kw_only=True)
class FlipFlop(Task):
    """The bit that was written last; one bit of state with resets.

    Attributes:
        noop_rate: Probability of the no-op symbol at every position but the first.
    """

    noop_rate: float = 0.5

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return BOS, the no-op, the two writes, the two answers."""
        return SYMBOLS

    @property
    def answers(self) -> tuple[int, ...]:
        """Return the two bits."""
        return (ANSWER, ANSWER + 1)

    @property
    def variables(self) -> Mapping[str, int]:
        """Return the stored bit."""
        return {"bit": 2}

    def sample(self, rng: np.random.Generator, n: int, length: int) -> Batch:
        """Draw ``n`` sequences that begin with a write."""
        symbol_BS = rng.integers(WRITE, WRITE + 2, size=(n, length))
        symbol_BS[:, 1:][rng.random((n, length - 1)) < self.noop_rate] = NOOP
        return self._batch(symbol_BS)

    def counterfactual(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Let the last write write the other bit."""
        symbol_BS = batch.tokens_BT[:, 1:].copy()
        last_B = symbol_BS.shape[1] - 1 - (symbol_BS[:, ::-1] >= WRITE).argmax(1)
        row_B = np.arange(len(symbol_BS))
        symbol_BS[row_B, last_B] = 2 * WRITE + 1 - symbol_BS[row_B, last_B]
        return self._batch(symbol_BS)

    def _batch(self, symbol_BS: np.ndarray) -> Batch:
        n, length = symbol_BS.shape
        tokens_BT = np.concatenate([np.zeros((n, 1), np.int64), symbol_BS], 1)
        position_BT = np.where(tokens_BT >= WRITE, np.arange(length + 1), 0)
        written_BT = np.maximum.accumulate(position_BT, 1)
        bit_BT = np.take_along_axis(tokens_BT, written_BT, 1) - WRITE
        targets_BT = ANSWER + bit_BT
        targets_BT[:, 0], bit_BT[:, 0] = UNSCORED, UNDEFINED
        return Batch(tokens_BT, targets_BT, {"bit": bit_BT}, {"readout": np.full(n, length)})
