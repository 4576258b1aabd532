"""Z6: the commutative contrast to S3, with as many states and symbols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.tasks import task
from mecheval.tasks.words import GroupWords

if TYPE_CHECKING:
    from collections.abc import Mapping


@task(
    name="z6",
    version=1,
    reference="Jiang 2026, arXiv:2606.00926 (the contrast that its Parity-against-S3 lacks)",
    mechanisms=(
        "recovery",
        "readability",
        "bottleneck",
    ),
)
@dataclass(frozen=True, kw_only=True)
class Z6(GroupWords):
    """Running sum modulo 6; six states, commutative."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Return the residues; 0 is the no-op."""
        return ("0", "1", "2", "3", "4", "5")

    @property
    def product(self) -> np.ndarray:
        """Return addition modulo 6."""
        return np.add.outer(np.arange(6), np.arange(6)) % 6

    @property
    def variables(self) -> Mapping[str, int]:
        """Return the sum, and its residues modulo 2 (as S3's sign) and 3 (as S3's coset)."""
        return {"element": 6, "mod2": 2, "mod3": 3}

    def read(self, state_BT: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the sum and its two residues."""
        return {"element": state_BT, "mod2": state_BT % 2, "mod3": state_BT % 3}
