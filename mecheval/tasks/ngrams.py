"""What a text is worth without a model: the loss of tables of one, two and three tokens.

Shape suffixes: ``X`` tokens of a text, one behind the other, ``C`` cells (context and token) that
were seen, ``R`` contexts that were seen.
"""

from __future__ import annotations

import numpy as np

from mecheval.errors import UsageError

NAMES = ("unigram", "bigram", "trigram")
"""The tables, by how many tokens they hold."""


class NGrams:
    """Tables of counts that back off to shorter ones by interpolated absolute discounting.

    ``p(w | h) = max(c(hw) - D, 0) / c(h) + D n(h) / c(h) p(w | h')``, where ``n(h)`` is how many
    different tokens were seen behind ``h`` and ``h'`` is ``h`` without its first token; the
    unigram backs off to all tokens alike. ``D = (n1 + 1) / (n1 + 1 + 2 (n2 + 1))`` of every table,
    by how many of its cells were seen once and twice. Source: Ney, Essen and Kneser 1994; equation
    17 of Chen and Goodman 1998 (TR-10-98). The ones are ours: a byte table of a long text may have
    no cell that was seen once, and an unseen byte would then be impossible.
    """

    def __init__(self, token_X: np.ndarray, n_symbols: int, *, separator: int) -> None:
        """Count a text.

        Args:
            token_X: The text, its documents separated.
            n_symbols: Size of the vocabulary.
            separator: The token between documents: part of contexts, never predicted.

        Raises:
            UsageError: There is nothing to count, or the vocabulary is too large for the codes.
        """
        if n_symbols ** len(NAMES) >= 1 << 63:
            raise UsageError(
                f"Tables of {len(NAMES)} tokens take at most 2097151 symbols; the vocabulary has "
                f"{n_symbols}. Give a smaller vocabulary."
            )
        if not (token_X != separator).any():
            raise UsageError("There is no token to count in the text. Give a text that has some.")
        self._n_symbols, self._separator = n_symbols, separator
        self._tables = [
            _Table(*self._cells(token_X, width), n_symbols) for width in range(len(NAMES))
        ]

    def nats(self, token_X: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``-log p`` of every token that is no separator, ``(X,)``, by table.

        Args:
            token_X: A text that was not counted, its documents separated.
        """
        p_X = np.full((token_X != self._separator).sum(), 1.0 / (self._n_symbols - 1))
        found = {}
        for width, (name, table) in enumerate(zip(NAMES, self._tables, strict=True)):
            context_X, value_X = self._cells(token_X, width)
            p_X = table.probability(context_X, value_X, p_X)
            found[name] = -np.log(p_X)
        return found

    def _cells(self, token_X: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Return contexts of some tokens and what stands behind, without separators."""
        padded_X = np.concatenate([np.full(width, self._separator), token_X])
        context_X = np.zeros(len(token_X), np.int64)
        for back in range(width):
            context_X = context_X * self._n_symbols + padded_X[back : back + len(token_X)]
        kept_X = token_X != self._separator
        return context_X[kept_X], token_X[kept_X].astype(np.int64)


class _Table:
    """Counts of the cells that were seen, of contexts of one width."""

    def __init__(self, context_X: np.ndarray, value_X: np.ndarray, n_symbols: int) -> None:
        self._n_symbols = n_symbols
        cell_X = context_X * n_symbols + value_X
        self._cell_C, self._count_C = np.unique(cell_X, return_counts=True)
        self._context_R, self._total_R = np.unique(context_X, return_counts=True)
        _, self._different_R = np.unique(self._cell_C // n_symbols, return_counts=True)
        once, twice = (1 + (self._count_C == seen).sum() for seen in (1, 2))
        self._discount = once / (once + 2 * twice)

    def probability(
        self, context_X: np.ndarray, value_X: np.ndarray, shorter_X: np.ndarray
    ) -> np.ndarray:
        """Return the probability of tokens; that of the shorter context where one is unknown."""
        count_X = _at(self._cell_C, self._count_C, context_X * self._n_symbols + value_X)
        total_X = _at(self._context_R, self._total_R, context_X)
        different_X = _at(self._context_R, self._different_R, context_X)
        taken_X = np.maximum(count_X - self._discount, 0.0) + (
            self._discount * different_X * shorter_X
        )
        return np.where(total_X > 0, taken_X / np.maximum(total_X, 1), shorter_X)


def _at(key_C: np.ndarray, value_C: np.ndarray, wanted_X: np.ndarray) -> np.ndarray:
    """Return the values of keys, which are in order, and 0 for those that are not there."""
    place_X = np.minimum(np.searchsorted(key_C, wanted_X), len(key_C) - 1)
    return np.where(key_C[place_X] == wanted_X, value_C[place_X], 0)
