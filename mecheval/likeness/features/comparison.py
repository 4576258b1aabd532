"""Best partners of latents, both ways, from one walk over blocks of the products of codes.

With ``F`` the codes of a side, ``s`` and ``q`` a latent's sum and sum of squares over n rows::

    rho_ij = (n S_ij - s_i s_j) / sqrt((n q_i - s_i^2) (n q_j - s_j^2)),     S = F_A' F_B
    MPPC(A -> B) = mean_i max_j rho_ij                                      (arXiv:2410.06672)

Beyond groups of rows, such as tokens, ``F - E[F | group]`` stands in place of F: what the means of
all groups explain is taken off the sums, as the mean of all rows is above, which is one group. The
products of all latents with all others are never held at once.

Shape suffixes: ``N`` rows, ``M`` latents of A, ``L`` latents of B.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval.errors import UsageError
from mecheval.likeness.features.firings import Firings, as_codes
from mecheval.likeness.features.floors import floors
from mecheval.likeness.features.match import Features
from mecheval.likeness.features.walk import Walk
from mecheval.likeness.representations.arrays import as_labels
from mecheval.likeness.representations.resampling import blocks
from mecheval.likeness.representations.score import MIN_BLOCKS
from mecheval.seeding import stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import ArrayLike
    from scipy import sparse

N_BLOCKS = 10
MIN_FIRINGS = 25
"""Fewest rows in which a latent fires that is matched: the best of many is large by chance."""

ENOUGH_ROWS = 100_000
"""Rows from which on the largest of a thousand correlations is hardly raised by chance."""


def compare_features(
    codes_a: sparse.sparray | ArrayLike | Any,
    codes_b: sparse.sparray | ArrayLike | Any,
    groups_N: ArrayLike | None = None,
    documents_N: ArrayLike | None = None,
    *,
    labels: Mapping[str, ArrayLike] | None = None,
    n_blocks: int = N_BLOCKS,
    min_firings: int = MIN_FIRINGS,
    seed: int = 0,
) -> Features:
    """Say how alike the features of two dictionaries are that were read from the same rows.

    The score is MPPC: of every latent the largest correlation with a latent of the other side,
    averaged. It grows with the number of latents to choose from and with the training of the
    dictionaries, two dictionaries of one network reach 0.5 to 0.6, and most of it is the current
    token: an untrained network may score as much as a second seed. So give ``groups_N``, the token
    of each row, and compare with the score of an untrained network and of a second seed
    (:func:`mecheval.likeness.features.place_between`).

    Args:
        codes_a: Codes ``(N, M)`` of one dictionary: ``SparseCodes``, sparse or dense.
        codes_b: Codes ``(N, L)`` of the other, of the same rows.
        groups_N: A label per row, such as its token: all is said a second time of what is left
            without the means of the groups.
        documents_N: The document of each row. The partner is chosen on one half of the documents
            and read on the other; rows are documents where there are none, and no interval then.
        labels: Further labels per row by name, such as the last two tokens, to hold single ones of
            them against the latents (``floors_a``); groups are, too.
        n_blocks: Blocks of documents that are left out one after another for intervals; 2 for none.
        min_firings: Fewest rows in which a latent fires that counts.
        seed: Decides which documents are in which block.

    Raises:
        UsageError: The codes are not of equally many rows, or there is not one label per row.

    Examples:
        >>> import mecheval, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> codes = rng.exponential(size=(2000, 8)) * (rng.random((2000, 8)) < 0.1)
        >>> found = mecheval.compare_features(codes, 3 * codes[:, ::-1])
        >>> round(found.a_to_b.value, 6), found.a_to_b.partner_M.tolist()
        (1.0, [7, 6, 5, 4, 3, 2, 1, 0])
        >>> other = rng.exponential(size=(2000, 8)) * (rng.random((2000, 8)) < 0.1)
        >>> abs(mecheval.compare_features(codes, other).a_to_b.held_out) < 0.05
        True
    """
    a, b = as_codes(codes_a, "codes_a"), as_codes(codes_b, "codes_b")
    n_rows, n_rows_b = len(a.indptr) - 1, len(b.indptr) - 1
    if n_rows != n_rows_b:
        raise UsageError(
            f"codes_a has {n_rows} rows and codes_b has {n_rows_b}; row i of both must be of the "
            "same token: give the codes of the same tokens, in the same order."
        )
    if n_blocks < 2 or min_firings < 1:
        raise UsageError(
            f"n_blocks is at least 2 and min_firings at least 1; got {n_blocks} and {min_firings}."
        )
    block_N = _blocks(documents_N, n_rows, n_blocks, seed)
    sides = Firings.of(a, block_N), Firings.of(b, block_N)
    of_label = {name: as_labels(each, n_rows, name) for name, each in (labels or {}).items()}
    groupings = [np.zeros(n_rows, np.int64)]
    if groups_N is not None:
        of_label = {"group": as_labels(groups_N, n_rows, "groups_N"), **of_label}
        groupings.append(of_label["group"])
    intervals = documents_N is not None and int(block_N.max()) + 1 >= MIN_BLOCKS
    walk = Walk(sides, block_N, groupings, min_firings, intervals=intervals)
    plain, *beyond = walk.matches()
    both = beyond[0] if beyond else (None, None)
    return Features(
        *plain,
        *both,
        *(floors(csr, of_label, min_firings) for csr in (a, b)),
        cautions=tuple(_cautions(sides, n_rows)),
    )


def _blocks(documents_N: ArrayLike | None, n_rows: int, n_blocks: int, seed: int) -> np.ndarray:
    """Return the block of documents of each row; blocks of even numbers are one half."""
    rng = stream(seed, "likeness", "features")
    if documents_N is None:
        return rng.permutation(n_rows) % 2
    document_N = as_labels(documents_N, n_rows, "documents_N")
    if document_N.max() < 1:
        raise UsageError("documents_N names one document; give two at least, or none.")
    n_blocks = min(n_blocks, int(document_N.max()) + 1)
    return blocks(document_N, n_blocks, rng) if n_blocks <= document_N.max() else document_N


def _cautions(sides: tuple[Firings, Firings], n_rows: int) -> Iterator[str]:
    n_a, n_b = (side.n_latents for side in sides)
    if n_a != n_b:
        yield (
            f"A has {n_a} latents and B {n_b}: the best of more is larger, so that the two ways "
            "differ for this alone"
        )
    if n_rows < ENOUGH_ROWS:
        yield (
            f"{n_rows} rows: below {ENOUGH_ROWS} the largest of many correlations is raised by "
            "chance; the held-out values are not"
        )
