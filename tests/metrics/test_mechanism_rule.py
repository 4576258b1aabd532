"""The rules of a mechanism on arrays: which verdict, by which way, for which thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from evidence_arrays import (
    AFTER,
    BETWEEN,
    KEY,
    NEXT,
    NONE,
    NOWHERE,
    QUERY,
    VALUE,
    evidence,
)  # fmt: skip

from mecheval.metrics.intervention import binding_rule, mechanism_rule
from mecheval.metrics.intervention.binding_rule import MEANS, amounts, binding
from mecheval.metrics.intervention.mechanism_rule import (
    CASES,
    RETRIEVAL,
    VERDICTS,
    Evidence,
    holds_between,
    retrieval,
    retrieving_layer,
)  # fmt: skip
from mecheval.metrics.intervention.rivals import binding_rivals

MIXER, CONVOLUTION, AT_VALUE, BEHIND, MEMORY = MEANS
BOTH, SEVERAL = binding_rule.BOTH, binding_rule.SEVERAL


def said(evidence: Evidence, **params: float) -> str:
    return VERDICTS[int(retrieval(evidence, **params).verdict_R[0])]


def bound_by(evidence: Evidence, **params: float) -> str:
    return binding_rule.VERDICTS[int(binding(evidence, **params).verdict_R[0])]


# What stands where before each layer, and the verdict on retrieval.
STANDS = [
    # One layer.
    ([KEY], "direct early"),
    # Two layers, as the study has them.
    ([KEY, VALUE], "induction"),
    ([KEY, QUERY], "direct early"),
    ([KEY, KEY], "direct late"),
    # An earlier layer may bind behind the value, or in part there.
    ([KEY, NEXT], "induction"),
    ([KEY, AFTER], "induction"),
    ([KEY, 0.3 * VALUE + 0.3 * NEXT], "induction"),
    # What makes the answer less likely than without it takes nothing from what brings it back.
    ([KEY, VALUE - 0.8 * NEXT - 0.8 * QUERY], "induction"),
    # What stands between key and value is not bound yet.
    ([KEY, BETWEEN], "direct late"),
    ([KEY, 0.3 * KEY + 0.3 * BETWEEN], "direct late"),
    # Deeper: the last layer's own output, which is known, decides nothing.
    ([KEY, KEY, KEY, KEY, KEY, KEY], "direct late"),
    ([KEY, KEY, VALUE, QUERY, QUERY, QUERY], "induction"),
    ([KEY, QUERY, QUERY, QUERY], "direct early"),
    ([KEY, KEY, QUERY, QUERY], "direct late"),
    # Two heads hand on a half of the key each, and neither is enough; nor is one of two that copy.
    ([KEY, KEY, 0.3 * KEY + 0.3 * VALUE, VALUE, QUERY], "induction"),
    ([KEY, KEY, VALUE, 0.3 * VALUE + 0.3 * QUERY, QUERY], "induction"),
    ([KEY, KEY, VALUE + KEY, VALUE, QUERY], "induction"),
    # Two layers retrieve from the key, each in part or each alone.
    ([KEY, KEY, 0.4 * KEY + 0.4 * QUERY, QUERY], "direct late"),
    ([KEY, KEY, KEY + QUERY, QUERY], "direct late"),
    ([KEY, 0.4 * KEY + 0.4 * QUERY], "mixed"),
    ([KEY, KEY + QUERY], "mixed"),
    # Two ways beside each other.
    ([KEY, KEY + VALUE], "mixed"),
    ([KEY, 0.4 * KEY + 0.4 * VALUE], "mixed"),
    ([KEY, KEY, 0.4 * QUERY + 0.4 * VALUE, QUERY], "mixed"),
    # Nothing that is looked at.
    ([KEY, NOWHERE], "undefined"),
    ([KEY, 0.2 * VALUE], "undefined"),
    ([KEY, 0.4 * KEY - 3 * VALUE], "undefined"),
    ([KEY, [NONE] * 6], "undefined"),
    ([KEY, NOWHERE, QUERY], "undefined"),
    ([KEY, KEY + VALUE, NOWHERE], "undefined"),
]


@pytest.mark.parametrize(("block_in", "expected"), STANDS)
def test_the_rule_of_retrieval(block_in, expected) -> None:
    assert said(evidence(block_in)) == expected


def test_every_way_through_the_rule_of_retrieval_is_reached() -> None:
    assert {int(retrieval(evidence(rows)).case_R[0]) for rows, _ in STANDS} == set(
        range(len(CASES))
    )


def test_cells_that_are_known_decide_nothing() -> None:
    """What layer 0 reads is 1 at the key in any model; it may be anything here."""
    for rows, expected in STANDS:
        assert said(evidence([NOWHERE, *rows[1:]])) == expected


@pytest.mark.parametrize(
    ("block_in", "layer", "retrieving"),
    [
        ([KEY], 0, 0),
        ([KEY, VALUE], 1, 1),
        ([KEY, QUERY], 1, 0),
        ([KEY, KEY], 1, 1),
        ([KEY, KEY, VALUE, QUERY], 2, 2),
        ([KEY, KEY, KEY, QUERY], 2, 2),
        ([KEY, KEY, 0.4 * KEY + 0.4 * QUERY, QUERY], 1, 2),
        ([KEY, KEY + VALUE, VALUE, QUERY], 2, 2),
        ([KEY, 0.6 * KEY + 1.4 * VALUE, 0.7 * VALUE, QUERY], 2, 2),
        ([KEY, KEY, NOWHERE, QUERY], 2, 2),
    ],
)
def test_the_layer_that_decides_and_the_one_that_retrieves(block_in, layer, retrieving) -> None:
    found = evidence(block_in)
    assert retrieval(found).layer_R[0] == layer
    assert retrieving_layer(found)[0] == retrieving


# What stands where, what mixers and convolutions bring there, and what memory holds before the
# value; and what binds.
BRINGS = [
    # Attention, twice: the memory of the first holds the key, its output brings it to the value.
    (([KEY, VALUE], [VALUE, NOWHERE], None, [1, 0]), MIXER),
    (([KEY, NEXT], [NEXT, NOWHERE], None, [1, 0]), MIXER),
    # A convolution before attention, with and without a memory beside it.
    (([KEY, VALUE], [VALUE, NOWHERE], [VALUE, [NONE] * 6], [NONE, 0]), CONVOLUTION),
    (([KEY, VALUE], [VALUE, NOWHERE], [0.8 * VALUE, [NONE] * 6], [0.2, 0]), CONVOLUTION),
    (([KEY, NEXT], [NEXT, NOWHERE], [NEXT, [NONE] * 6], [0, 0]), CONVOLUTION),
    # The own convolution: it shows the key, and nothing comes out of the mixer there.
    (([KEY, QUERY], [QUERY, NOWHERE], [VALUE, NOWHERE], [0, 0]), AT_VALUE),
    (([KEY, KEY], [NOWHERE, QUERY], [NOWHERE, VALUE], [0, 0]), AT_VALUE),
    (([KEY], [QUERY], [VALUE], [0]), AT_VALUE),
    (([KEY], [QUERY], [NEXT], [0]), BEHIND),
    (([KEY], [QUERY], [AFTER], [0]), BEHIND),
    (([KEY], [QUERY], [0.3 * NEXT + 0.3 * AFTER], [0]), BEHIND),
    (([KEY], [QUERY], [0.3 * VALUE + 0.3 * NEXT], [0]), BOTH),
    (([KEY], [QUERY], [VALUE + NEXT], [0]), BOTH),
    # The own memory, with no convolution, and with one that does something else.
    (([KEY], [QUERY], None, [1]), MEMORY),
    (([KEY, QUERY], [QUERY, NOWHERE], None, [1, 0]), MEMORY),
    (([KEY, KEY], [NOWHERE, QUERY], [NOWHERE, BETWEEN], [0, 1]), MEMORY),
    # Six layers; the circuit stands in the middle, in two layers each, each enough or in part.
    (
        ([KEY, KEY, KEY + VALUE, VALUE, VALUE + QUERY, QUERY],
         [NOWHERE, VALUE, VALUE, QUERY, QUERY, NOWHERE], None, [0, 1, 1, 0, 0, 0]),
        MIXER,
    ),
    (
        ([KEY, KEY, 0.2 * VALUE, VALUE, 0.3 * QUERY, QUERY],
         [NOWHERE, 0.2 * VALUE, 0.3 * VALUE, QUERY, QUERY, NOWHERE],
         [NOWHERE, 0.2 * VALUE, 0.3 * VALUE, NOWHERE, NOWHERE, NOWHERE], [0, 0, 0, 0, 0, 0]),
        CONVOLUTION,
    ),
    (
        ([KEY, KEY, KEY, 0.6 * KEY + 0.6 * QUERY, QUERY, QUERY], [NOWHERE] * 6,
         [NOWHERE, NOWHERE, 0.3 * VALUE, 0.3 * VALUE, NOWHERE, NOWHERE], [0, 0, 0, 0, 0, 0]),
        AT_VALUE,
    ),
    # What is bound already and is moved on by a later convolution is not bound a second time.
    (([KEY, VALUE], [VALUE, NOWHERE], [VALUE, NEXT], [0, 0]), CONVOLUTION),
    # Two things, each enough; and several, each in part.
    (([KEY], [QUERY], [VALUE], [1]), SEVERAL),
    (([KEY, VALUE + QUERY], [VALUE + QUERY, NOWHERE], [VALUE + NEXT, NOWHERE], [0, 0]), SEVERAL),
    (([KEY], [QUERY], [0.3 * VALUE], [0.4]), SEVERAL),
    # Nothing that is looked at.
    (([KEY], [QUERY], [BETWEEN], [0]), "undefined"),
    (([KEY, QUERY], [QUERY, NOWHERE], None, None), "undefined"),
    (([KEY, NOWHERE], [NOWHERE] * 2, [NOWHERE] * 2, [0, 0]), "undefined"),
]  # fmt: skip


@pytest.mark.parametrize(("arrays", "expected"), BRINGS)
def test_the_rule_of_binding(arrays, expected) -> None:
    assert bound_by(evidence(*arrays)) == expected


def test_every_way_through_the_rule_of_binding_is_reached() -> None:
    cases = {int(binding(evidence(*arrays)).case_R[0]) for arrays, _ in BRINGS}
    assert cases == set(range(len(binding_rule.CASES)))


def test_amounts_are_laid_to_the_layers_that_bring_them() -> None:
    halves = evidence(
        [KEY, 0.3 * VALUE, VALUE, QUERY],
        [0.3 * VALUE, 0.5 * VALUE, QUERY, NOWHERE],
        [[NONE] * 6, 0.5 * VALUE, [NONE] * 6, [NONE] * 6],
    )
    by_AL = amounts(halves).by_RAL[0]
    np.testing.assert_allclose(by_AL[0], [0.3, 0, 0, 0])
    np.testing.assert_allclose(by_AL[1], [0, 0.7, 0, 0])
    assert not by_AL[2:].any()
    assert binding(halves).layer_R[0] == 1


def test_what_reaches_the_value_after_the_retrieval_binds_nothing() -> None:
    found = evidence(
        [KEY, VALUE, QUERY, QUERY + 0.5 * VALUE],
        [VALUE, QUERY, 0.5 * VALUE, NOWHERE],
        [[NONE] * 6, [NONE] * 6, 0.5 * VALUE, [NONE] * 6],
    )
    by_AL = amounts(found).by_RAL[0]
    np.testing.assert_allclose(by_AL[0], [1, 0, 0, 0])
    assert not by_AL[1:].any()


def test_the_threshold_is_what_is_enough() -> None:
    at_half = evidence([KEY, 0.5 * VALUE])
    assert said(at_half) == "induction"
    assert said(at_half, threshold=0.51) == "undefined"
    weak = evidence([KEY, 0.4 * KEY + 0.3 * VALUE])
    assert said(weak, threshold=0.2) == "mixed"
    assert said(weak, threshold=0.35) == "direct late"
    assert said(weak, threshold=0.65) == "mixed"
    assert said(weak, threshold=0.75) == "undefined"


@pytest.mark.parametrize(
    ("block_in", "threshold", "expected"),
    [
        ([KEY, VALUE], 0.5, (0.01, 1.0)),
        ([KEY, 0.85 * VALUE + 0.205 * QUERY], 0.5, (0.21, 0.85)),
        # Another interval, in which it is mixed too, is not counted.
        ([KEY, 0.405 * KEY + 0.305 * VALUE], 0.2, (0.01, 0.3)),
        ([KEY, 0.405 * KEY + 0.305 * VALUE], 0.5, (0.41, 0.71)),
        ([KEY, 0.405 * KEY + 0.305 * VALUE], 0.9, (0.72, 1.0)),
        # Between two steps.
        ([KEY, 0.505 * VALUE], 0.504, (0.01, 0.504)),
    ],
)
def test_the_thresholds_between_which_a_verdict_stays(block_in, threshold, expected) -> None:
    found = evidence(block_in)
    low, high = holds_between(RETRIEVAL, found, threshold)
    assert (low, high) == pytest.approx(expected)
    assert (
        said(found, threshold=low)
        == said(found, threshold=high)
        == said(found, threshold=threshold)
    )


def test_resamples_are_judged_one_by_one_and_agree_in_part() -> None:
    """Shares at the value that straddle the threshold: some resamples see induction."""
    share_R = np.random.default_rng(0).normal(0.55, 0.1, 1000)
    many = evidence([KEY, VALUE], [VALUE, NOWHERE]).repeated(1000)
    many.block_in_RLS[:, 1, 2] = share_R
    is_induction_R = retrieval(many).verdict_R == VERDICTS.index("induction")
    np.testing.assert_array_equal(is_induction_R, share_R >= 0.5)
    assert 0.5 < is_induction_R.mean() < 0.9
    by_mixer_R = binding(many).verdict_R == binding_rule.VERDICTS.index(MIXER)
    np.testing.assert_array_equal(by_mixer_R, share_R >= 0.5)


def test_every_verdict_has_a_case_and_a_case_its_words() -> None:
    for rule in (mechanism_rule, binding_rule):
        assert {case.verdict for case in rule.CASES} == set(rule.VERDICTS)
        assert all(case.why for case in rule.CASES)


@pytest.mark.parametrize("noise", [0.0, 1e-8])
def test_rounding_does_not_choose_the_cell_that_a_rival_lacks(noise: float) -> None:
    """Neither the memory nor the mixer brings anything: the memory's own cell comes first."""
    found = evidence([KEY, KEY], [noise * VALUE, NOWHERE], [NOWHERE, NOWHERE], memory=[noise, 0.0])
    cells = {rival.verdict: rival.cell for rival in binding_rivals(found, 0.5)}
    assert cells["own mixer"] == "L0.state@value-1"
