"""Words over a group whose table is known by name: what ``s3``, ``z6`` and ``group`` share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mecheval.tasks.words import GroupWords

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from mecheval.tasks.groups import Group


@dataclass(frozen=True, kw_only=True)
class NamedGroupWords(GroupWords):
    """Running product in a group; the variables are the element and its quotients."""

    @property
    @abstractmethod
    def group(self) -> Group:
        """Return the group."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Return the symbol of every group element, the identity first."""
        return self.group.symbols

    @property
    def product(self) -> np.ndarray:
        """Return the group's table."""
        return self.group.table_GG

    @property
    def variables(self) -> Mapping[str, int]:
        """Return the element, and what homomorphisms keep of it."""
        sizes = {name: int(value_G.max()) + 1 for name, value_G in self.group.quotients.items()}
        return {"element": self.group.order, **sizes}

    def read(self, state_BT: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the element and its quotients."""
        quotients = {name: value_G[state_BT] for name, value_G in self.group.quotients.items()}
        return {"element": state_BT, **quotients}
