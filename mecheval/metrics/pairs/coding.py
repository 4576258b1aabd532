"""Dictionaries of residual streams: what they are trained on, and the codes that are compared.

Shape suffixes: ``N`` places, ``D`` residual width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mecheval.dictionaries import DictionaryRecipe, train_dictionary

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from mecheval.dictionaries import SparseCodes
    from mecheval.metrics.pairs.places import Of, Places


@dataclass(frozen=True)
class Coding:
    """A dictionary, and what it is trained on.

    Attributes:
        of: ``context`` is of what is left of the stream without the mean of the current symbol,
            taken from the training places; ``stream`` of the stream as it is.
        training: Where it is trained.
        width: Latents for every dimension of the stream.
        k: Latents that fire at a place.
        n_rows: Rows that it is trained on; the places are gone through again where there are fewer.
    """

    of: Of
    training: Places
    width: int
    k: int
    n_rows: int

    @property
    def content(self) -> dict[str, object]:
        """Return what decides a dictionary beside activations, name and seed."""
        return {
            "of": self.of, "training": self.training.sha256, "width": self.width, "k": self.k,
            "n_rows": self.n_rows,
        }  # fmt: skip


class Coded(NamedTuple):
    """Codes of a network's stream, and how good the dictionary is on the places that are encoded.

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


def encoded(
    coding: Coding,
    streams: Sequence[np.ndarray],
    places: Places,
    *,
    name: str,
    seed: int,
) -> Coded:
    """Train a dictionary of a stream, and encode the stream at places.

    Args:
        coding: The dictionary.
        streams: The activations ``(N, D)`` where it is trained, and at the places.
        places: What is encoded.
        name: Of the network and the layer: dictionaries of others begin with other weights.
        seed: Of the dictionary.
    """
    beyond = coding.of == "context"
    training_ND, stream_ND = streams
    dictionary = train_dictionary(
        training_ND,
        coding.width,
        min(coding.k, coding.width * training_ND.shape[1]),
        seed,
        groups_N=coding.training.symbol_N if beyond else None,
        recipe=DictionaryRecipe(n_rows=coding.n_rows),
        name=name,
    )
    group_N = places.symbol_N if beyond else None
    codes = dictionary.encode(stream_ND, group_N)
    quality = dictionary.evaluate(stream_ND, group_N, codes)
    return Coded(codes, quality.fve, quality.l0, quality.alive)
