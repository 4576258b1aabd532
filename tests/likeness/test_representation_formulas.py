"""Every formula against a slow definition of it, and what nulls and intervals are made of."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import sparse_truth
import torch
from crossings import mostly_slow
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr, t
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

import mecheval
from mecheval.errors import UsageError
from mecheval.likeness.representations import (
    NAMES,
    Moments,
    arrays,
    neighbours,
    resampling,
    scores_of_moments,
)
from mecheval.likeness.representations.arrays import as_pair
from mecheval.likeness.representations.linear import NAMES as LINEAR
from mecheval.likeness.representations.linear import linear_scores
from mecheval.likeness.representations.score import score_of
from mecheval.seeding import stream

N, D, E = 120, 12, 9
RNG = np.random.default_rng(0)
X_ND = RNG.standard_normal((N, D)) * np.linspace(0.3, 2, D) + np.arange(D)
Y_NE = X_ND[:, :E] @ RNG.standard_normal((E, E)) + 2 * RNG.standard_normal((N, E)) - 5


def value(x: np.ndarray, y: np.ndarray, name: str) -> float:
    found = mecheval.compare_representations(x, y, n_permutations=0)[name].value
    assert found is not None
    return found


def unbiased_hsic(x_ND: np.ndarray, y_ND: np.ndarray) -> float:
    """Song et al. 2012, equation 4, with n x n matrices."""
    n = len(x_ND)
    k_NN, l_NN = x_ND @ x_ND.T, y_ND @ y_ND.T
    np.fill_diagonal(k_NN, 0)
    np.fill_diagonal(l_NN, 0)
    one_N = np.ones(n)
    both = one_N @ k_NN @ one_N * (one_N @ l_NN @ one_N) / ((n - 1) * (n - 2))
    return (np.trace(k_NN @ l_NN) + both - 2 / (n - 2) * (one_N @ k_NN @ l_NN @ one_N)) / (
        n * (n - 3)
    )


def test_debiased_cka_is_that_of_centred_kernels() -> None:
    found = value(X_ND, Y_NE, "debiased_cka")
    as_they_are, centred = (X_ND, Y_NE), (X_ND - X_ND.mean(0), Y_NE - Y_NE.mean(0))
    for (x, y), rounding in ((centred, 1e-12), (as_they_are, 1e-10)):
        own = math.sqrt(unbiased_hsic(x, x) * unbiased_hsic(y, y))
        assert found == pytest.approx(unbiased_hsic(x, y) / own, abs=rounding)


def test_cka_is_that_of_centred_kernels() -> None:
    centring_NN = np.eye(N) - 1 / N
    k_NN, l_NN = (centring_NN @ x @ x.T @ centring_NN for x in (X_ND, Y_NE))
    expected = (k_NN * l_NN).sum() / np.linalg.norm(k_NN) / np.linalg.norm(l_NN)
    assert value(X_ND, Y_NE, "cka") == pytest.approx(expected, abs=1e-12)


def test_procrustes_is_the_cosine_behind_the_best_rotation() -> None:
    """After it the distance of unit matrices is 2 - 2 times the score."""
    x_ND, y_ND = (z - z.mean(0) for z in (X_ND, np.pad(Y_NE, ((0, 0), (0, D - E)))))
    x_ND, y_ND = x_ND / np.linalg.norm(x_ND), y_ND / np.linalg.norm(y_ND)
    left_DD, _, right_DD = np.linalg.svd(x_ND.T @ y_ND)
    distance = np.linalg.norm(x_ND @ left_DD @ right_DD - y_ND) ** 2
    assert value(X_ND, Y_NE, "procrustes") == pytest.approx(1 - distance / 2, abs=1e-12)


def test_svcca_is_the_mean_canonical_correlation_of_principal_directions() -> None:
    kept = [PCA(0.99).fit_transform(z) for z in (X_ND, Y_NE)]
    n = min(z.shape[1] for z in kept)
    assert n < max(D, E)
    x_NK, y_NK = CCA(n, tol=1e-12, max_iter=100_000).fit_transform(*kept)
    correlations = [np.corrcoef(x_NK[:, k], y_NK[:, k])[0, 1] for k in range(n)]
    assert value(X_ND, Y_NE, "svcca") == pytest.approx(np.mean(correlations), abs=1e-6)


def test_rsa_is_spearmans_correlation_of_distances() -> None:
    expected = spearmanr(pdist(X_ND, "correlation"), pdist(Y_NE, "correlation")).statistic
    assert value(X_ND, Y_NE, "rsa") == pytest.approx(expected, abs=1e-9)


def test_neighbours_are_the_nearest_by_cosine() -> None:
    found = [
        NearestNeighbors(n_neighbors=neighbours.K, metric="cosine").fit(z).kneighbors()[1]
        for z in (X_ND, Y_NE)
    ]
    shared = [len({*one} & {*other}) for one, other in zip(*found, strict=True)]
    assert value(X_ND, Y_NE, "mutual_knn") == pytest.approx(np.mean(shared) / neighbours.K)


def test_nulls_are_means_over_permuted_rows() -> None:
    rng = stream(0, "likeness", "permutations")
    partner_PN = [resampling.partners(np.arange(N), rng) for _ in range(3)]
    found = mecheval.compare_representations(X_ND, Y_NE, n_permutations=3)
    for name in NAMES:
        by_hand = [value(X_ND, Y_NE[partner_N], name) for partner_N in partner_PN]
        assert found[name].null == pytest.approx(np.mean(by_hand), abs=1e-9)
        assert found[name].null_spread == pytest.approx(np.std(by_hand), abs=1e-9)


def test_distances_that_are_equal_but_for_rounding_are_tied() -> None:
    token_N = RNG.integers(8, size=N)
    one_ND, other_ND = RNG.standard_normal((8, D)), RNG.standard_normal((8, E))
    one_E, other_E = token_N[np.array(list(itertools.combinations(range(N), 2)))].T
    far = [(1 - np.corrcoef(z)) * (1 - np.eye(8)) for z in (one_ND, other_ND)]
    expected = spearmanr(*(z[one_E, other_E].round(9) for z in far)).statistic
    scale_N1 = RNG.uniform(1, 2, size=(N, 1))  # the same direction, rounded another way
    found = value(one_ND[token_N] * scale_N1, other_ND[token_N] * scale_N1[::-1], "rsa")
    assert found == pytest.approx(expected, abs=1e-9)


def test_what_is_left_without_means_is_what_is_compared() -> None:
    group_N = RNG.integers(6, size=N)
    residual = [
        z - np.array([z[group_N == g].mean(0) for g in range(6)])[group_N] for z in (X_ND, Y_NE)
    ]
    found = mecheval.compare_representations(X_ND, Y_NE, group_N)
    expected = mecheval.compare_representations(*residual)
    for name in NAMES:
        score, same = found[f"{name}_without_means"], expected[name]
        assert (score.value, score.null) == pytest.approx((same.value, same.null), abs=1e-9)


def test_moments_of_chunks_are_those_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the mean of the first chunk is far from that of all rows."""
    x_ND, y_NE = (torch.from_numpy(np.sort(z, axis=0) + 1e4) for z in (X_ND, Y_NE))

    def streamed(one: torch.Tensor, other: torch.Tensor) -> Moments:
        return Moments.of_chunks(zip(one.split(7), other.split(7), strict=True))

    pairs = (x_ND, x_ND), (y_NE, y_NE), (x_ND, y_NE)
    found = scores_of_moments(*(streamed(*pair) for pair in pairs))
    expected = mecheval.compare_representations(x_ND, y_NE)
    assert list(found) == list(LINEAR)
    for name, score in found.items():
        assert score.value == pytest.approx(expected[name].value, abs=1e-9)
        assert set(score.reasons) == {"null", "calibrated", "interval"}
        assert score.n == N
    monkeypatch.setattr(arrays, "BLOCK", 11)  # and blocks of rows give what all at once do
    monkeypatch.setattr(arrays, "_SMALL", 0)
    blocks = mecheval.compare_representations(x_ND, y_NE)
    for name in NAMES:
        score, same = blocks[name], expected[name]
        assert (score.value, score.null) == pytest.approx((same.value, same.null), abs=1e-9)


