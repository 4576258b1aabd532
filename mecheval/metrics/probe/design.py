"""Standardised features with their Gram matrix, which all probes on the same features share.

Shape suffixes: ``N`` examples, ``D`` features, ``E`` features and a column of ones,
``S`` classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, get_blas_funcs

CONSTANT = 1e-5
"""Features that vary less, relative to the whole, vary by rounding only."""


@dataclass(frozen=True)
class Scaler:
    """Centres features and gives them unit variance.

    Attributes:
        mean_D: Mean of every feature on the training examples.
        inverse_D: One over its standard deviation; 0 for a feature that is constant.
    """

    mean_D: np.ndarray
    inverse_D: np.ndarray

    def __call__(self, features_ND: np.ndarray) -> np.ndarray:
        """Return scaled features in float32."""
        return self.with_ones(features_ND)[:, :-1]

    def with_ones(self, features_ND: np.ndarray) -> np.ndarray:
        """Return scaled features in float32 with a last column of ones, ``(N, E)``."""
        scaled_NE = _centred_with_ones(features_ND, self.mean_D)
        scaled_NE[:, :-1] *= self.inverse_D
        return scaled_NE


@dataclass(frozen=True)
class Design:
    """Training features as probes are fitted on them.

    Attributes:
        scaler: Scaling of the features.
        rows_NE: Scaled features, and a column of ones.
        gram_EE: rows^T rows / N; the upper triangle only.
    """

    scaler: Scaler
    rows_NE: np.ndarray
    gram_EE: np.ndarray


def design(train_ND: np.ndarray, *, scale: float | None = None) -> Design:
    """Standardise training features.

    Args:
        train_ND: Training features.
        scale: Typical standard deviation before anything was erased. A feature that varies by
            less than 1e-5 of it varies by rounding only, and would be blown up to a signal.
    """
    mean_D = train_ND.mean(0, dtype=np.float64)
    rows_NE = _centred_with_ones(train_ND, mean_D)
    centred_ND = rows_NE[:, :-1]
    std_D = np.sqrt(np.einsum("nd,nd->d", centred_ND, centred_ND) / len(centred_ND))
    typical = float(np.sqrt((std_D**2).mean())) if scale is None else scale
    with np.errstate(divide="ignore"):
        inverse_D = np.where(std_D > CONSTANT * typical, 1.0 / std_D, 0.0).astype(np.float32)
    centred_ND *= inverse_D
    return Design(Scaler(mean_D, inverse_D), rows_NE, upper_gram(rows_NE) / len(rows_NE))


def _centred_with_ones(features_ND: np.ndarray, mean_D: np.ndarray) -> np.ndarray:
    n_rows, width = features_ND.shape
    rows_NE = np.ones((n_rows, width + 1), np.float32)
    mean_D = mean_D.astype(features_ND.dtype)  # float64 features are centred in float64
    np.subtract(features_ND, mean_D, out=rows_NE[:, :-1], casting="same_kind")
    return rows_NE


def upper_gram(rows_NE: np.ndarray) -> np.ndarray:
    """Return the upper triangle of rows^T rows, in half the time of the matrix product."""
    (syrk,) = get_blas_funcs(("syrk",), dtype=rows_NE.dtype)
    return syrk(1.0, np.ascontiguousarray(rows_NE).T)


def factor(gram_EE: np.ndarray, ridge: float) -> tuple[np.ndarray, bool]:
    """Return the Cholesky factor of Gram + ridge, as :func:`scipy.linalg.cho_solve` takes it.

    Args:
        gram_EE: Gram matrix of a design.
        ridge: What is added to the diagonal of all features, but not of the column of ones.
    """
    damped_EE = gram_EE.copy(order="F")
    damped_EE.flat[: -1 : len(damped_EE) + 1] += ridge
    return cho_factor(damped_EE, overwrite_a=True, check_finite=False)


def one_hot(labels_JN: np.ndarray, n_classes: int) -> np.ndarray:
    """Return 1 at the class of every label and 0 at the others, ``(..., S, N)`` in float32."""
    return (labels_JN[..., None, :] == np.arange(n_classes)[:, None]).astype(np.float32)
