"""What single labels of rows, such as the current token, correlate with latents at best.

Shape suffixes: ``N`` rows, ``M`` latents, ``V`` labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Mapping

N_LABELS = 1024
"""Commonest labels that are held against latents, as many as a small dictionary has latents."""


def floors(csr: Any, labels: Mapping[str, np.ndarray], min_firings: int) -> dict[str, float | None]:
    """Return the mean over latents of the largest correlation with one label's indicator.

    A table of labels that knows no network would be matched so well. None where no latent fires
    often enough, or no label varies.

    Args:
        csr: Codes ``(N, M)``, sparse by rows.
        labels: Labels of the rows by name, each whole numbers from 0 ``(N,)``.
        min_firings: Fewest rows in which a latent fires, and that have a label.
    """
    return {name: _floor(csr, label_N, min_firings) for name, label_N in labels.items()}


def _floor(csr: Any, label_N: np.ndarray, min_firings: int) -> float | None:
    n_rows, n_latents = csr.shape
    count_V = np.bincount(label_N)
    common_V = np.argsort(-count_V, kind="stable")[:N_LABELS]
    common_V = common_V[(count_V[common_V] >= min_firings) & (count_V[common_V] < n_rows)]
    frequent_M = np.bincount(csr.indices, minlength=n_latents) >= min_firings
    if not len(common_V) or not frequent_M.any():
        return None
    place_V = np.full(len(count_V), -1)
    place_V[common_V] = np.arange(len(common_V))
    row_N = np.flatnonzero(place_V[label_N] >= 0)
    indicator_VN: Any = sparse.csr_array(
        (np.ones(len(row_N)), (place_V[label_N[row_N]], row_N)), shape=(len(common_V), n_rows)
    )
    together_VM = (indicator_VN @ csr).toarray()
    sum_M = np.bincount(csr.indices, csr.data, n_latents)
    square_M = np.bincount(csr.indices, csr.data**2, n_latents)
    count_V = count_V[common_V]
    spread_V = np.sqrt(count_V - count_V**2 / n_rows)
    left_M = square_M - sum_M**2 / n_rows
    frequent_M &= left_M > 1e-9 * square_M
    if not frequent_M.any():
        return None
    rho_VM = (together_VM - np.outer(count_V, sum_M) / n_rows)[:, frequent_M]
    rho_VM /= np.outer(spread_V, np.sqrt(left_M[frequent_M]))
    return float(rho_VM.max(0).mean())
