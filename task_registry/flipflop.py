"""Flip-flop: a memory that is overwritten, read and left alone; no group, and star-free.

Shape suffixes: ``B`` examples, ``T`` positions (BOS included), ``S`` symbols, ``Q`` values.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mecheval.errors import UsageError
from mecheval.tasks import UNSCORED, Batch, task
from mecheval.tasks.words import Words, behind_last

if TYPE_CHECKING:
    from collections.abc import Mapping

NOOP = 0  # letter that is ignored; those that write follow it, then the one that reads


@task(
    name="flipflop",
    version=1,
    reference="Liu et al. 2023, arXiv:2306.00946",
    mechanisms=(
        "recovery",
        "readability",
        "bottleneck",
    ),
)
@dataclass(frozen=True, kw_only=True)
class FlipFlop(Words):
    """The value that was written last, however long ago; a memory that is overwritten.

    The first symbol writes. An ignored symbol is the no-op of the other tasks; what the paper's
    ignored instructions carry is left out. Unlike a group's state, the answer depends on a single
    symbol, and what is behind it says more the nearer it is: the floor of a window of w symbols is
    1 - (1 - write_rate)^w (1 - 1/values).

    Attributes:
        write_rate: Probability of a symbol that writes; all values are equally likely.
        read_rate: Probability of a symbol that reads. Then reads alone are scored, and the last
            symbol is one, as in the paper; with 0 the value is asked for behind every symbol.
        values: Number of values that the memory can hold.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            **Words.presets,
            "dyck": {"write_rate": 0.19, "values": 3},
            "paper": {
                "write_rate": 0.1, "read_rate": 0.1, "min_length": 256, "max_length": 256,
                "longer": (2,),
            },
        }
    )  # fmt: skip

    min_length: int = 32
    max_length: int = 32
    write_rate: float = 0.1
    read_rate: float = 0.0
    values: int = 2

    def __post_init__(self) -> None:
        """Check the rates and the number of values."""
        super().__post_init__()
        self._check_rate("read_rate", self.read_rate)
        if not (0.0 < self.write_rate <= 1.0 - self.read_rate and self.values >= 2):
            raise UsageError(
                f"Task 'flipflop' got write_rate={self.write_rate}, read_rate={self.read_rate}, "
                f"values={self.values}; give write_rate > 0, write_rate + read_rate <= 1 and "
                "values >= 2."
            )
        if self.read_rate and self.min_length < 2:
            raise UsageError(
                f"Task 'flipflop' got min_length={self.min_length}; with read_rate > 0 the first "
                "symbol writes and the last one reads. Give min_length >= 2."
            )

    @property
    def letters(self) -> tuple[str, ...]:
        """Return the no-op, the values that are written, and the read if there are any."""
        return (".", *map(str, range(self.values)), *("?" if self.read_rate else ""))

    @property
    def step(self) -> np.ndarray:
        """Return the table in which a write leaves its value, and all else leaves what is there."""
        kept_Q1 = np.arange(self.values)[:, None]
        written = np.broadcast_to(np.arange(self.values), (self.values, self.values))
        return np.hstack([kept_Q1, written, *([kept_Q1] if self.read_rate else [])])

    @property
    def answers(self) -> tuple[int, ...]:
        """Return the symbols that write: the answer is the one that would change nothing."""
        return tuple(range(2, 2 + self.values))

    @property
    def variables(self) -> Mapping[str, int]:
        """Return the stored value."""
        return {"value": self.values}

    def read(self, state_BT: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the stored value."""
        return {"value": state_BT}

    def sample(self, rng: np.random.Generator, n: int, length: int) -> Batch:
        """Draw ``n`` words of independent letters; the first writes, the last may have to read."""
        writes = [self.write_rate / self.values] * self.values
        rates = [1.0 - self.write_rate - self.read_rate, *writes]
        rates += [self.read_rate] if self.read_rate else []
        letters_BS = rng.choice(len(rates), size=(n, length), p=rates)
        letters_BS[:, 0] = 1 + rng.integers(self.values, size=n)
        shown_BS = self._draw_shown(rng, n, length)
        if shown_BS is not None:
            letters_BS[shown_BS] = NOOP
        if self.read_rate:
            letters_BS[:, -1] = 1 + self.values
        return self._batch(letters_BS, shown_BS)

    def counterfactual(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Write another value last; examples that show the state since then stay as they are."""
        letters_BS, shown_BS = self._letters_of(batch)
        row_B = np.arange(len(batch))
        writes_BS = (letters_BS >= 1) & (letters_BS <= self.values)
        last_B = behind_last(writes_BS) - 1
        step_B = rng.integers(1, self.values, size=len(batch))
        if shown_BS is not None:
            step_B[behind_last(shown_BS) > last_B] = 0
        letters_BS = letters_BS.copy()
        letters_BS[row_B, last_B] = 1 + (letters_BS[row_B, last_B] - 1 + step_B) % self.values
        return self._batch(letters_BS, shown_BS)

    def _batch(self, letters_BS: np.ndarray, shown_BS: np.ndarray | None = None) -> Batch:
        batch = super()._batch(letters_BS, shown_BS)
        if not self.read_rate:
            return batch
        read_BT = batch.tokens_BT == 2 + self.values
        return dataclasses.replace(batch, targets_BT=np.where(read_BT, batch.targets_BT, UNSCORED))
