"""A cell's report says where two of its results contradict each other."""

from __future__ import annotations

import mecheval
from mecheval.metrics import Contradiction, Says, consistency


def test_the_report_warns_of_what_cannot_both_be_so(tmp_path, monkeypatch) -> None:
    rule = Contradiction(
        Says(result="token_accuracy/1x", least=0.0),
        Says(result="last_accuracy/*", least=0.0),
        "this is for a test",
    )
    monkeypatch.setattr(consistency, "RULES", (rule,))
    (report,) = mecheval.evaluate(
        "lstm", "parity", output=tmp_path, limit=16, metrics=["behaviour"], device="cpu",
        recipe={"steps": 8},
    )  # fmt: skip
    warned = {result.id: result.warnings for result in report.metrics if result.warnings}
    assert {id.partition("/")[0] for id in warned} == {"token_accuracy", "last_accuracy"}
    assert len(warned["token_accuracy/1x"]) == len(warned) - 1
    assert all(text.endswith("this is for a test") for text in warned["token_accuracy/1x"])
