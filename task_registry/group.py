"""Word problems of finite groups: the running product of elements, solvable and not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.errors import UsageError
from mecheval.tasks import task
from mecheval.tasks.group_words import NamedGroupWords
from mecheval.tasks.groups import differences, named_group, normal_closure

if TYPE_CHECKING:
    from mecheval.tasks.groups import Group

ALPHABETS = ("all", "generators", "swaps")


@task(
    name="group",
    version=1,
    reference="Merrill et al. 2024, arXiv:2404.08819; Liu et al. 2023, arXiv:2210.10749",
    mechanisms=(
        "recovery",
        "readability",
        "bottleneck",
    ),
)
@dataclass(frozen=True, kw_only=True)
class GroupProduct(NamedGroupWords):
    """Running product of elements of a group by its name; as many states as it has elements.

    The variables are the element and its quotients, which are homomorphisms: ``sign`` of a
    symmetric group; ``coset3`` of a4 and ``coset6`` of s4, cosets of the double swaps; ``mod2``,
    ``mod4`` and the like of a cyclic group, one for each power of a prime; and of a product its
    components with their own quotients, such as ``s3`` and ``s3_sign`` of z2xs3. A simple group
    such as a5 has none.

    Attributes:
        name: A symmetric, alternating or cyclic group (``s5``, ``a4``, ``z60``), or a product of
            them (``z2xs3``).
        alphabet: What words are made of beside the identity. ``all``: every element.
            ``generators``: a swap and a cycle of odd length in symmetric groups, two even
            permutations in alternating ones, 1 in cyclic ones, those of every component in
            products. ``swaps``: the transpositions, in symmetric groups. Without no-ops, an
            alphabet that lies in one coset of a normal subgroup is refused, as that of swaps does:
            the sign would be the parity of the position. With few no-ops the floor of the position
            says how much of this is left.
    """

    name: str = "a5"
    alphabet: str = "all"

    def __post_init__(self) -> None:
        """Check the name and the alphabet, and that no position gives a quotient away."""
        object.__setattr__(self, "name", self.name.lower())
        super().__post_init__()
        if self.alphabet not in ALPHABETS:
            raise UsageError(
                f"Task 'group' got alphabet={self.alphabet}; give one of "
                f"{', '.join(ALPHABETS)}. See `mecheval show task group`."
            )
        table_GG, letters = self.product, self.drawn_A[1:]
        if not len(letters):
            raise UsageError(
                f"Task 'group' got name={self.name} and alphabet=swaps, which only symmetric "
                "groups have. Give alphabet=all or alphabet=generators."
            )
        told = not normal_closure(table_GG, differences(table_GG, letters)).all()
        if told and not self.noop_rate:
            raise UsageError(
                f"Task 'group' got name={self.name}, alphabet={self.alphabet} and noop_rate=0: all "
                "letters are in one coset of a normal subgroup, so the position alone says in "
                "which one the state is. Give noop_rate > 0 or another alphabet."
            )

    @property
    def group(self) -> Group:
        """Return the group of this name."""
        return named_group(self.name)

    @property
    def drawn_A(self) -> np.ndarray:
        """Return the identity, which is the no-op, and the alphabet."""
        group = self.group
        letters = {
            "all": range(1, group.order), "generators": group.generators, "swaps": group.swaps,
        }  # fmt: skip
        return np.array([0, *letters[self.alphabet]])
