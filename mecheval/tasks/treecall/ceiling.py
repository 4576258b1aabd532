"""How often the best possible model is right about a token's parent.

Its answer is the token with the greatest posterior probability of being the parent, and that
probability is how often it is right. The posterior given the yield is the one given the whole
sequence where queries are drawn uniformly: which tokens can be asked for, and which are, then
depends on the yield alone. It is not where answers are drawn first, nor with a held-out split.

Shape suffixes: ``B`` documents, ``L`` places of a yield, ``Q`` queries, ``M`` documents of one
chart, ``G`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval import stats
from mecheval.tasks.treecall.inside import Chart

if TYPE_CHECKING:
    from mecheval.tasks.treecall.grammar import Grammar

_MOST_FLOATS = 1 << 23  # of a chart that is held at once


@dataclass(frozen=True)
class Ceiling:
    """The Bayes accuracy of a grammar.

    Attributes:
        accuracy: Estimated share of the queries that the best model answers.
        interval: Of it, by a bootstrap over documents.
        n_documents: Number of documents.
        n_queries: Number of queries.
    """

    accuracy: float
    interval: stats.Interval
    n_documents: int
    n_queries: int


def best_guesses(
    grammar: Grammar, token_BL: np.ndarray, place_BQ: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the likeliest token to be the parent of each queried place, and its probability.

    Args:
        grammar: The grammar that made the yields.
        token_BL: Terminals, -1 behind the last.
        place_BQ: Queried places, -1 for none.

    Returns:
        Terminals and probabilities, ``(B, Q)`` each; -1 and 0 for no query.
    """
    length_B = (token_BL >= 0).sum(1)
    order_B = np.argsort(length_B, kind="stable")
    token_BQ, share_BQ = np.full(place_BQ.shape, -1), np.zeros(place_BQ.shape)
    while len(order_B):
        # Documents of about one length, as many as a chart holds.
        floats_B = (length_B[order_B] + 1) ** 2 * grammar.n_nonterminals
        fits_B = floats_B * np.arange(1, len(order_B) + 1) <= _MOST_FLOATS
        row_M = order_B[: max(1, int(fits_B.argmin()) if not fits_B.all() else len(order_B))]
        order_B = order_B[len(row_M) :]
        token_ML = token_BL[row_M, : length_B[row_M[-1]]]
        parent_MLL = Chart(grammar, token_ML).parents()
        for query, place_M in enumerate(place_BQ[row_M].T):
            parent_ML = parent_MLL[np.arange(len(row_M)), np.maximum(place_M, 0)]
            same_MLL = token_ML[:, :, None] == token_ML[:, None]
            by_token_ML = (same_MLL * parent_ML[:, None]).sum(2)
            best_M = by_token_ML.argmax(1)
            known_M = place_M >= 0
            found_M, chance_M = token_ML[np.arange(len(row_M)), best_M], by_token_ML.max(1)
            token_BQ[row_M, query] = np.where(known_M, found_M, -1)
            share_BQ[row_M, query] = np.where(known_M, chance_M, 0.0)
    return token_BQ, share_BQ


def ceiling(grammar: Grammar, token_BL: np.ndarray, place_BQ: np.ndarray) -> Ceiling:
    """Estimate the Bayes accuracy from documents and uniformly drawn queries.

    Args:
        grammar: The grammar that made the yields.
        token_BL: Terminals, -1 behind the last.
        place_BQ: Queried places, -1 for none.
    """
    _, share_BQ = best_guesses(grammar, token_BL, place_BQ)
    right_B, asked_B = share_BQ.sum(1), (place_BQ >= 0).sum(1)

    def accuracy(index_GB: np.ndarray) -> np.ndarray:
        return right_B[index_GB].sum(-1) / asked_B[index_GB].sum(-1)

    drawn_G = stats.resamples(accuracy, len(asked_B), np.random.default_rng(0))
    return Ceiling(
        accuracy=float(right_B.sum() / asked_B.sum()),
        interval=stats.percentile_interval(drawn_G, unit="sequence"),
        n_documents=len(asked_B),
        n_queries=int(asked_B.sum()),
    )
