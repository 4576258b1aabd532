"""Results that contradict each other say so, both of them; others say nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from measured import metric_of

from mecheval.metrics import Contradiction, Metric, Says, checked, consistency
from mecheval.metrics.contract import MetricCard
from mecheval.registry import Registry
from mecheval.reports.results import MetricResult, Uncertainty


def result(
    id: str, value: float | None = 1.0, verdict: str | None = None, **fields
) -> MetricResult:
    name = id.partition("/")[0].partition("[")[0]
    metric = id.partition("/")[0]
    return MetricResult(
        id=id, name=name, metric=metric, version=1, family="intervention", title=id, value=value,
        verdict=verdict, n_expected=8, n_scored=8, **fields,
    )  # fmt: skip


def interval(low: float, high: float) -> Uncertainty:
    return Uncertainty(method="bootstrap", level=0.95, low=low, high=high, resampled_unit="pair")


def warned(*results: MetricResult, metrics=()) -> list[list[str]]:
    found = checked(results, metrics)
    assert [r.id for r in found] == [r.id for r in results]
    return [r.warnings for r in found]


INDUCTION = result("mechanism/retrieval", 0.98, "induction")
DIRECT = result("mechanism/retrieval", 1.0, "direct early")
BOUND = result("mechanism/binding", 1.0, "earlier mixer")
SILENT = [[], []]


def test_both_say_it_and_what_the_other_says() -> None:
    none = result("induction_circuit", 0.03, "none", warnings=["something else"])
    mine, theirs = warned(INDUCTION, none)
    assert mine == theirs[1:]
    assert theirs[0] == "something else"
    assert mine[0].startswith(
        "mechanism/retrieval says 'induction', but induction_circuit says 'none': what an earlier"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (INDUCTION, result("induction_circuit", 1.0, "L0 conv lag 1 -> L0 state")),
        (DIRECT, result("induction_circuit", 1.0, "L0H0 + L1H0 -> L3H1")),
        (DIRECT, result("induction_circuit", 1.0, "9 units of layers 0 to 2 -> L3H1")),
        (BOUND, result("write_offset/key", 0.0, uncertainty=interval(-0.1, 0.1))),
        (result("mechanism/binding", 1.0, "own convolution behind the value"),
         result("convolution", 0.02)),
        (result("interchange/value", 0.9, uncertainty=interval(0.8, 1.0)),
         result("recovery/state", 0.1, scalars={"all_layers": 0.12})),
    ],
)  # fmt: skip
def test_what_cannot_both_be_so(one: MetricResult, other: MetricResult) -> None:
    assert [len(warnings) for warnings in warned(one, other)] == [1, 1]
    assert [len(warnings) for warnings in warned(other, one)] == [1, 1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (INDUCTION, result("induction_circuit", 1.0, "L0H0 -> L1H0")),
        (INDUCTION, result("induction_circuit", None, reason="no gap")),
        (DIRECT, result("induction_circuit", 1.0, "L0 conv lag 1 -> L0 state")),
        (DIRECT, result("induction_circuit", 0.1, "none")),
        # Not sure to be at the token itself; nor known at all.
        (BOUND, result("write_offset/key", 0.0, uncertainty=interval(-0.1, 0.6))),
        (BOUND, result("write_offset/key", None, reason="no layer")),
        (result("mechanism/binding", 1.0, "own mixer"), result("write_offset/key", 0.0)),
        (result("interchange/value", 0.9), result("recovery/state", None, reason="one layer")),
    ],
)  # fmt: skip
def test_what_can_be_so(one: MetricResult, other: MetricResult) -> None:
    assert warned(one, other) == SILENT


def test_a_metric_with_other_parameters_is_the_same_metric() -> None:
    strict = result("mechanism[threshold=0.7]/retrieval", 1.0, "induction")
    found = warned(strict, INDUCTION, result("induction_circuit", 0.0, "none"))
    assert [len(warnings) for warnings in found] == [1, 1, 2]
    assert found[0][0].startswith("mechanism[threshold=0.7]/retrieval says 'induction'")


def test_every_rule_names_results_and_verdicts_that_exist() -> None:
    """A name that is changed elsewhere would silence its rule."""
    names = {entry.name for entry in Registry().entries("metric")}
    for rule in consistency.RULES:
        for said in (rule.one, rule.other):
            assert said.result.partition("/")[0] in names
            assert bool(said.verdicts) != (said.least is not None or said.most is not None)
    from mecheval.metrics.intervention import binding_rule, mechanism_rule

    verdicts = {
        "mechanism/retrieval": mechanism_rule.VERDICTS,
        "mechanism/binding": binding_rule.VERDICTS,
    }
    for rule in consistency.RULES:
        for said in (rule.one, rule.other):
            for pattern in said.verdicts if said.result in verdicts else ():
                probes = [result(said.result, 1.0, verdict) for verdict in verdicts[said.result]]
                alone = Says(result=said.result, verdicts=(pattern,))
                assert any(map(alone.holds, probes)), pattern


def test_a_metric_of_ones_own_brings_its_rule() -> None:
    rule = Contradiction(
        Says(result="local/mine", least=0.5),
        Says(result="mechanism/retrieval", verdicts=("direct *",)),
        "mine says otherwise",
    )

    @dataclass(frozen=True, kw_only=True)
    class Mine(Metric):
        """Of one's own."""

        def measure(self, subject):
            return []

    Mine.card = MetricCard("mine", 1, "", "", "intervention", "model", (), (), (rule,))
    mine = result("local/mine", 0.8).model_copy(
        update={"name": "local/mine", "metric": "local/mine"}
    )
    assert warned(mine, DIRECT) == SILENT
    assert (
        warned(mine, DIRECT, metrics=[Mine()])
        == [
            ["local/mine is 0.80, but mechanism/retrieval says 'direct early': mine says otherwise"]
        ]
        * 2
    )
    assert warned(mine, DIRECT, metrics=[metric_of("mechanism")]) == SILENT
