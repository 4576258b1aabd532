"""Best partners of latents: against what is done the long way, and on codes that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sparse_truth import pair

import mecheval
from mecheval.errors import UsageError
from mecheval.likeness.features import firings, place_between, share_explained, walk


def drawn(seed: int, n_rows: int = 600, n_latents: int = 12, rate: float = 0.2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.exponential(size=(n_rows, n_latents)) * (rng.random((n_rows, n_latents)) < rate)


def residual(codes_NM: np.ndarray, group_N: np.ndarray) -> np.ndarray:
    left_NM = codes_NM.copy()
    for group in np.unique(group_N):
        left_NM[group_N == group] -= codes_NM[group_N == group].mean(0)
    return left_NM


def correlations(a_NM: np.ndarray, b_NL: np.ndarray) -> np.ndarray:
    return np.corrcoef(a_NM.T, b_NL.T)[: a_NM.shape[1], a_NM.shape[1] :]


A, MIXED = drawn(0), drawn(1, n_latents=9)
MIXED[:, :5] += A[:, 3:8]
GROUP = np.random.default_rng(2).integers(0, 7, 600)
DOCUMENT = np.repeat(np.arange(60), 10)


@pytest.mark.parametrize("entries", [2**25, 300])
@pytest.mark.parametrize("small", [2**23, 0])
def test_as_the_long_way_in_blocks_of_any_size(monkeypatch, entries, small) -> None:
    monkeypatch.setattr(walk, "_ENTRIES", entries)
    monkeypatch.setattr(firings, "_DENSE", small)
    found = mecheval.compare_features(sparse.csr_array(A), MIXED, GROUP, DOCUMENT)
    rho_ML = correlations(A, MIXED)
    beyond_ML = correlations(residual(A, GROUP), residual(MIXED, GROUP))
    for match, rho in (
        (found.a_to_b, rho_ML), (found.b_to_a, rho_ML.T),
        (found.beyond_a_to_b, beyond_ML), (found.beyond_b_to_a, beyond_ML.T),
    ):  # fmt: skip
        np.testing.assert_allclose(match.best_M, rho.max(1), atol=1e-12)
        np.testing.assert_array_equal(match.partner_M, rho.argmax(1))
        assert match.value == pytest.approx(rho.max(1).mean())
        assert match.median == pytest.approx(np.median(rho.max(1)))
        assert match.share_high == pytest.approx((rho.max(1) > 0.7).mean())
        assert match.distinct == len({*rho.argmax(1).tolist()}) / len(rho)
        assert match.interval.low < match.value < match.interval.high


def test_the_partner_is_chosen_on_one_half_and_read_on_the_other() -> None:
    found = mecheval.compare_features(A, MIXED, documents_N=DOCUMENT % 2, min_firings=1)
    halves = [correlations(A[h == DOCUMENT % 2], MIXED[h == DOCUMENT % 2]) for h in (0, 1)]
    for match, turned in ((found.a_to_b, False), (found.b_to_a, True)):
        one, other = (half.T if turned else half for half in halves)
        every = np.arange(len(one))
        read = [other[every, one.argmax(1)], one[every, other.argmax(1)]]
        assert match.held_out == pytest.approx(np.mean(read))
        np.testing.assert_allclose(match.held_HM, read, atol=1e-12)
        np.testing.assert_allclose(match.held_out_M, np.mean(read, 0), atol=1e-12)
        np.testing.assert_allclose(match.chosen_HM, [one.max(1), other.max(1)], atol=1e-12)
        assert match.interval is None  # two documents are too few


def test_the_interval_is_of_all_blocks_left_out_one_by_one() -> None:
    found = mecheval.compare_features(A, MIXED, documents_N=DOCUMENT // 6, n_blocks=10)
    without = [
        correlations(A[b != DOCUMENT // 6], MIXED[b != DOCUMENT // 6]).max(1).mean()
        for b in range(10)
    ]
    half = 2.262157 * np.sqrt(9 / 10 * np.square(without - np.mean(without)).sum())
    assert found.a_to_b.interval.high - found.a_to_b.value == pytest.approx(half, rel=1e-6)
    assert found.a_to_b.interval.unit == "block of documents"


def test_what_changes_nothing() -> None:
    same = mecheval.compare_features(A, A)
    assert same.a_to_b.value == pytest.approx(1)
    turned = mecheval.compare_features(A, 2.5 * A[:, ::-1])
    assert turned.a_to_b.value == pytest.approx(1)
    assert turned.a_to_b.partner_M.tolist() == list(range(12))[::-1]
    dead = np.hstack([A, np.zeros((600, 3)), np.eye(600)[:, :3]])
    padded = mecheval.compare_features(dead, MIXED)
    assert padded.a_to_b.value == pytest.approx(mecheval.compare_features(A, MIXED).a_to_b.value)
    assert padded.a_to_b.n_left_out == 6
    assert np.isnan(padded.a_to_b.best_M[12:]).all()
    ours, theirs = mecheval.compare_features(A, MIXED), mecheval.compare_features(MIXED, A)
    assert ours.a_to_b.value == pytest.approx(theirs.b_to_a.value)


def test_correlations_keep_their_sign() -> None:
    on = (np.arange(600) % 2 == 0)[:, None]
    found = mecheval.compare_features(on.astype(float), (~on).astype(float))
    assert found.a_to_b.value == pytest.approx(-1)


def test_codes_of_tokens_have_nothing_beyond_the_token() -> None:
    one_hot = np.eye(7)[GROUP]
    found = mecheval.compare_features(one_hot, one_hot, GROUP)
    assert found.a_to_b.value == pytest.approx(1)
    assert found.beyond_a_to_b.value is None
    assert found.beyond_a_to_b.reason.startswith("the groups explain all latents")
    assert found.floors_a["group"] == pytest.approx(1)
    assert found.floors_b["group"] == pytest.approx(1)


def test_floors_are_the_best_single_label_of_every_kind() -> None:
    labels = {"pair": GROUP * 3 + np.arange(600) % 3}
    found = mecheval.compare_features(A, MIXED, GROUP, labels=labels)
    for name, label_N in {"group": GROUP, **labels}.items():
        indicators = np.eye(label_N.max() + 1)[label_N]
        indicators = indicators[:, indicators.sum(0) >= 25]
        assert found.floors_a[name] == pytest.approx(correlations(A, indicators).max(1).mean())


def test_the_share_that_groups_explain_is_read_on_the_other_half() -> None:
    rng = np.random.default_rng(0)
    group_N, half_N = rng.integers(0, 50, 8000), np.arange(8000) % 2
    table_G = rng.normal(size=50)
    table_G -= table_G[group_N].mean()
    noise_N = rng.normal(size=8000) * table_G[group_N].std()
    codes = np.stack([table_G[group_N], table_G[group_N] + noise_N, noise_N, np.ones(8000)], 1)
    found = share_explained(sparse.csr_array(codes), group_N * 7, half_N)
    assert found[:3] == pytest.approx([1, 0.5, 0], abs=0.02)
    assert np.isnan(found[3])
    single = np.arange(8000)  # in one sample, groups of one row explain all
    assert np.isnan(share_explained(sparse.csr_array(codes), single, half_N)).all()
    few = rng.integers(0, 2000, 8000)  # in one sample they explain a quarter of anything
    assert abs(share_explained(sparse.csr_array(codes), few, half_N)[2]) < 0.05


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("same", 1, 1), ("rotated", 1, 1), ("another_dictionary", 1, 1), ("half_shared", 0.45, 0.55),
     ("independent", -0.02, 0.05)],
)  # fmt: skip
def test_known_codes(kind, low, high) -> None:
    a, b = pair(kind, 20_000)
    found = mecheval.compare_features(a.codes_NF, b.codes_NF)
    assert low - 1e-9 <= found.a_to_b.held_out <= high + 1e-9
    if kind == "half_shared":  # the value of a latent says which ones are shared
        best_M = found.a_to_b.best_M
        assert best_M[::2].min() > best_M[1::2].max()


def test_what_makes_numbers_hard_to_compare_is_said() -> None:
    cautions = mecheval.compare_features(A, MIXED).cautions
    assert cautions[0].startswith("A has 12 latents and B 9: the best of more is larger")
    assert cautions[1].startswith("600 rows: below 100000")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((A, A[:9]), "codes_a has 600 rows and codes_b has 9"),
        ((A, A, GROUP[:5]), "groups_N needs one label per row"),
        ((A, A, None, np.zeros(600)), "documents_N names one document"),
        ((A, "codes"), "codes_b must be codes of rows by latents"),
        ((A * np.nan, A), "codes_a holds NaN or infinity"),
    ],
)
def test_what_cannot_be_compared_is_refused(given, sentence) -> None:
    with pytest.raises(UsageError, match=sentence):
        mecheval.compare_features(*given)


def test_too_few_firings_are_no_match() -> None:
    found = mecheval.compare_features(A[:50], A[:50] * (A[:50] > 9))
    assert found.a_to_b.value is None
    assert "fires in 25 rows" in found.a_to_b.reason


def test_a_place_between_null_and_skyline() -> None:
    assert place_between(0.3, 0.2, 0.4)[0] == pytest.approx(0.5)
    assert place_between(0.3, 0.3, 0.3)[0] is None
    value, reason = place_between(0.3, 0.2, 0.4, standard_error=0.1)
    assert value is None
    assert "less than 3 standard errors apart" in reason
    assert place_between(None, 0.2, 0.4)[0] is None