def test_moments_of_other_rows_are_refused() -> None:
    x_ND, y_NE = torch.from_numpy(X_ND), torch.from_numpy(Y_NE)
    own_x, own_y, both = (
        Moments.of_chunks([pair]) for pair in ((x_ND, x_ND), (y_NE, y_NE), (x_ND, y_NE))
    )
    fewer = Moments.of_chunks([(x_ND[1:], x_ND[1:])])
    for moments in ((fewer, own_y, both), (own_y, own_x, both)):
        with pytest.raises(UsageError, match="of the same rows"):
            scores_of_moments(*moments)
    with pytest.raises(UsageError, match="one block of rows at least"):
        Moments.of_chunks([])
    with pytest.raises(UsageError, match="119 rows on one side"):
        Moments.of_chunks([(x_ND[1:], y_NE)])
    three = (Moments.of_chunks([(z[:3], z[:3])]) for z in (x_ND, y_NE, x_ND))
    few = scores_of_moments(next(three), *[Moments.of_chunks([(x_ND[:3], x_ND[:3])])] * 2)
    assert "not above 0" in few["debiased_cka"].reasons["value"]


def test_documents_are_permuted_as_blocks_and_none_meets_itself() -> None:
    rng = np.random.default_rng(1)
    for sizes in 20 * ([1] * 9, [4] * 6, [1, 2, 3, 4, 5, 1, 2], [5, 5, 5], [6, 5, 7]):
        document_N = np.repeat(np.arange(len(sizes)), sizes)[rng.permutation(sum(sizes))]
        partner_N = resampling.partners(document_N, rng)
        assert sorted(partner_N) == list(range(len(document_N)))
        allowed = not resampling.why_not_permuted(document_N)
        assert allowed == (3 * max(sizes) <= sum(sizes))
        assert not allowed or (document_N[partner_N] != document_N).all()
    document_N = np.repeat(np.arange(50), 20)
    partner_N = resampling.partners(document_N, rng)
    follows = np.diff(partner_N) == 1  # within a document its rows still follow on each other
    assert follows.reshape(-1)[np.diff(document_N) == 0].all()
    other = resampling.partners(document_N, rng)
    assert (other != partner_N).any()


