"""How alike two sets of activations of the same tokens are, by six measures beside their nulls.

Shape suffixes: ``N`` rows, ``M`` drawn rows, ``D`` columns of X, ``E`` columns of Y, ``P``
permutations, ``B`` rows that are kept, ``U`` rows among which to draw.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval.errors import UsageError
from mecheval.likeness.representations import dissimilarity, linear, neighbours, resampling
from mecheval.likeness.representations.arrays import NOTHING, Rows, as_labels, as_pair
from mecheval.likeness.representations.score import MIN_BLOCKS, Found, Score, score_of
from mecheval.seeding import stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike
    from torch import Tensor

    from mecheval.likeness.representations.moments import Moments

NAMES = (*linear.NAMES, "rsa", "mutual_knn")
"""The measures, each also followed by :data:`WITHOUT_MEANS` where groups are given."""

WITHOUT_MEANS = "_without_means"
N_PERMUTATIONS = 20
MIN_ROWS = 10

_MEMORY = 2**30  # bytes that the moments of blocks of documents take
_DRAWN = (
    ("rsa", dissimilarity.rank_similarity, dissimilarity.N_ROWS, True),
    ("mutual_knn", neighbours.mutual_neighbours, neighbours.N_ROWS, False),
)
"""Measures of drawn rows: name, function, rows at most, whether a row's own mean is taken off."""


def compare_representations(
    X_ND: ArrayLike | Tensor,
    Y_NE: ArrayLike | Tensor,
    groups_N: ArrayLike | Tensor | None = None,
    documents_N: ArrayLike | Tensor | None = None,
    *,
    seed: int = 0,
    n_permutations: int = N_PERMUTATIONS,
) -> dict[str, Score]:
    """Say how alike two sets of activations are: CKA, debiased CKA, Procrustes, SVCCA, RSA, kNN.

    Rows belong together: row i of both is of the same token of the same text. Most of what two
    networks have in common is often the current token, which an untrained network knows as well:
    with ``groups_N`` (the token of each row) every score is there a second time, of what is left
    when each row's mean over the rows of its group is taken off; rows that are alone in their group
    are left out of these. A raw value says little by itself: width and number of rows alone make
    0.1 to 0.15 of SVCCA and Procrustes in rows that are unrelated. Beside it stands the mean over
    permutations of documents (of rows, where no documents are given), and the value calibrated
    by it, as arXiv:2602.14486 recommends.

    CKA is ruled by the directions of largest variance, so that one outlying column can hide
    everything else; RSA and kNN look at the angles between rows, are of 800 and 2000 rows at most,
    and leave out rows without a direction. The sums are in float64, over blocks of rows.

    Args:
        X_ND: Activations of one network; any type of real numbers, of NumPy or torch.
        Y_NE: Activations of the other; of any width.
        groups_N: What is to be beyond: a label per row, such as its token.
        documents_N: The document of each row. Documents are permuted as wholes, and rows of the
            same are no neighbours and no pair of RSA. Intervals are made by leaving out one after
            another (or one of 64 blocks of them); there are none without.
        seed: Seed of draws and permutations.
        n_permutations: How many the null is the mean of; 0 for none.

    Returns:
        The scores by name: :data:`NAMES`, with groups also ``cka_without_means`` and so on. What is
        undefined is None, with the reason in ``Score.reasons``.

    Raises:
        UsageError: The arrays are not two-dimensional, finite, and of equally many rows; or there
            is not one label per row.

    Examples:
        >>> import mecheval, torch
        >>> x_ND = torch.randn(400, 16, generator=torch.Generator().manual_seed(0))
        >>> turned_ND = x_ND @ torch.linalg.qr(x_ND[:16])[0]
        >>> found = mecheval.compare_representations(x_ND, turned_ND, groups_N=[0, 1] * 200)
        >>> round(found["cka"].value, 3), round(found["mutual_knn_without_means"].value, 3)
        (1.0, 1.0)
        >>> other_ND = torch.randn(400, 24, generator=torch.Generator().manual_seed(1))
        >>> score = mecheval.compare_representations(x_ND, other_ND)["svcca"]
        >>> score.value > 0.1, abs(score.calibrated) < 0.05  # unrelated, and not 0 by itself
        (True, True)
        >>> score.reasons["interval"]
        'no documents are given to be left out one at a time'
    """
    if n_permutations < 0:
        raise UsageError(f"n_permutations is 0 or more; got {n_permutations}.")
    x, y = as_pair(X_ND, Y_NE)
    document_N = None
    if documents_N is not None:
        document_N = as_labels(documents_N, len(x), "documents_N")
    draws = _Draws(seed, n_permutations)
    found = _scores(x, y, document_N, None, draws)
    if groups_N is not None:
        group_N = as_labels(groups_N, len(x), "groups_N")
        beyond = _scores(x, y, document_N, group_N, draws)
        found |= {f"{name}{WITHOUT_MEANS}": score for name, score in beyond.items()}
    return found


def scores_of_moments(own_x: Moments, own_y: Moments, both: Moments) -> dict[str, Score]:
    """Return CKA, debiased CKA, Procrustes and SVCCA of sums over rows, however many there were.

    Args:
        own_x: Moments of one side with itself.
        own_y: Moments of the other with itself.
        both: Moments of the one with the other.

    Raises:
        UsageError: They are of different numbers of rows or columns.
    """
    shape = tuple(both.product_DE.shape)
    widths = len(own_x.sum_D), len(own_y.sum_D)
    rows = {int(moments.n) for moments in (own_x, own_y, both)}
    if shape != widths or len(rows) > 1:
        raise UsageError(
            f"Moments of a pair are of the same rows: got {sorted(rows)} rows, widths {widths} of "
            f"the sides and {shape} of both."
        )
    sides = linear.Side.of(own_x), linear.Side.of(own_y)
    values = linear.scores(*sides, both.centred_DE, float(both.centred_fourth))
    why = linear.reasons(*sides)
    n_rows, no_null = int(both.n), "moments have no rows to permute"
    found = {
        name: Found(None, why[name]) if name in why else Found(min(1.0, value), no_null=no_null)
        for name, value in values.items()
    }
    no_interval = "moments have no documents to leave out"
    return {name: score_of(replace(f, n=n_rows), no_interval, "") for name, f in found.items()}


