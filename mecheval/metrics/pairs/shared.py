"""Where two networks are held side by side: places of either, one for one.

Networks that read the same tokens have the same places. Those that read one text in tokens of their
own meet where both end a token at the same byte (:mod:`mecheval.tasks.alignment`).

Shape suffixes: ``N`` places.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mecheval import seeding
from mecheval.errors import UsageError
from mecheval.metrics.pairs.places import SEED, Places, draw_places
from mecheval.tasks.alignment import Aligned
from mecheval.tasks.text_task import TextTask

if TYPE_CHECKING:
    from mecheval.tasks import Task
    from mecheval.tasks.alignment import Meeting
    from mecheval.tasks.tokenized import Tokenized


@dataclass(frozen=True)
class Shared:
    """Places of two networks; the same number of the one is the same place of the text.

    Attributes:
        a: Those of the one.
        b: Those of the other; the same object where both read the same tokens.
        group_N: What is current at each place: the symbol, and where the two read tokens of their
            own the two symbols together. With those of either alone something would be left that a
            current token tells: what the other's longer token says of the bytes before.
    """

    a: Places
    b: Places
    group_N: np.ndarray

    @property
    def row_N(self) -> np.ndarray:
        """Return the sequence of each place."""
        return self.a.row_N

    @property
    def aligned(self) -> bool:
        """Say whether the two read tokens of their own."""
        return self.a is not self.b


def same_tokens(one: Task, other: Task) -> bool:
    """Say whether two tasks give the same symbols for the same examples.

    A text in the tokens of one tokenizer is the same, wherever that tokenizer lies.
    """
    if one is other:
        return True
    if isinstance(one, TextTask) and isinstance(other, TextTask):
        return (one.data_sha256, one.max_length) == (other.data_sha256, other.max_length)
    return one.params == other.params and one.data_sha256 == other.data_sha256


def alignment(one: Task, other: Task) -> Aligned | None:
    """Return how two tasks of one text meet on held-out documents; None where tokens are the same.

    Raises:
        UsageError: They are no tasks of text, or meet nowhere or hardly anywhere.
    """
    if same_tokens(one, other):
        return None
    if not (isinstance(one, TextTask) and isinstance(other, TextTask)):
        raise UsageError(
            f"Tasks '{one.card.name}' and '{other.card.name}' have other examples, and networks "
            "are held side by side at the same ones. Only a text can be read in other tokens."
        )
    return _aligned(one.text, other.text)


@lru_cache(maxsize=4)
def _aligned(one: Tokenized, other: Tokenized) -> Aligned:
    return Aligned(one, other, "test")


def shared_places(one: Task, other: Task, n: int, per_sequence: int) -> Shared:
    """Draw places of held-out sequences, the same ones whenever as many are asked for.

    Args:
        one: What the one network reads.
        other: What the other one reads: the same, or the same text in tokens of its own.
        n: Number of sequences, or all that there are where tokens are not the same.
        per_sequence: Places in each, or all that there are.

    Raises:
        UsageError: As :func:`alignment`.
    """
    aligned = alignment(one, other)
    if aligned is None:
        places = draw_places(one, n, per_sequence)
        return Shared(places, places, places.symbol_N)
    met = _drawn(aligned.meeting((one.max_length, other.max_length)), n, per_sequence)
    evaluation = _evaluation_sha256(met)
    a, b = (
        Places(tokens_BT, met.row_N, position_N, evaluation)
        for tokens_BT, position_N in zip(met.tokens, met.positions, strict=True)
    )
    group_N = np.unique(np.stack([a.symbol_N, b.symbol_N]), axis=1, return_inverse=True)[1]
    return Shared(a, b, group_N.reshape(-1))


def _drawn(met: Meeting, n: int, per_sequence: int) -> Meeting:
    """Draw windows without repetition, and places in each."""
    rng = seeding.stream(SEED, "side by side", "aligned")
    n_windows = len(met.tokens[0])
    chosen = rng.permutation(n_windows)[:n]
    order_N = rng.random(len(met.row_N))
    # The rank of every place within its window, by chance.
    by_window_N = np.lexsort((order_N, met.row_N))
    first_B = np.searchsorted(met.row_N, np.arange(n_windows))
    rank_N = np.empty(len(by_window_N), np.int64)
    rank_N[by_window_N] = np.arange(len(by_window_N)) - first_B[met.row_N[by_window_N]]
    return met.take(np.flatnonzero((rank_N < per_sequence) & np.isin(met.row_N, chosen)))


def _evaluation_sha256(met: Meeting) -> str:
    """Return a hash of the common text and of the bytes of the places, the same for both sides."""
    digest = hashlib.sha256(met.sha256.encode())
    for values in (met.row_N, met.byte_N):
        digest.update(values.astype("<i8").tobytes())
    return digest.hexdigest()
