"""Dyck-(k, m): brackets of k types, nested at most m deep; the answer is the one that closes next.

Shape suffixes: ``B`` examples, ``T`` positions (BOS included), ``S`` symbols, ``M`` stack cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mecheval.errors import UsageError
from mecheval.tasks import BOS, UNDEFINED, UNSCORED, Batch, Task, task
from mecheval.tasks.contract import RANGE
from mecheval.tasks.nesting import nested, nesting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.tasks.nesting import Nesting

BRACKETS = ("()", "[]", "{}", "<>")
NOOP = 1  # index of the no-op symbol; openings follow it, then closings


@task(
    name="dyck",
    version=1,
    reference="Jiang 2026, arXiv:2606.00926; Hewitt et al. 2020, arXiv:2010.07515",
    mechanisms=(
        "recovery",
        "readability",
        "bottleneck",
        "exchange",
    ),
)
@dataclass(frozen=True, kw_only=True)
class Dyck(Task):
    """Which bracket closes next, in words of bounded depth; a stack of state.

    Attributes:
        k: Number of bracket types, 1 to 4.
        m: Greatest depth.
        noop_rate: Probability of the no-op symbol at every position.
    """

    gate_on = "last"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"range": RANGE})

    min_length: int = 32
    max_length: int = 32
    k: int = 2
    m: int = 4
    noop_rate: float = 0.5

    def __post_init__(self) -> None:
        """Check the number of types, the depth and the no-op rate."""
        super().__post_init__()
        if not (1 <= self.k <= len(BRACKETS) and self.m >= 1 and 0 <= self.noop_rate < 1):
            raise UsageError(
                f"Task 'dyck' got k={self.k}, m={self.m}, noop_rate={self.noop_rate}; "
                f"give 1 <= k <= {len(BRACKETS)}, m >= 1 and 0 <= noop_rate < 1."
            )

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return BOS, the no-op, the opening brackets, the closing brackets."""
        pairs = BRACKETS[: self.k]
        return (BOS, ".", *(pair[0] for pair in pairs), *(pair[1] for pair in pairs))

    @property
    def answers(self) -> tuple[int, ...]:
        """Return the no-op, which stands for an empty stack, and the closing brackets."""
        return (NOOP, *range(2 + self.k, 2 + 2 * self.k))

    @property
    def variables(self) -> Mapping[str, int]:
        """Return the depth, and the type on top of the stack (0 where it is empty)."""
        return {"depth": self.m + 1, "top": self.k + 1}

    def sample(self, rng: np.random.Generator, n: int, length: int) -> Batch:
        """Draw ``n`` prefixes of Dyck words.

        At depth 0 a bracket opens, at depth m one closes, in between either with probability 1/2.
        """
        noop_BS = rng.random((n, length)) < self.noop_rate
        opens_BS = rng.random((n, length)) < 0.5
        type_BS = rng.integers(1, self.k + 1, size=(n, length))
        noop_SB, opens_SB = np.ascontiguousarray(noop_BS.T), np.ascontiguousarray(opens_BS.T)
        depth_B, step_SB = np.zeros(n, np.int64), np.zeros((length, n), np.int64)
        for step_B, noop_B, opens_B in zip(step_SB, noop_SB, opens_SB, strict=True):
            up_B = (depth_B == 0) | ((depth_B < self.m) & opens_B)
            np.copyto(step_B, 2 * up_B - 1, where=~noop_B)
            depth_B += step_B
        step_BS = np.ascontiguousarray(step_SB.T)
        found = nested(step_BS, type_BS, self.m)
        kind_BS = np.where(step_BS > 0, type_BS, self.k + found.kind_BT[:, :-1])
        return self._batch(np.where(step_BS == 0, NOOP, NOOP + kind_BS), found)

    def counterfactual(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Change the bracket on top of the stack at the readout into another type.

        Its match lies behind the readout, so one symbol changes. Where the stack is empty, the
        last closing bracket becomes a no-op, or the first symbol an opening bracket if there is
        none. With a single type, every open bracket becomes a no-op instead.
        """
        symbol_BS = batch.tokens_BT[:, 1:].copy()
        found = nesting(self._kinds(symbol_BS), self.m)
        depth_B, row_B = found.depth_BT[:, -1], np.arange(len(symbol_BS))
        is_close_BS = symbol_BS >= 2 + self.k
        last_close_B = symbol_BS.shape[1] - 1 - is_close_BS[:, ::-1].argmax(1)
        type_B = rng.integers(1, max(2, self.k), size=len(symbol_BS))

        empty_B = depth_B == 0
        closed_B = empty_B & is_close_BS.any(1)
        blank_B = empty_B & ~is_close_BS.any(1)
        symbol_BS[closed_B, last_close_B[closed_B]] = NOOP
        symbol_BS[blank_B, 0] = 1 + rng.integers(1, self.k + 1, size=int(blank_B.sum()))
        if self.k == 1:
            for level in range(1, self.m + 1):
                held_B = depth_B >= level
                symbol_BS[held_B, found.opener_BTM[held_B, -1, level]] = NOOP
        else:
            top_B = found.innermost_BT[:, -1]
            old_B = symbol_BS[row_B, top_B] - 2
            new_B = 2 + (old_B + type_B) % self.k
            symbol_BS[~empty_B, top_B[~empty_B]] = new_B[~empty_B]
        return self._batch(symbol_BS)

    def _batch(self, symbol_BS: np.ndarray, found: Nesting | None = None) -> Batch:
        n, length = symbol_BS.shape
        found = found or nesting(self._kinds(symbol_BS), self.m)
        targets_BT = np.where(found.depth_BT > 0, 1 + self.k + found.kind_BT, NOOP)
        targets_BT[:, 0] = UNSCORED
        variables = {"depth": found.depth_BT, "top": found.kind_BT}
        for values_BT in variables.values():
            values_BT[:, 0] = UNDEFINED
        tokens_BT = np.concatenate([np.zeros((n, 1), np.int64), symbol_BS], 1)
        return Batch(tokens_BT, targets_BT, variables, {"readout": np.full(n, length)})

    def _kinds(self, symbol_BS: np.ndarray) -> np.ndarray:
        """Return the type of every bracket, negative where it closes, 0 for no-ops."""
        closes_BS = symbol_BS >= 2 + self.k
        return np.where(closes_BS, 1 + self.k - symbol_BS, symbol_BS - NOOP)
