"""Documents of a grammar: drawn many at once, with their trees, and what can be asked of them.

A tree is held as the depth of every token: a token's parent is the next one to its right that is
less deep. That is so because heads stand to the right of all that they are the parent of.

Shape suffixes: ``N`` symbols of all documents in a row, ``B`` documents, ``L`` places of a document
(padded with -1), ``D`` depths, ``X`` constituents that are expanded, ``S`` their symbols.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mecheval.tasks.treecall.grammar import Grammar

NONE = -1
"""Where there is no token, no depth, no parent."""


def draw_trees(
    grammar: Grammar, rng: np.random.Generator, n: int, *, least: int, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``n`` trees, and keep those of ``least`` to ``most`` tokens.

    All constituents of all documents are expanded in each round, of which there are no more than
    levels of nonterminals; a document that has become too long is given up.

    Args:
        grammar: The grammar.
        rng: Decides the trees.
        n: Number of trees before any is given up.
        least: Fewest tokens.
        most: Most tokens.

    Returns:
        Tokens and their depths, ``(B, most)`` each with B at most ``n``, padded with -1.
    """
    symbol_N = grammar.n_terminals + rng.integers(grammar.n_nonterminals, size=n)
    depth_N, row_N = np.zeros(n, np.int64), np.arange(n)
    while (symbol_N >= grammar.n_terminals).any():
        symbol_N, depth_N, row_N = _expanded(grammar, rng, symbol_N, depth_N, row_N)
        short_N = np.bincount(row_N, minlength=n)[row_N] <= most
        symbol_N, depth_N, row_N = symbol_N[short_N], depth_N[short_N], row_N[short_N]
    length_B = np.bincount(row_N, minlength=n)
    enough_N = length_B[row_N] >= least
    symbol_N, depth_N, row_N = symbol_N[enough_N], depth_N[enough_N], row_N[enough_N]
    length_B = length_B[length_B >= max(least, 1)]
    start_B = length_B.cumsum() - length_B
    row_N = np.repeat(np.arange(len(length_B)), length_B)
    place_N = np.arange(len(row_N)) - start_B[row_N]
    token_BL = np.full((len(length_B), most), NONE)
    depth_BL = np.full_like(token_BL, NONE)
    token_BL[row_N, place_N], depth_BL[row_N, place_N] = symbol_N, depth_N
    return token_BL, depth_BL


