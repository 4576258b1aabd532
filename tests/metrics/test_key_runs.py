"""A key of several tokens is exchanged, and put back, as one; what a part of it would say."""

from __future__ import annotations

import numpy as np
import pytest
from hand_built import results_of
from run_induction import run_subject, with_one_token_exchanged

from mecheval.interventions import recovery_grid
from mecheval.metrics.intervention.mechanism_evidence import behind, measured
from mecheval.metrics.intervention.mechanism_rule import PLACES, VERDICTS, Evidence, retrieval
from mecheval.metrics.intervention.roles import ROLES, positions_of, spans_of
from mecheval.metrics.intervention.shares import DIRECTIONS, restored

SUBJECT = run_subject(3)


def test_a_part_of_the_key_is_no_key() -> None:
    """What matches three tokens finds them by two; only another run leaves nothing to find."""
    clean_P, exchanged_P = with_one_token_exchanged(SUBJECT, 32)
    pairs = SUBJECT.pairs(32, SUBJECT.length, kind="key")
    found = restored(SUBJECT, pairs, (), kind="key")
    assert clean_P.min() > 0.95
    assert exchanged_P.mean() > 0.5 > 0.25 > found.corrupted_P.mean()


def test_the_whole_run_is_exchanged_and_put_back() -> None:
    results = results_of(SUBJECT, "interchange", n_pairs=32)
    result = results["interchange/key"]
    assert result.value == pytest.approx(1, abs=0.02)
    assert result.scalars["layer"] == 1
    assert result.scalars["trivial_error"] < 1e-4
    cells = {
        tuple(index): (value, trivial)
        for index, value, trivial in zip(
            _index(result.profile), np.ravel(result.profile.value),
            np.ravel(result.profile.marks["trivial"]), strict=True,
        )
    }  # fmt: skip
    assert cells["block_in", 0, "key"] == (pytest.approx(1), True)
    assert cells["block_in", 1, "key"] == (pytest.approx(0, abs=0.05), False)
    assert cells["block_in", 1, "value"] == (pytest.approx(1, abs=0.02), False)


def _index(profile) -> list[tuple]:
    axes = [profile.index[name] for name in ("component", "layer", "role")]
    return [(a, b, c) for a in axes[0] for b in axes[1] for c in axes[2]]


def test_its_mechanism_is_induction() -> None:
    results = results_of(SUBJECT, "mechanism", n_pairs=32)
    assert results["mechanism/retrieval"].verdict == "induction"
    assert results["mechanism/retrieval"].value == 1
    assert results["mechanism/binding"].verdict == "earlier mixer"


def test_its_circuit_is_all_heads_that_bring_a_part() -> None:
    (result,) = results_of(SUBJECT, "induction_circuit", n_pairs=32).values()
    assert result.verdict == "L0H0 + L0H1 + L0H2 -> L1H0"
    assert result.value == pytest.approx(1, abs=0.02)
    assert result.scalars["single"] < 0.6


def test_what_stands_where() -> None:
    pairs = SUBJECT.pairs(8, SUBJECT.length, kind="key")
    position_GP, spans_G = positions_of(pairs), spans_of(pairs)
    key, value = ROLES.index("key"), ROLES.index("value")
    assert spans_G == tuple(3 if role == "key" else 1 for role in ROLES)
    there = {ROLES[g] for g in np.flatnonzero((position_GP > 0).all(1))}
    assert there == {"key", "value", "query"}
    assert (position_GP[value] - position_GP[key] == 3).all()
    differs_PT = pairs.clean.tokens_BT != pairs.corrupted.tokens_BT
    for row, first in enumerate(position_GP[key]):
        assert np.flatnonzero(differs_PT[row]).tolist() == [first, first + 1, first + 2]
    assert (pairs.source_P == pairs.clean.roles["key"]).all()


def test_all_from_the_value_on_is_what_does_not_go_with_the_key() -> None:
    """By patches of every position from the value on, in both directions, layer by layer."""
    pairs = SUBJECT.pairs(32, SUBJECT.length, kind="key")
    found, once_1P = measured(SUBJECT, pairs).found, np.ones((1, 32))
    for direction in DIRECTIONS:
        grid = recovery_grid(
            SUBJECT.model, pairs.clean.tokens_BT, pairs.corrupted.tokens_BT, pairs.answers_P,
            pairs.foils_P, pairs.readout_P, readout="log_prob", direction=direction,
            positions=pairs.clean.roles["value"][:, None], span=pairs.clean.n_positions,
        )  # fmt: skip
        patched_LP = np.exp(grid.component("block_in")[:, 0])
        sign, end_P = (1, found.corrupted_P) if direction == "denoising" else (-1, found.clean_P)
        wanted_L = sign * (patched_LP - end_P).mean(1) / found.gap
        one, other = (
            found.share(once_1P, "block_in", d)
            for d in (DIRECTIONS if direction == "denoising" else DIRECTIONS[::-1])
        )
        alone_L = np.maximum(one[0][:, [ROLES.index("value"), ROLES.index("query")]], 0).sum(1)
        np.testing.assert_allclose(behind(one, other)[0] + alone_L, wanted_L, atol=1e-5)


@pytest.mark.parametrize(
    ("lost", "key", "verdict"),
    [(0.0, 0.1, "induction"), (0.9, 1.0, "direct late"), (0.9, 0.1, "undefined")],
)
def test_what_value_and_query_hold_together_is_bound(lost: float, key: float, verdict: str) -> None:
    """Neither is enough alone where what matches tokens also asks whether those before match."""
    share_RLG, other_RLG = np.full((2, 1, 3, len(ROLES)), np.nan)
    cuts = {"key": [1, key, 0], "value": [0, 0, 0], "query": [0, 0, 1]}
    for role, share_L in cuts.items():
        share_RLG[0, :, ROLES.index(role)] = share_L
    other_RLG[0, :, ROLES.index("key")] = [1, lost, 0]
    block_in_RLS = np.zeros((1, 3, len(PLACES)))
    for role, share_L in cuts.items():
        block_in_RLS[0, :, PLACES.index(role)] = share_L
    block_in_RLS[..., PLACES.index("value+1")] = behind(share_RLG, other_RLG)
    nothing_RLS = np.zeros_like(block_in_RLS)
    judged = retrieval(Evidence(block_in_RLS, nothing_RLS, nothing_RLS, np.zeros((1, 3))))
    assert VERDICTS[int(judged.verdict_R[0])] == verdict
