"""The verdict: its rule on arrays, and what it says of models whose mechanism is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from retrieval_subjects import RECALL, planted, results, trained

from mecheval.errors import UsageError
from mecheval.metrics.intervention.mechanism_rule import CASES, PLACES, VERDICTS, Evidence, judge

NONE = np.nan


def evidence(block_in: list, block_out: list, conv_out: list | None = None) -> Evidence:
    """Build one resample: a row per layer, the columns are key, value, value+1, value+2, query."""
    nowhere = [[NONE] * len(PLACES)] * len(block_out)
    arrays = (block_in, nowhere if conv_out is None else conv_out, block_out)
    return Evidence(*(np.array([array], float) for array in arrays))


def said(evidence: Evidence, **params: float) -> str:
    return VERDICTS[int(judge(evidence, **params).verdict_R[0])]


KEY, VALUE, NEXT, AFTER, NOWHERE = np.vstack([np.eye(5)[:4], np.zeros(5)])


@pytest.mark.parametrize(
    ("block_in", "block_out", "conv_out", "expected"),
    [
        # Two layers, as the study has them.
        ([KEY, VALUE], [0, 1], None, "induction"),
        ([KEY, NOWHERE], [1, 1], None, "direct early"),
        ([KEY, KEY], [0, 1], None, "direct late"),
        ([KEY, KEY], [0, 1], [NOWHERE, VALUE], "direct late"),
        ([KEY, NOWHERE], [1, 1], [VALUE, NOWHERE], "direct early"),
        ([KEY, NOWHERE], [1, 1], [KEY, NOWHERE], "direct early"),
        ([KEY, NOWHERE], [1, 1], [NOWHERE, NOWHERE], "direct early"),
        ([KEY, NOWHERE], [1, 1], [NEXT, NOWHERE], "convolution"),
        ([KEY, NOWHERE], [1, 1], [AFTER, NOWHERE], "convolution"),
        ([KEY, KEY], [0, 1], [NOWHERE, NEXT], "convolution"),
        ([KEY, NEXT], [0, 1], [NEXT, NOWHERE], "convolution"),
        # A convolution that a later layer's verdict does not depend on.
        ([KEY, VALUE], [0, 1], [NEXT, NEXT], "induction"),
        ([KEY, NEXT], [0, 1], None, "undefined"),
        ([KEY, NEXT], [0, 1], [NOWHERE, NEXT], "undefined"),
        # One layer, and four.
        ([KEY], [1], None, "direct early"),
        ([KEY], [1], [NEXT], "convolution"),
        ([KEY, KEY, VALUE, NOWHERE], [0, 0, 1, 1], None, "induction"),
        ([KEY, KEY, KEY, NOWHERE], [0, 0, 1, 1], None, "direct late"),
        ([KEY, VALUE, NEXT, NOWHERE], [0, 0, 1, 1], [NOWHERE, NEXT, *[NOWHERE] * 2], "convolution"),
        # In part, at several places or by several layers.
        ([KEY, 0.4 * KEY + 0.4 * VALUE], [0, 1], None, "mixed"),
        ([KEY, 0.3 * KEY], [0.3, 0.75], None, "mixed"),
        ([KEY, NOWHERE, NOWHERE], [0.3, 0.6, 1], None, "mixed"),
        ([KEY], [1], [0.4 * VALUE + 0.4 * NEXT], "mixed"),
        # Nothing, or too much.
        ([KEY, NOWHERE], [0, 0.4], None, "undefined"),
        ([KEY, 0.2 * VALUE], [0, 1], None, "undefined"),
        ([KEY, KEY + VALUE], [0, 1], None, "undefined"),
        ([KEY], [1], [VALUE + NEXT], "undefined"),
        ([KEY, 0.4 * KEY - 3 * VALUE], [0, 1], None, "undefined"),
        ([KEY, [NONE] * 5], [0, NONE], None, "undefined"),
    ],
)
def test_the_rule(block_in, block_out, conv_out, expected) -> None:
    assert said(evidence(block_in, block_out, conv_out)) == expected


def test_every_way_through_the_rule_is_reached() -> None:
    """The parameters above, by what they say of themselves."""
    mark = next(m for m in test_the_rule.pytestmark if m.name == "parametrize")
    cases = {int(judge(evidence(*arrays)).case_R[0]) for *arrays, _ in mark.args[1]}
    assert cases == set(range(len(CASES)))


def test_the_threshold_is_what_is_enough() -> None:
    at_half = evidence([KEY, 0.5 * VALUE], [0, 1])
    assert said(at_half) == "induction"
    assert said(at_half, threshold=0.51) == "undefined"
    weak = evidence([KEY, 0.4 * KEY + 0.4 * VALUE], [0, 1])
    assert said(weak, threshold=0.4) == "undefined"
    assert said(weak, threshold=0.45) == "mixed"


def test_resamples_are_judged_one_by_one_and_agree_in_part() -> None:
    """Attributions at the value that straddle the threshold: some resamples see induction."""
    share_R = np.random.default_rng(0).normal(0.55, 0.1, 1000)
    block_in_RLS = np.zeros((1000, 2, 5))
    block_in_RLS[:, 0, 0] = 1.0
    block_in_RLS[:, 1, 1] = share_R
    block_out_RL = np.stack([np.zeros(1000), np.ones(1000)], 1)
    drawn = judge(Evidence(block_in_RLS, np.full((1000, 2, 5), NONE), block_out_RL))
    is_induction_R = drawn.verdict_R == VERDICTS.index("induction")
    np.testing.assert_array_equal(is_induction_R, share_R >= 0.5)
    assert 0.5 < is_induction_R.mean() < 0.9


@pytest.mark.parametrize(
    ("model", "verdict"),
    [
        ("planted/induction", "induction"),
        ("planted/induction[rotated=2]", "induction"),
        ("planted/induction[noise=0.2]", "induction"),
        ("planted/induction[sharpness=4.0]", "induction"),
        ("planted/mamba-recall", "direct early"),
        ("planted/mamba-recall[rotated=2]", "direct early"),
        ("planted/mamba-recall[noise=0.2]", "direct early"),
        ("planted/mamba-recall[shift=1]", "convolution"),
        ("planted/mamba-recall[shift=1,rotated=2]", "convolution"),
        ("planted/mamba-recall[shift=1,noise=0.2]", "convolution"),
        ("planted/mamba2-recall", "direct early"),
        ("planted/mamba2-recall[shift=1]", "convolution"),
    ],
)
def test_planted_models(model: str, verdict: str) -> None:
    (result,) = results(planted(model, RECALL), "mechanism").values()
    assert (result.verdict, result.value) == (verdict, 1.0)
    agreed = {name: share for name, share in result.scalars.items() if name.startswith("agree_")}
    assert agreed.pop(f"agree_{verdict.replace(' ', '_')}") == 1.0
    assert not any(agreed.values())
    assert len(agreed) == len(VERDICTS) - 1
    assert result.warnings == []
    decisive = "block_in_value" if verdict == "induction" else "block_in_key"
    if verdict == "convolution":
        decisive = "conv_out_behind"
    for word in ("enough", "needed"):
        tolerance = 0.25 if "noise" in model else 0.1
        assert result.scalars[f"{word}_{decisive}"] == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize(
    ("model", "place"),
    [
        ("planted/induction", "block_in_value of layer 1"),
        ("planted/mamba-recall", "block_in_key of layer 0"),
        ("planted/mamba-recall[shift=1]", "conv_out_behind of layer 0"),
    ],
)
def test_what_is_enough_but_not_needed_is_said(
    monkeypatch: pytest.MonkeyPatch, model: str, place: str
) -> None:
    """As if there were another way to the answer, so that taking one away costs nothing."""
    from mecheval.metrics.intervention import attributions

    found = attributions.Restored.attribution

    def redundant(self, weight_RP, component, direction):
        return found(self, weight_RP, component, direction) * (direction == "denoising")

    monkeypatch.setattr(attributions.Restored, "attribution", redundant)
    (result,) = results(planted(model, RECALL), "mechanism").values()
    assert result.verdict
    assert result.warnings[0].startswith(f"what decides ({place}) is enough but not needed")


@pytest.mark.parametrize(
    ("factor", "warning"),
    [
        (0.2, "undefined: the retrieving layer reads the association at none of the known places"),
        (0.6, "undefined: the evidence contradicts itself: the retrieving layer could read the "
              "association at more than one place"),
        (0.4, "mixed: the retrieving layer reads the association at several places, each in part"),
    ],
)  # fmt: skip
def test_why_a_verdict_is_mixed_or_undefined_is_said(
    monkeypatch: pytest.MonkeyPatch, factor: float, warning: str
) -> None:
    from mecheval.metrics.intervention import attributions

    found = attributions.Restored.attribution

    def weak(self, weight_RP, component, direction):
        value_RLG = found(self, weight_RP, component, direction)
        if component == "block_in":
            value_RLG[:, 1, :2] = factor * (1.0 if factor > 0.2 else value_RLG[:, 1, :2])
        return value_RLG

    monkeypatch.setattr(attributions.Restored, "attribution", weak)
    (result,) = results(planted("planted/induction", RECALL), "mechanism").values()
    assert result.verdict == warning.partition(":")[0]
    assert result.value == 1.0
    assert result.reason is None
    assert result.warnings == [warning]


def test_without_a_gap_there_is_no_verdict() -> None:
    (result,) = results(planted("mamba2[width=16,layers=2]", RECALL), "mechanism").values()
    assert result.verdict is result.value is result.profile is None
    assert result.reason.startswith("no gap: the answer's probability is 0.0")
    subject = planted("planted/induction", RECALL)
    (result,) = results(subject, "mechanism", min_gap=0.99).values()
    assert result.reason.endswith("less than 0.99 apart")
    (result,) = results(planted("planted/induction", RECALL, limit=5), "mechanism").values()
    assert result.reason == "no gap: there are 5 pairs, and 8 are needed"


def test_what_was_not_learned_has_no_verdict() -> None:
    subject = planted("planted/induction", RECALL, learned=False)
    (result,) = results(subject, "mechanism").values()
    assert result.verdict is result.value is None
    assert result.reason.startswith("not learned")


@pytest.mark.parametrize("task", ["parity", "ar[keys=12,values=12,pairs=6,query=value]"])
def test_other_tasks_have_no_verdict(task: str) -> None:
    (result,) = results(planted("mamba2[width=16,layers=2]", task), "mechanism").values()
    assert result.verdict is result.value is None
    assert result.reason == "not applicable: this task does not ask for what stands behind a token"


def test_a_threshold_is_a_share() -> None:
    with pytest.raises(UsageError, match="share above 0 and up to 1"):
        results(planted("planted/induction", RECALL), "mechanism", threshold=1.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "verdict"), [("based", "induction"), ("deltanet", "direct early")]
)
def test_trained_models(model: str, verdict: str) -> None:
    """As the study has them; a corrupted key leaves a guess among the 8 values of the context."""
    subject = trained(f"{model}[width=64,layers=2]", "ar[preset=small]", steps=200)
    (result,) = results(subject, "mechanism").values()
    assert (result.verdict, result.value) == (verdict, 1.0)
    assert result.references["clean"] > 0.9
    assert result.references["corrupted"] == pytest.approx(1 / 8, abs=0.05)
    found = results(subject, "interchange")
    assert found["interchange/value"].references["corrupted"] < 0.01


@pytest.mark.slow
def test_a_model_trained_without_its_convolution_retrieves_nothing() -> None:
    """Neither gated products nor the delta rule see the token before, so no pair is bound."""
    subject = trained("deltanet[width=64,layers=2,d_conv=0]", "ar[preset=small]", steps=200)
    (result,) = results(subject, "mechanism").values()
    assert result.verdict is result.value is None
    assert result.reason.startswith("no gap")


def test_the_model_is_left_as_it_was() -> None:
    subject = planted("planted/mamba-recall", RECALL)
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    results(subject, "mechanism")
    after = subject.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
