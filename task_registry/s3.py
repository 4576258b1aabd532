"""S3: composing permutations of three things, the smallest non-commutative group."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.tasks import BOS, task
from mecheval.tasks.words import GroupWords

if TYPE_CHECKING:
    from collections.abc import Mapping

PERMUTATIONS = ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 0, 2))
"""Three rotations, then three transpositions: element // 3 is the sign, element % 3 the coset."""


@task(
    name="s3",
    version=1,
    reference="Jiang 2026, arXiv:2606.00926; Merrill et al. 2024, arXiv:2404.08819",
    mechanisms=(
        "recovery",
        "readability",
        "bottleneck",
    ),
)
@dataclass(frozen=True, kw_only=True)
class S3(GroupWords):
    """Running product of permutations of three things; six states, non-commutative."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Return the permutations in one-line notation; 123 is the no-op."""
        return tuple("".join(str(image + 1) for image in p) for p in PERMUTATIONS)

    @property
    def strings(self) -> tuple[str, ...]:
        """Return one letter per permutation, because tokenizers split three digits."""
        return (BOS, "a", "b", "c", "d", "e", "f")

    @property
    def product(self) -> np.ndarray:
        """Return composition: the state first, then the element applied to its result."""
        table = np.zeros((6, 6), np.int64)
        for a, b in itertools.product(range(6), range(6)):
            composed = tuple(PERMUTATIONS[b][image] for image in PERMUTATIONS[a])
            table[a, b] = PERMUTATIONS.index(composed)
        return table

    @property
    def variables(self) -> Mapping[str, int]:
        """Return the permutation, its sign, and which of its sign's three it is."""
        return {"element": 6, "sign": 2, "coset": 3}

    def read(self, state_BT: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the permutation, its sign and its coset."""
        return {"element": state_BT, "sign": state_BT // 3, "coset": state_BT % 3}
