"""The number that decides whether a task was learned, of any behavioural metric."""

from __future__ import annotations

import pytest
from synthetic_reports import synthetic

from mecheval.errors import UsageError
from mecheval.harness.gate import check_behaviour, find_gated, gated

RESULTS = synthetic().metrics


def test_the_usual_one_is_the_token_accuracy() -> None:
    assert gated(RESULTS).id == "token_accuracy/1x"
    assert gated(RESULTS[::-1]).id == "token_accuracy/1x"


def test_of_another_metric_it_is_the_first_share() -> None:
    own = [
        result.model_copy(update={"id": f"perplexity/{i}", "bounds": bounds, "value": i})
        for i, (result, bounds) in enumerate(zip(RESULTS, [(0.0, None), (0.0, 1.0)], strict=False))
    ]
    assert gated(own).id == "perplexity/1"
    lower = [result.model_copy(update={"higher_is_better": False}) for result in own]
    assert find_gated(lower) is None
    with pytest.raises(UsageError, match=r"it gave perplexity/0, perplexity/1\. Let it return"):
        gated(lower)
    with pytest.raises(UsageError, match="it gave nothing"):
        gated([])


def test_only_behaviour_can_be_behaviour() -> None:
    check_behaviour("behaviour", "behaviour", task="t")
    with pytest.raises(UsageError, match="'recovery', which is a metric of the family 'inter"):
        check_behaviour("recovery", "intervention", task="t")