def test_a_document_that_is_most_of_the_text_leaves_no_null() -> None:
    document_N = np.r_[np.zeros(60, int), np.arange(1, 61)]
    found = mecheval.compare_representations(X_ND, Y_NE, None, document_N)
    for name in NAMES:
        assert found[name].value is not None
        assert found[name].null is None
        assert "holds 50% of the rows" in found[name].reasons["null"]
        assert "there is no null" in found[name].reasons["calibrated"]
    none = mecheval.compare_representations(X_ND, Y_NE, n_permutations=0)["cka"]
    assert none.reasons["null"] == "no permutations are asked for"


def test_rows_are_drawn_from_every_document_before_twice_from_one() -> None:
    rng = np.random.default_rng(2)
    document_N = np.repeat(np.arange(40), [1, 2, *[25] * 38])
    usable_U = np.flatnonzero(document_N != 7)
    counts = np.bincount(document_N[resampling.drawn(document_N, usable_U, 60, rng)], minlength=40)
    assert (counts.sum(), counts[7]) == (60, 0)
    assert set(np.delete(counts, 7)) == {1, 2}
    assert counts[0] == 1
    few = resampling.drawn(document_N, usable_U[:5], 60, rng)
    assert few.tolist() == usable_U[:5].tolist()


def test_rows_of_the_same_document_are_no_neighbours() -> None:
    """Every row stands twice in its document: it would be its own neighbour on both sides."""
    rng = np.random.default_rng(3)
    x_ND, y_ND = (np.repeat(rng.standard_normal((200, 8)), 2, axis=0) for _ in range(2))
    document_N = np.arange(400) // 2
    alone = mecheval.compare_representations(x_ND, y_ND)
    found = mecheval.compare_representations(x_ND, y_ND, None, document_N)
    assert alone["mutual_knn"].value > 0.1
    assert found["mutual_knn"].value == pytest.approx(neighbours.K / 398, abs=0.01)
    counted = [
        (one, other) for one, other in itertools.combinations(range(400), 2)
        if document_N[one] != document_N[other]
    ]  # fmt: skip
    one_E, other_E = np.array(counted).T

    def far(z_ND: np.ndarray) -> np.ndarray:
        r_NN = np.corrcoef(z_ND)
        return (1 - r_NN[one_E, other_E]).round(9)

    expected = spearmanr(far(x_ND), far(y_ND)).statistic
    assert found["rsa"].value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_intervals_are_those_of_leaving_out_documents(name: str) -> None:
    """By hand: the score without each of ten documents of equal size."""
    document_N = np.arange(N) % 10
    found = mecheval.compare_representations(X_ND, Y_NE, None, document_N)[name]
    assert found.interval is not None
    assert found.value is not None
    if name in LINEAR:
        without = [
            value(X_ND[document_N != k], Y_NE[document_N != k], name) for k in range(10)
        ]  # the other two hold ranks and neighbours fixed
        half = t.ppf(0.975, 9) * math.sqrt(0.9 * np.square(without - np.mean(without)).sum())
        low, high = found.value - half, min(1.0, found.value + half)
        assert found.interval[:2] == pytest.approx((low, high), abs=1e-9)
    assert found.interval.low < found.value <= found.interval.high <= 1.0
    assert (found.interval.method, found.interval.unit) == ("jackknife", "document")
    assert found.calibrated_interval is not None
    assert found.calibrated_interval.low < found.calibrated <= found.calibrated_interval.high
    few = mecheval.compare_representations(X_ND, Y_NE, None, document_N % 7)[name]
    assert "7 documents are too few" in few.reasons["interval"]


@pytest.mark.parametrize(
    "kind", mostly_slow(["another_dictionary", "independent"], always=["another_dictionary"])
)
def test_intervals_are_as_wide_as_scores_spread(kind: str) -> None:
    """Against the spread over fresh draws of rows, with documents of unequal size."""
    n_rows, sizes = 600, np.tile([4, 16], 30)
    document_N = np.repeat(np.arange(60), sizes)
    one_FD, other_FD = (sparse_truth.directions(np.random.default_rng(s)) for s in (1, 2))
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        one_NF = sparse_truth.codes(rng, n_rows)
        other_NF = one_NF if kind == "another_dictionary" else sparse_truth.codes(rng, n_rows)
        x, y = as_pair(one_NF @ one_FD, other_NF @ other_FD)
        x, y = x.centred(), y.centred()
        found.append(linear_scores(x, y, [], document_N))
    for name in LINEAR:
        scores = [score_of(each[name], "", "document") for each in found]
        halves = [(s.interval.high - s.interval.low) / 2 for s in scores if s.interval]
        spread = np.std([s.value for s in scores if s.value is not None])
        assert 0.8 < np.mean(halves) / 1.96 / spread < 2.2, name
