"""Parity: the running XOR of a bit string."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.tasks import task
from mecheval.tasks.words import GroupWords

if TYPE_CHECKING:
    from collections.abc import Mapping


@task(
    name="parity",
    version=1,
    reference="Jiang 2026, Task Structure Reverses Layerwise State Encoding, arXiv:2606.00926",
    mechanisms=(
        "recovery",
        "readability",
        "bottleneck",
        "exchange",
    ),
)
@dataclass(frozen=True, kw_only=True)
class Parity(GroupWords):
    """Running XOR of a bit string; one bit of state, commutative."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Return the bits; 0 is the no-op."""
        return ("0", "1")

    @property
    def product(self) -> np.ndarray:
        """Return addition modulo 2."""
        return np.add.outer(np.arange(2), np.arange(2)) % 2

    @property
    def variables(self) -> Mapping[str, int]:
        """Return the parity bit."""
        return {"parity": 2}

    def read(self, state_BT: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the parity bit."""
        return {"parity": state_BT}