def _expanded(
    grammar: Grammar,
    rng: np.random.Generator,
    symbol_N: np.ndarray,
    depth_N: np.ndarray,
    row_N: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put a right-hand side and a head in the place of every nonterminal."""
    open_N = symbol_N >= grammar.n_terminals
    kind_X = symbol_N[open_N] - grammar.n_terminals
    rule_X = grammar.draw_rules(rng, kind_X)
    length_X = grammar.length_AR[kind_X, rule_X]
    symbol_XS = np.pad(grammar.rhs_ARS[kind_X, rule_X], ((0, 0), (0, 1)))
    symbol_XS[np.arange(len(kind_X)), length_X] = grammar.draw_heads(rng, kind_X)
    place_S = np.arange(symbol_XS.shape[1])
    filled_XS = place_S <= length_X[:, None]
    size_N = np.ones_like(symbol_N)
    size_N[open_N] = length_X + 1
    fresh_N, depth_N = np.repeat(open_N, size_N), np.repeat(depth_N, size_N)
    symbol_N = np.repeat(symbol_N, size_N)
    symbol_N[fresh_N] = symbol_XS[filled_XS]
    depth_N[fresh_N] += (place_S < length_X[:, None])[filled_XS]
    return symbol_N, depth_N, np.repeat(row_N, size_N)


def parents(depth_BL: np.ndarray) -> np.ndarray:
    """Return the place of every token's parent, -1 for the root and where there is no token.

    Args:
        depth_BL: Depth of every token, -1 where there is none.
    """
    n, nowhere = len(depth_BL), max(int(depth_BL.max(initial=0)), 0) + 1
    level_LB = np.where(depth_BL < 0, nowhere, depth_BL).T
    cell_LB = level_LB * n + np.arange(n)
    parent_LB = np.empty(level_LB.shape, np.int64)
    # The place of the last token of every depth, seen from the right, under one more than it.
    seen = np.full((nowhere + 2) * n, NONE)
    for place in range(len(cell_LB) - 1, -1, -1):
        parent_LB[place] = seen[cell_LB[place]]
        seen[cell_LB[place] + n] = place
    return np.where(depth_BL < 0, NONE, parent_LB.T)


def last_siblings(parent_BL: np.ndarray) -> np.ndarray:
    """Return the place of the rightmost child of every token's parent, which may be itself.

    Args:
        parent_BL: What :func:`parents` returns.
    """
    row_X, place_X = np.nonzero(parent_BL >= 0)
    last_BL = np.full_like(parent_BL, NONE)
    last_BL[row_X, parent_BL[row_X, place_X]] = place_X  # of several, the last one stays
    found_BL = np.take_along_axis(last_BL, np.maximum(parent_BL, 0), 1)
    return np.where(parent_BL >= 0, found_BL, NONE)


def rightmost(token_BL: np.ndarray) -> np.ndarray:
    """Say of every place whether its token does not occur again to its right.

    Args:
        token_BL: Tokens, -1 where there is none.
    """
    n_places = token_BL.shape[1]
    code_BL = np.sort(token_BL * n_places + np.arange(n_places), axis=1)
    ends_BL = np.ones(token_BL.shape, bool)
    ends_BL[:, :-1] = code_BL[:, 1:] // n_places != code_BL[:, :-1] // n_places
    last_BL = np.empty_like(ends_BL)
    np.put_along_axis(last_BL, code_BL % n_places, ends_BL, 1)
    return last_BL & (token_BL >= 0)


def most_frequent(token_BL: np.ndarray) -> np.ndarray:
    """Return the token that occurs most often in every document; the least of several.

    Args:
        token_BL: Tokens, -1 where there is none.
    """
    ordered_BL, place_L = np.sort(token_BL, axis=1), np.arange(token_BL.shape[1])
    new_BL = np.ones(token_BL.shape, bool)
    new_BL[:, 1:] = ordered_BL[:, 1:] != ordered_BL[:, :-1]
    start_BL = np.maximum.accumulate(np.where(new_BL, place_L, 0), axis=1)
    count_BL = np.where(ordered_BL < 0, NONE, place_L - start_BL)
    return ordered_BL[np.arange(len(token_BL)), count_BL.argmax(1)]


def draw_queries(
    rng: np.random.Generator, eligible_BL: np.ndarray, target_BL: np.ndarray | None, n: int
) -> np.ndarray:
    """Draw up to ``n`` different eligible places of every document, in random order.

    Args:
        rng: Decides the places.
        eligible_BL: Which places can be asked for.
        target_BL: Where the answers stand, to draw answers uniformly and then one of their
            places; None to draw places uniformly. Later ones are drawn like that from the rest,
            with the weights of the first.
        n: Most places of a document.

    Returns:
        Places ``(B, n)``, -1 where a document has fewer.
    """
    weight_BL = eligible_BL.astype(float)
    if target_BL is not None:
        n_rows, n_places = target_BL.shape
        code_BL = np.arange(n_rows)[:, None] * n_places + np.maximum(target_BL, 0)
        n_asking = np.bincount(code_BL[eligible_BL], minlength=target_BL.size)
        weight_BL[eligible_BL] /= n_asking[code_BL[eligible_BL]]
    # The least of exponential times is each one's in proportion to its rate.
    time_BL = rng.standard_exponential(eligible_BL.shape)
    np.divide(time_BL, weight_BL, out=time_BL, where=eligible_BL)
    time_BL[~eligible_BL] = np.inf
    place_BQ = np.argsort(time_BL, axis=1)[:, :n]
    found_BQ = np.take_along_axis(eligible_BL, place_BQ, 1)
    return np.where(found_BQ, place_BQ, NONE)