@dataclass(frozen=True)
class _Draws:
    """Permutations and other draws, the same for all measures that ask for the same."""

    seed: int
    n_permutations: int

    def partners(self, document_N: np.ndarray) -> list[np.ndarray]:
        """Return the permutations of rows of these documents; none where there can be none."""
        if self.why_none(document_N):
            return []
        rng = self.rng("permutations")
        return [resampling.partners(document_N, rng) for _ in range(self.n_permutations)]

    def why_none(self, document_N: np.ndarray) -> str:
        """Say why there are no permutations; empty where there are."""
        if not self.n_permutations:
            return "no permutations are asked for"
        return resampling.why_not_permuted(document_N)

    def rng(self, purpose: str) -> np.random.Generator:
        """Return the generator of one purpose."""
        return stream(self.seed, "likeness", purpose)


def _scores(
    x: Rows, y: Rows, document_N: np.ndarray | None, group_N: np.ndarray | None, draws: _Draws
) -> dict[str, Score]:
    """Return the six scores, of rows as they are or of what is left without means of groups."""
    n_given, beyond = len(x), ""
    if group_N is not None:
        rows_B = np.flatnonzero(np.bincount(group_N)[group_N] > 1)
        if len(rows_B) < MIN_ROWS:
            return _undefined(
                f"{len(rows_B)} of {n_given} rows have another of their group beside them, and "
                f"{MIN_ROWS} at least are needed: nothing is left of a row without its own mean",
                n_given,
            )
        x, y = x.chosen(rows_B), y.chosen(rows_B)
        group_N = np.unique(group_N[rows_B], return_inverse=True)[1]
        document_N = document_N if document_N is None else _relabelled(document_N[rows_B])
        beyond = "beyond the means of its groups"
    if len(x) < MIN_ROWS:
        return _undefined(f"{len(x)} rows are too few: {MIN_ROWS} at least are needed", n_given)
    centred = x.centred(group_N), y.centred(group_N)
    angles = (x, y) if group_N is None else centred
    label_N = np.arange(len(x)) if document_N is None else document_N
    block_N = _blocks(document_N, draws)
    found = linear.linear_scores(*centred, draws.partners(label_N), block_N, beyond=beyond)
    no_null = draws.why_none(label_N)
    found = {name: replace(one, no_null=no_null) for name, one in found.items()}
    for name, measure, n_most, own_mean in _DRAWN:
        found[name] = _of_drawn(angles, label_N, block_N, draws, (name, measure, n_most, own_mean))
    n_alone, intervals = n_given - len(x), _intervals(document_N)
    return {
        name: score_of(replace(one, n_left_out=one.n_left_out + n_alone), *intervals)
        for name, one in found.items()
    }


def _of_drawn(
    sides: tuple[Rows, Rows],
    document_N: np.ndarray,
    block_N: np.ndarray | None,
    draws: _Draws,
    asked: tuple[str, Callable[..., Found], int, bool],
) -> Found:
    """Return a measure of drawn rows, all of which have a direction on both sides."""
    name, measure, n_most, own_mean = asked
    norms_N = np.minimum(*(side.norms(centred=own_mean) for side in sides))
    usable_U = np.flatnonzero(norms_N > NOTHING)
    row_M = resampling.drawn(document_N, usable_U, n_most, draws.rng(name))
    n_lost = len(norms_N) - len(usable_U)
    if len(row_M) < MIN_ROWS:
        kind = "the same in all columns" if own_mean else "zero"
        reason = f"{n_lost} of {len(norms_N)} rows are {kind} in X or Y, and have no direction"
        return Found(None, reason, n=len(row_M), n_left_out=n_lost)
    document_M = _relabelled(document_N[row_M])
    block_M = None if block_N is None else block_N[row_M]
    values = (side.at(row_M) for side in sides)
    found = measure(*values, document_M, draws.partners(document_M), block_M)
    return replace(found, n_left_out=n_lost, no_null=draws.why_none(document_M))


def _blocks(document_N: np.ndarray | None, draws: _Draws) -> np.ndarray | None:
    """Return what is left out together, of each row; None where intervals cannot be made."""
    if _intervals(document_N)[0] or document_N is None:
        return None
    return resampling.blocks(document_N, resampling.MAX_BLOCKS, draws.rng("blocks"))


def _intervals(document_N: np.ndarray | None) -> tuple[str, str]:
    """Say why there are no intervals, if there are none, and what is left out for them."""
    if document_N is None:
        return "no documents are given to be left out one at a time", ""
    n_documents = int(document_N.max()) + 1
    if n_documents < MIN_BLOCKS:
        return f"{n_documents} documents are too few: {MIN_BLOCKS} at least are needed", ""
    return "", "document" if n_documents <= resampling.MAX_BLOCKS else "block of documents"


def _undefined(reason: str, n_rows: int) -> dict[str, Score]:
    found = Found(None, reason, n_left_out=n_rows)
    return {name: score_of(found, "", "") for name in NAMES}


def _relabelled(label_N: Any) -> np.ndarray:
    """Return labels as whole numbers from 0 without gaps."""
    return np.unique(label_N, return_inverse=True)[1].reshape(-1)
