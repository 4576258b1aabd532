"""Dictionaries of what networks hold: what they are trained on, and the codes that are compared.

Shape suffixes: ``N`` places, ``X`` numbers of a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mecheval.dictionaries import DictionaryRecipe, train_dictionary
from mecheval.metrics.pairs.recording import FEWEST, MEMORY, drawn_numbers, most_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from mecheval.dictionaries import Dictionary, SparseCodes
    from mecheval.metrics.pairs.network import Network
    from mecheval.metrics.pairs.places import Component, Of, Places


@dataclass(frozen=True)
class Coding:
    """A dictionary, and what it is trained on.

    Attributes:
        of: ``context`` is of what is left of a row without the mean of the current symbol, taken
            from the training places; ``stream`` of the row as it is.
        training: Where it is trained.
        width: Latents for every number of a row.
        k: Latents that fire at a place.
        n_rows: Rows that it is trained on; the places are gone through again where there are fewer.
        component: Which site rows are of.
    """

    of: Of
    training: Places
    width: int
    k: int
    n_rows: int
    component: Component = "block_out"

    @property
    def n_numbers(self) -> int | None:
        """Return how many numbers of a row are kept at most; None where all are."""
        return None if self.component == "block_out" else most_numbers(len(self.training.row_N))

    @property
    def refusal(self) -> str | None:
        """Say why so many places cannot be recorded, None where they can."""
        if self.n_numbers is None or self.n_numbers >= FEWEST:
            return None
        n_places = len(self.training.row_N)
        return (
            f"{n_places} training places leave {self.n_numbers} numbers of a row within "
            f"{MEMORY >> 20} MiB, and {FEWEST} are needed: lower n_train or per_sequence"
        )

    def looked_at(
        self, networks: Sequence[tuple[Network, Sequence[int]]]
    ) -> tuple[str | None, list[str]]:
        """Return why networks have no such rows at layers, and what to know of those they have."""
        if self.component == "block_out":
            return None, []
        warnings: dict[str, None] = {}
        for network, layers in networks:
            widths = network.row_widths(self.component, layers)
            if not isinstance(widths, list):
                return widths.reason, []
            warnings |= dict.fromkeys(drawn_numbers(widths, self.n_numbers))
        return self.refusal, list(warnings)

    @property
    def content(self) -> dict[str, object]:
        """Return what decides a dictionary beside activations, name and seed."""
        content: dict[str, object] = {
            "of": self.of, "training": self.training.sha256, "width": self.width, "k": self.k,
            "n_rows": self.n_rows,
        }  # fmt: skip
        return content if self.component == "block_out" else {**content, "site": self.component}


class Coded(NamedTuple):
    """Codes of what a network holds, and how good the dictionary is on the places encoded.

    Attributes:
        codes: The codes.
        fve: Fraction of the variance that they explain; None where there is no variance.
        l0: Latents that fire at a place, on average.
        alive: Share of the latents that fire at 25 places or more.
    """

    codes: SparseCodes
    fve: float | None
    l0: float | None
    alive: float | None


def trained(coding: Coding, row_NX: np.ndarray, *, name: str, seed: int) -> Dictionary:
    """Train a dictionary.

    Args:
        coding: The dictionary.
        row_NX: What the network holds where it is trained.
        name: Of the network and the layer: dictionaries of others begin with other weights.
        seed: Of the dictionary.
    """
    return train_dictionary(
        row_NX,
        coding.width,
        min(coding.k, coding.width * row_NX.shape[1]),
        seed,
        groups_N=coding.training.symbol_N if coding.of == "context" else None,
        recipe=DictionaryRecipe(n_rows=coding.n_rows),
        name=name,
    )


def encoded(dictionary: Dictionary, row_NX: np.ndarray, places: Places) -> Coded:
    """Encode what a network holds at places, and measure the dictionary there."""
    group_N = None if dictionary.means_GD is None else places.symbol_N
    codes = dictionary.encode(row_NX, group_N)
    found = dictionary.evaluate(row_NX, group_N, codes)
    return Coded(codes, found.fve, found.l0, found.alive)
