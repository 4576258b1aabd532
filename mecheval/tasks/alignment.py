"""Two tokenizations of one text: where both end a token at the same byte.

What two networks hold can be compared only where both have read the same text. Windows of either
tokenization begin at the same byte of the same held-out documents, so that both networks have read
the same text from BOS on, and meet wherever a token of both ends. Where both have the same tokens,
that is everywhere.

Shape suffixes: ``X`` tokens of the common documents, one behind the other; ``B`` windows, ``T``
positions (BOS included), ``N`` places where both meet.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.errors import UsageError
from mecheval.tasks.tokenized import FIRST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mecheval.tasks.splits import Split
    from mecheval.tasks.tokenized import Tokenized

LEAST_KEPT = 0.1
"""Share of the tokens of one of the two that must end where one of the other does, at least."""


@dataclass(frozen=True)
class Meeting:
    """Windows of two tokenizations of one text, and the positions at which they meet.

    Attributes:
        tokens: The windows of either, ``(B, T)``, which begin at the same bytes.
        row_N: The window of each place, by which they are in order.
        positions: The position of each place in the windows of either, ``(N,)``; never 0.
        byte_N: The byte of the common text at which both tokens end.
        sha256: Hash of the common text; equal for all tokenizations of it.
    """

    tokens: tuple[np.ndarray, np.ndarray]
    row_N: np.ndarray
    positions: tuple[np.ndarray, np.ndarray]
    byte_N: np.ndarray
    sha256: str

    def take(self, kept_N: np.ndarray) -> Meeting:
        """Return some of the places, in order, and the windows that hold them."""
        row_B, row_N = np.unique(self.row_N[kept_N], return_inverse=True)
        one, other = (tokens_BT[row_B] for tokens_BT in self.tokens)
        at_one, at_other = (position_N[kept_N] for position_N in self.positions)
        return Meeting((one, other), row_N, (at_one, at_other), self.byte_N[kept_N], self.sha256)


class Aligned:
    """The held-out documents that two tokenizations have in common.

    Attributes:
        kept: The share of the tokens of either that end where one of the other does.
        n_boundaries: At how many bytes that is.
        n_documents: Number of common documents.
        sha256: Hash of their text.
    """

    def __init__(self, one: Tokenized, other: Tokenized, split: Split) -> None:
        """Find the common documents of a split, and where tokens of both end.

        Raises:
            UsageError: There are no common documents, or too few common ends.
        """
        held = [text.documents_by_text(split) for text in (one, other)]
        common = [text for text in held[0] if text in held[1]]
        if not common:
            raise UsageError(
                "The two texts have no held-out document in common, so there is nothing that both "
                "networks read. Give both the same folder, suffix and kilobytes."
            )
        self.n_documents = len(common)
        self.sha256 = hashlib.sha256("\n".join(common).encode()).hexdigest()
        self._tokens = [np.concatenate([of[text] for text in common]) for of in held]
        # The end of a document counts as a byte, so that both count the same.
        self._ends = [
            np.cumsum(np.where(token_X < FIRST, 1, text.bytes_C[token_X]))
            for text, token_X in zip((one, other), self._tokens, strict=True)
        ]
        ends_one, ends_other = self._ends
        byte_N, at_one, at_other = np.intersect1d(ends_one, ends_other, return_indices=True)
        inside_N = self._tokens[0][at_one] >= FIRST
        self._bytes, self._at = byte_N, (at_one, at_other)
        self.n_boundaries = int(inside_N.sum())
        sizes = [int((token_X >= FIRST).sum()) for token_X in self._tokens]
        self.kept = (self.n_boundaries / sizes[0], self.n_boundaries / sizes[1])
        if max(self.kept) < LEAST_KEPT:
            shares = " and ".join(f"{share:.2f}" for share in self.kept)
            raise UsageError(
                f"Of the tokens of the two, shares of {shares} end at the same byte, and "
                f"{LEAST_KEPT} of one's is the least at which networks are held side by side."
            )

    def meeting(self, lengths: Sequence[int]) -> Meeting:
        """Return consecutive windows, and all places at which both meet in them.

        Args:
            lengths: Tokens of a window of either, BOS not counted.

        Raises:
            UsageError: There is no window of this length.
        """
        starts, rows, places = [], [], []
        for row, (start, kept_N) in enumerate(self._windows(lengths)):
            starts.append(start)
            rows.append(np.full(len(kept_N), row))
            places.append(kept_N)
        if not starts:
            raise UsageError(
                f"The common held-out text of the two is shorter than a window of {lengths[0]} and "
                f"{lengths[1]} tokens. Give it more kilobytes, or a smaller max_length."
            )
        row_N, place_N = np.concatenate(rows), np.concatenate(places)
        tokens, positions = [], []
        for side in (0, 1):
            start_B = np.array([start[side] for start in starts])
            index_BT = start_B[:, None] + np.arange(-1, lengths[side])
            tokens_BT = self._tokens[side][np.maximum(index_BT, 0)]
            tokens_BT[:, 0] = 0
            tokens.append(tokens_BT)
            positions.append(1 + self._at[side][place_N] - start_B[row_N])
        return Meeting(
            (tokens[0], tokens[1]), row_N, (positions[0], positions[1]), self._bytes[place_N],
            self.sha256,
        )  # fmt: skip

    def _windows(self, lengths: Sequence[int]) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
        """Yield where windows begin in either, and which common ends lie in both.

        A window ends with the shorter one of the two texts, and the next one begins where both meet
        last; ends of documents are read, and are no places.
        """
        begin, start = 0, (0, 0)
        while all(start[side] + lengths[side] <= len(self._tokens[side]) for side in (0, 1)):
            last = min(self._ends[side][start[side] + lengths[side] - 1] for side in (0, 1))
            end = int(np.searchsorted(self._bytes, last, side="right"))
            within_N = np.arange(begin, end)
            kept_N = within_N[self._tokens[0][self._at[0][within_N]] >= FIRST]
            if len(kept_N):
                yield start, kept_N
            # Where no token of both ends within a window, the next end behind it is gone on from.
            begin = max(end, begin + 1)
            if begin > len(self._bytes):
                return
            start = (int(self._at[0][begin - 1]) + 1, int(self._at[1][begin - 1]) + 1)
