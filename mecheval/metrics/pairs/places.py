"""Where two networks are held side by side: the same positions of the same words, for every pair.

Shape suffixes: ``B`` sequences, ``T`` positions, ``N`` places (a position of a sequence).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from mecheval import seeding
from mecheval.tasks.splits import draw

if TYPE_CHECKING:
    from mecheval.tasks import Task
    from mecheval.tasks.splits import Split

Of = Literal["context", "stream"]
"""What a dictionary is of: of what a site holds beyond the current symbol, or of all of it."""

Component = Literal["block_out", "write", "state"]
"""Which site of a layer: the residual stream behind its block, what a position writes into the
memory of its mixer, or that memory after the position."""

NOTHING_LEFT = "at some depth the site holds the current symbol and nothing else"
"""Why there is no dictionary of what is left without it."""

SEED = 0
"""All pairs of a task are held side by side at the same places: a network is recorded once."""


@dataclass(frozen=True)
class Places:
    """Positions of sequences; of test sequences no network was trained on any.

    Attributes:
        symbols_BT: The sequences, as indices of the task's symbols.
        row_N: The sequence of each place.
        position_N: Its position; never 0, where many networks hold what is no token of the text.
        evaluation: Hash of what is read there, where that is the same for other tokens; else None.
    """

    symbols_BT: np.ndarray
    row_N: np.ndarray
    position_N: np.ndarray
    evaluation: str | None = None

    @property
    def symbol_N(self) -> np.ndarray:
        """Return the symbol at each place."""
        return self.symbols_BT[self.row_N, self.position_N]

    @cached_property
    def sha256(self) -> str:
        """Return a hash of the sequences and of the positions."""
        digest = hashlib.sha256()
        for values in (self.symbols_BT, self.row_N, self.position_N):
            digest.update(f"{values.shape}".encode() + values.astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def evaluation_sha256(self) -> str:
        """Return a hash of what is read there, which all networks of a comparison must share."""
        return self.evaluation or self.sha256


def draw_places(task: Task, n: int, per_sequence: int, split: Split = "test") -> Places:
    """Draw places of a task's sequences, the same ones whenever as many are asked for.

    Args:
        task: The task.
        n: Number of sequences.
        per_sequence: Places in each, or all behind the first one where there are no more.
        split: Of which split they are.
    """
    rng = seeding.stream(SEED, "side by side", *([] if split == "test" else [split]))
    symbols_BT = draw(task, rng, n, length=task.max_length, split=split).tokens_BT
    n_kept = min(per_sequence, symbols_BT.shape[1] - 1)
    order_BT = rng.random((len(symbols_BT), symbols_BT.shape[1] - 1)).argsort(1)
    position_BN = 1 + np.sort(order_BT[:, :n_kept], axis=1)
    row_N = np.repeat(np.arange(len(symbols_BT)), n_kept)
    return Places(symbols_BT, row_N, position_BN.ravel())
