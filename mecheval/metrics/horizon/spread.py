"""Spread over distance: how wide a class is against how far from it the nearest one is, on arrays.

Shape suffixes: ``N`` sequences to fit on, ``U`` held-out sequences, ``T`` positions, ``D`` residual
width, ``K`` classes, ``R`` resamples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

SHRINKAGE = 1e-3
"""What is added to every variance, as a share of the mean variance of a direction: directions that
do not vary at all cannot be divided by what they vary."""


class Line(NamedTuple):
    """The line on which two classes lie furthest apart, of the two that are nearest to each other.

    Attributes:
        direction_D: The line, from the second class to the first.
        first: The first of the two values.
        second: The second.
    """

    direction_D: np.ndarray
    first: int
    second: int


def nearest(stream_NTD: np.ndarray, label_NT: np.ndarray, classes: Sequence[int]) -> Line:
    """Find the two classes that are hardest to tell apart, and the line that does so best.

    All positions are taken together. With class means m, and the covariance S of what is left of
    the activations without their class's mean, the line between a and b is
    w = (S + s I)^-1 (m_a - m_b) (Fisher's discriminant; s is :data:`SHRINKAGE` of the mean
    variance), and the nearest are those with the least (w^T (m_a - m_b))^2 / w^T S w.

    Args:
        stream_NTD: Activations.
        label_NT: Values of the variable; others than ``classes`` are left out.
        classes: Two values or more.
    """
    mean_KD = np.stack([stream_NTD[label_NT == value].mean(0, dtype=float) for value in classes])
    spread_DD = _within(stream_NTD, label_NT, classes, mean_KD)
    line_KD = np.linalg.solve(spread_DD + _added(spread_DD) * np.eye(len(spread_DD)), mean_KD.T).T
    reach_KK = _of_differences(line_KD @ mean_KD.T)
    spread_KK = _of_differences(line_KD @ spread_DD @ line_KD.T)
    upper = np.triu_indices(len(classes), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        blur = spread_KK[upper] / reach_KK[upper] ** 2
    hardest = np.nan_to_num(blur, nan=np.inf).argmax()  # 0 / 0 where two means are the same
    first, second = (int(index[hardest]) for index in upper)
    return Line(line_KD[first] - line_KD[second], classes[first], classes[second])


def _within(
    stream_NTD: np.ndarray, label_NT: np.ndarray, classes: Sequence[int], mean_KD: np.ndarray
) -> np.ndarray:
    """Return the covariance around class means ``(D, D)``, summed position by position."""
    width = stream_NTD.shape[-1]
    sum_DD, n = np.zeros((width, width)), -len(classes)
    for position, label_N in enumerate(label_NT.T):
        kept_N = np.isin(label_N, classes)
        class_N = np.searchsorted(classes, label_N[kept_N])
        inside_ND = stream_NTD[kept_N, position] - mean_KD[class_N]
        sum_DD += inside_ND.T @ inside_ND
        n += len(inside_ND)
    return sum_DD / n


def _added(spread_DD: np.ndarray) -> float:
    """Return what is added to all variances: anything will do where nothing varies."""
    return SHRINKAGE * float(np.trace(spread_DD)) / len(spread_DD) or 1.0


def _of_differences(product_KK: np.ndarray) -> np.ndarray:
    """Return (a - b)^T M (a - b) of all pairs, from a^T M b of all pairs."""
    own_K = product_KK.diagonal()
    return own_K[:, None] + own_K - product_KK - product_KK.T


def along(
    line: Line, stream_UTD: np.ndarray, label_UT: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return where held-out sequences are on a line, and in which of the two classes.

    Returns:
        Places ``(U, T)``, whose mean is 0 at every position, and 1 and 0 ``(2, U, T)`` for being in
        either class.
    """
    of_2UT = np.stack([label_UT == line.first, label_UT == line.second]).astype(float)
    place_UT = stream_UTD @ line.direction_D
    return place_UT - place_UT.mean(0), of_2UT


def over_distance(place_UT: np.ndarray, of_2UT: np.ndarray, weight_RU: np.ndarray) -> np.ndarray:
    """Return the spread within two classes over the distance of their means, by position.

    rho = sqrt((SS_a + SS_b) / (n_a + n_b - 2)) / (mean_a - mean_b), with the sums of squares around
    the means of the classes.

    Args:
        place_UT: Where the sequences are on the line, at every position.
        of_2UT: 1 for the sequences that are in either class there.
        weight_RU: How often each resample holds each sequence.

    Returns:
        ``(R, T)``; infinite where the first class does not lie beyond the second one.
    """
    means, left_RT, n_RT = [], 0.0, 0.0
    for of_UT in of_2UT:
        size_RT = weight_RU @ of_UT
        with np.errstate(invalid="ignore"):
            mean_RT = weight_RU @ (of_UT * place_UT) / size_RT
        squares_RT = weight_RU @ (of_UT * place_UT**2)
        left_RT = left_RT + np.maximum(squares_RT - size_RT * mean_RT**2, 0.0)
        n_RT, means = n_RT + size_RT, [*means, mean_RT]
    distance_RT = means[0] - means[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio_RT = np.sqrt(left_RT / np.maximum(n_RT - 2, 1)) / distance_RT
    return np.where(distance_RT > 0, ratio_RT, np.inf)


def threshold(right: float, n_classes: int) -> float:
    """Return the spread over distance of states of which a share is right, and no other noise.

    Every word is at the point of its class with the probability ``right``, and else at that of one
    of the other classes, all of them alike; the points are those of a simplex. On the line between
    two of them a word of the first is then at 1/2 with the probability p, at -1/2 with
    q = (1 - p) / (K - 1), and else at 0, so that with its mean m = (p - q) / 2

        rho^2 = ((p + q) / 4 - m^2) / (2 m)^2.

    For p = .9 these are .375, .281, .217 for 2, 3 and 6 classes. Of two normal distributions with
    rho = .375 the nearer mean is the right one in .909: it is of little matter whether states are
    blurred or wrong.

    Args:
        right: Share of the words whose state is right, above 1 / K.
        n_classes: Number of classes K.
    """
    wrong = (1 - right) / (n_classes - 1)
    mean = (right - wrong) / 2
    return float(np.sqrt((right + wrong) / 4 - mean**2) / (2 * mean))
