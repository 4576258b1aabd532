"""S3: composing permutations of three things, the smallest non-commutative group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mecheval.tasks import task
from mecheval.tasks.group_words import NamedGroupWords
from mecheval.tasks.groups import named_group

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from mecheval.tasks.groups import Group


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
class S3(NamedGroupWords):
    """Running product of permutations of three things; six states, non-commutative.

    It is ``group[name=s3]`` with a variable that is no homomorphism: ``coset``, which of the three
    permutations of its sign it is.
    """

    @property
    def group(self) -> Group:
        """Return three rotations, then each of them followed by 132."""
        return named_group("s3")

    @property
    def variables(self) -> Mapping[str, int]:
        """Return the permutation, its sign, and which of its sign's three it is."""
        return {**super().variables, "coset": 3}

    def read(self, state_BT: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the permutation, its sign and its coset."""
        return {**super().read(state_BT), "coset": state_BT % 3}
