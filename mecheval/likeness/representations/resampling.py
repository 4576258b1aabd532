"""Which rows stand beside which, which are drawn, and which documents are left out together.

Shape suffixes: ``N`` rows, ``M`` drawn rows, ``U`` rows among which to draw.
"""

from __future__ import annotations

import numpy as np

LARGEST_SHARE = 1 / 3
"""Of all rows, that one document may hold where documents are permuted as blocks."""

MAX_BLOCKS = 64
"""Of documents, that are left out one at a time."""


def partners(document_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return for every row another one, of another document, ``(N,)``: a permutation.

    Documents are put into a random order, one behind the other, and moved along by half of all
    rows, so that what follows on each other within a document still does. No row meets one of its
    own document where none holds more than a third of the rows.

    Args:
        document_N: The document of each row, from 0.
        rng: Source of the order.
    """
    sizes = np.bincount(document_N)
    order = rng.permutation(len(sizes))
    ends = np.cumsum(sizes[order])
    cut = ends[np.abs(ends - len(document_N) / 2).argmin()]
    row_N = np.argsort(np.argsort(order)[document_N], kind="stable")
    partner_N = np.empty_like(row_N)
    partner_N[row_N] = np.roll(row_N, -cut)
    return partner_N


def why_not_permuted(document_N: np.ndarray) -> str:
    """Say why documents cannot be permuted; empty where they can."""
    largest = np.bincount(document_N).max() / len(document_N)
    if largest <= LARGEST_SHARE:
        return ""
    return (
        f"one document holds {largest:.0%} of the rows: a third at most can be permuted so that "
        f"none meets itself"
    )


def drawn(
    document_N: np.ndarray, usable_U: np.ndarray, n_most: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw rows, one of every document before a second of any; return them in order, ``(M,)``.

    Args:
        document_N: The document of each row, from 0.
        usable_U: The rows among which to draw.
        n_most: How many at most.
        rng: Source of the draw.
    """
    row_U = usable_U[rng.permutation(len(usable_U))]
    if len(row_U) > n_most:
        document_U = document_N[row_U]
        order_U = np.argsort(document_U, kind="stable")
        sizes = np.bincount(document_U)
        within_U = np.empty_like(row_U)
        within_U[order_U] = np.arange(len(row_U)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        row_U = row_U[np.argsort(within_U, kind="stable")[:n_most]]
    return np.sort(row_U)


def blocks(document_N: np.ndarray, n_most: int, rng: np.random.Generator) -> np.ndarray:
    """Put whole documents into as many blocks at most; return the block of each row, ``(N,)``."""
    n_documents = int(document_N.max()) + 1
    if n_documents <= n_most:
        return document_N
    return (rng.permutation(n_documents) % n_most)[document_N]
