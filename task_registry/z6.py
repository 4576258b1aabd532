"""Z6: the commutative contrast to S3, with as many states and symbols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mecheval.tasks import task
from mecheval.tasks.group_words import NamedGroupWords
from mecheval.tasks.groups import named_group

if TYPE_CHECKING:
    from mecheval.tasks.groups import Group


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
class Z6(NamedGroupWords):
    """Running sum modulo 6; six states, commutative.

    Its variables are the sum, and its residues modulo 2 (as S3's sign) and 3 (as S3's coset).
    """

    @property
    def group(self) -> Group:
        """Return the residues, of which 0 is the no-op."""
        return named_group("z6")
