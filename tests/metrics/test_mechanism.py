"""The two verdicts: what they say of models whose mechanism is known, and with which evidence."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from circuit_subjects import checkpoint, subject_of
from crossings import mostly_slow
from retrieval_subjects import RECALL, planted, results, trained

from mecheval.errors import UsageError
from mecheval.metrics.intervention import binding_rule, mechanism_rule, shares
from mecheval.metrics.intervention.mechanism import judged

if TYPE_CHECKING:
    from mecheval.metrics import Subject
    from mecheval.reports.schema import MetricResult

QUESTIONS = ("retrieval", "binding")
MIXER, CONVOLUTION, AT_VALUE, BEHIND, MEMORY = binding_rule.MEANS


def asked(subject: Subject, **params: Any) -> tuple[MetricResult, MetricResult]:
    """Ask both questions."""
    retrieval, binding = results(subject, "mechanism", **params).values()
    assert (retrieval.id.rpartition("/")[2], binding.id.rpartition("/")[2]) == QUESTIONS
    return retrieval, binding


@cache
def answers(model: str) -> tuple[MetricResult, MetricResult]:
    """Ask both questions of a planted model."""
    return asked(planted(model, RECALL), n_pairs=32)


PLANTED = [
    ("planted/induction", "induction", MIXER),
    ("planted/induction[rotated=2]", "induction", MIXER),
    ("planted/induction[noise=0.2]", "induction", MIXER),
    ("planted/induction[sharpness=4.0]", "induction", MIXER),
    ("planted/induction[carrier=convolution]", "induction", CONVOLUTION),
    ("planted/induction[carrier=convolution,rotated=2]", "induction", CONVOLUTION),
    ("planted/induction[carrier=convolution,noise=0.2]", "induction", CONVOLUTION),
    # Six layers, four heads; a half of the key from each of two layers; a half of the value.
    ("planted/induction[layers=6,heads=4]", "induction", MIXER),
    *(
        (f"planted/induction[layers=6,halves={halves},{more}]", "induction", means)
        for halves in ("previous", "induction", "both")
        for more, means in [
            ("heads=4,weight_noise=0.05", MIXER),
            ("sharpness=3.0", MIXER),
            ("carrier=convolution,weight_noise=0.05", CONVOLUTION),
            ("carrier=convolution,sharpness=3.0,rotated=2", CONVOLUTION),
        ]
    ),
    ("planted/mamba-recall", "direct early", AT_VALUE),
    ("planted/mamba-recall[rotated=2]", "direct early", AT_VALUE),
    ("planted/mamba-recall[noise=0.2]", "direct early", AT_VALUE),
    ("planted/mamba-recall[shift=1]", "direct early", BEHIND),
    ("planted/mamba-recall[shift=1,rotated=2]", "direct early", BEHIND),
    ("planted/mamba-recall[shift=1,noise=0.2]", "direct early", BEHIND),
    ("planted/mamba-recall[layers=2]", "direct early", AT_VALUE),
    ("planted/mamba-recall[layers=2,halves=true]", "mixed", AT_VALUE),
    ("planted/mamba-recall[layers=6]", "direct late", AT_VALUE),
    ("planted/mamba-recall[layers=6,halves=true,shift=1]", "direct late", BEHIND),
    (
        "planted/mamba-recall[layers=6,halves=true,weight_noise=0.02,rotated=2]",
        "direct late",
        AT_VALUE,
    ),
    ("planted/mamba2-recall", "direct early", AT_VALUE),
    ("planted/mamba2-recall[shift=1]", "direct early", BEHIND),
    ("planted/mamba2-recall[layers=6,halves=true,shift=1]", "direct late", BEHIND),
    ("planted/lstm-recall", "direct early", MEMORY),
    ("planted/lstm-recall[layers=1]", "direct early", MEMORY),
    ("planted/lstm-recall[layers=6]", "direct late", MEMORY),
    ("planted/lstm-recall[sharpness=6.0]", "direct early", MEMORY),
    ("planted/two-ways", "mixed", "several"),
    ("planted/two-ways[rotated=2]", "mixed", "several"),
    ("planted/two-ways[gain=5.0]", "mixed", "several"),
]

ALWAYS = (
    "planted/induction", "planted/induction[carrier=convolution,noise=0.2]",
    "planted/induction[layers=6,halves=both,carrier=convolution,sharpness=3.0,rotated=2]",
    "planted/mamba-recall", "planted/mamba-recall[shift=1,rotated=2]",
    "planted/mamba-recall[layers=2,halves=true]",
    "planted/mamba-recall[layers=6,halves=true,shift=1]", "planted/mamba2-recall",
    "planted/lstm-recall[layers=6]", "planted/lstm-recall[sharpness=6.0]", "planted/two-ways",
)  # fmt: skip
"""At least one of every answer."""


@pytest.mark.parametrize(
    ("model", "retrieval", "binding"),
    mostly_slow(PLANTED, always=[row for row in PLANTED if row[0] in ALWAYS]),
)
def test_planted_models(model: str, retrieval: str, binding: str) -> None:
    rules = (mechanism_rule, binding_rule)
    for result, verdict, rule in zip(answers(model), (retrieval, binding), rules, strict=True):
        assert (result.verdict, result.value) == (verdict, 1.0)
        agreed = {k: v for k, v in result.scalars.items() if k.startswith("agree_")}
        assert agreed.pop(f"agree_{verdict.replace(' ', '_')}") == 1.0
        assert not any(agreed.values())
        assert len(agreed) == len(rule.VERDICTS) - 1
        assert result.scalars["threshold_low"] < 0.45
        assert result.scalars["threshold_high"] > 0.7
        assert not any("close call" in note for note in result.warnings)


@pytest.mark.parametrize(
    ("model", "question", "cells", "rivals"),
    [
        (
            "planted/induction", 0, {"block_in_value": 1, "block_in_key": 0, "block_in_query": 0},
            {"direct_early": "L1.block_in@key+query", "direct_late": "L1.block_in@key"},
        ),
        (
            "planted/induction", 1, {"mixer_out_value": 1, "mixer_out_behind": 0},
            {"earlier_convolution": "L0.conv_out@value+behind", "own_mixer":
             "L0.mixer_out@value+behind", "own_convolution_at_the_value": "L0.conv_out@value",
             "own_convolution_behind_the_value": "L0.conv_out@behind"},
        ),
        (
            "planted/induction[carrier=convolution]", 1,
            {"conv_out_value": 1, "mixer_out_value": 1, "state_before_value": 0},
            {"earlier_mixer": "L0.conv_out@value+behind", "own_mixer": "L0.state@value-1",
             "own_convolution_at_the_value": "L0.mixer_out@value+behind",
             "own_convolution_behind_the_value": "L0.conv_out@behind"},
        ),
        (
            "planted/mamba-recall[layers=2,shift=1]", 0,
            {"block_in_value": 0, "block_in_key": 0, "block_in_query": 1, "mixer_out_query": 1},
            {"induction": "L1.block_in@value+behind", "direct_late": "L1.block_in@key"},
        ),
        (
            "planted/mamba-recall[layers=2,shift=1]", 1,
            {"conv_out_value": 0, "conv_out_behind": 1, "mixer_out_behind": 0,
             "state_before_value": 0},
            {"earlier_mixer": "L0.mixer_out@value+behind", "earlier_convolution":
             "L0.mixer_out@value+behind", "own_convolution_at_the_value": "L0.conv_out@value",
             "own_mixer": "L0.state@value-1"},
        ),
        (
            "planted/lstm-recall[layers=6]", 1, {"state_before_value": 1, "mixer_out_value": 0},
            {"earlier_mixer": "L0.mixer_out@value+behind", "earlier_convolution":
             "L0.conv_out@value+behind", "own_convolution_at_the_value": "L0.conv_out@value",
             "own_convolution_behind_the_value": "L0.conv_out@behind"},
        ),
    ],
)  # fmt: skip
def test_the_cells_that_decide_and_the_rivals_that_they_exclude(
    model: str, question: int, cells: dict[str, float], rivals: dict[str, str]
) -> None:
    result = answers(model)[question]
    for name, expected in cells.items():
        for word in ("sufficiency", "necessity"):
            assert result.scalars[f"{word}_{name}"] == pytest.approx(expected, abs=1e-3), name
    table = result.profiles["rivals"]
    found = {}
    for rival, amounts, excluded in zip(
        table.index["rival"], table.value, table.marks["excluded"], strict=True
    ):
        (cell,) = [c for c, a in zip(table.index["cell"], amounts, strict=True) if a is not None]
        column = table.index["cell"].index(cell)
        assert excluded[column]
        assert amounts[column] == pytest.approx(0, abs=1e-3)
        found[rival] = cell
    assert found == rivals


def test_no_cell_that_decides_is_known_by_construction() -> None:
    """Every scalar beside a verdict stands in a profile, where what is known is marked."""
    for model, *_ in PLANTED[:: len(PLANTED) // 8]:
        for result in answers(model):
            layer = result.scalars.get("layer")
            for name, value in result.scalars.items():
                if not name.startswith("sufficiency_") or "state" in name or value is None:
                    continue
                component, _, place = name.removeprefix("sufficiency_").rpartition("_")
                if component not in result.profile.index["component"]:
                    continue
                role = {"behind": "next_key"}.get(place, place)
                where = [
                    result.profile.index["component"].index(component),
                    result.profile.index["layer"].index(layer),
                    result.profile.index["role"].index(role),
                ]
                marked = result.profile.marks["trivial"]
                # The mixer of the last layer brings nothing to the value in any model.
                last = layer == result.profile.index["layer"][-1] and component == "mixer_out"
                assert marked[where[0]][where[1]][where[2]] == last, (model, name)


@pytest.mark.parametrize("model", ["planted/mamba-recall", "planted/lstm-recall[layers=1]"])
def test_one_layer_can_only_retrieve_early_and_the_verdict_says_so(model: str) -> None:
    retrieval, binding = answers(model)
    assert retrieval.warnings == ["one layer: it retrieves directly and early, whatever it has "
                                  "learned"]  # fmt: skip
    assert not [name for name in retrieval.scalars if name.startswith("sufficiency")]
    alone = model == "planted/lstm-recall[layers=1]"
    assert bool(binding.warnings) == alone
    assert set(np.ravel(binding.profiles["memory"].marks["trivial"])) == {alone}


@pytest.mark.parametrize(
    ("model", "question", "what"),
    [
        ("planted/induction", 0, "block_in of layer 1"),
        ("planted/induction", 1, "mixer_out@value+behind of layer 0"),
        ("planted/mamba-recall[layers=2]", 0, "block_in of layer 1"),
        ("planted/mamba-recall[shift=1]", 1, "conv_out@behind of layer 0"),
        ("planted/lstm-recall", 1, "state@value-1 of layer 0"),
    ],
)
def test_what_is_sufficient_but_not_necessary_is_said(
    monkeypatch: pytest.MonkeyPatch, model: str, question: int, what: str
) -> None:
    """As if there were another way to the answer, so that taking one away costs nothing."""
    found = shares.Restored.share

    def redundant(self, weight_RP, component, direction):
        return found(self, weight_RP, component, direction) * (direction == "denoising")

    monkeypatch.setattr(shares.Restored, "share", redundant)
    result = asked(planted(model, RECALL))[question]
    assert result.verdict not in ("mixed", "several", "undefined")
    (note,) = [note for note in result.warnings if "necessary" in note]
    assert note.startswith(
        f"what decides ({what}) is sufficient but not necessary: without it 0.00"
    )


def test_two_halves_that_are_each_enough_are_not_necessary() -> None:
    _, binding = answers("planted/induction[layers=6,halves=previous,heads=4]")
    assert "is sufficient but not necessary" in binding.warnings[0]


def test_a_retrieval_that_is_split_over_layers_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    found = shares.Restored.share

    def weak(self, weight_RP, component, direction):
        value_RLG = found(self, weight_RP, component, direction)
        return value_RLG * (0.3 if component == "mixer_out" else 1.0)

    monkeypatch.setattr(shares.Restored, "share", weak)
    result = asked(planted("planted/induction", RECALL))[0]
    assert result.warnings == [
        "the retrieval is split over layers: the mixer of layer 1 brings back 0.30 at the query by "
        "itself"
    ]


@pytest.mark.parametrize(
    ("factor", "verdict", "warning"),
    [
        (0.2, "undefined", "before some layer the difference stands at none of the known places"),
        (0.6, "mixed", "the association is read at the value, and the key where it stands, each "
                       "enough by itself"),
        (0.4, "mixed", "the association is read at the value, and the key where it stands, each in "
                       "part"),
    ],
)  # fmt: skip
def test_why_a_verdict_is_mixed_or_undefined_is_said(
    monkeypatch: pytest.MonkeyPatch, factor: float, verdict: str, warning: str
) -> None:
    found = shares.Restored.share

    def weak(self, weight_RP, component, direction):
        value_RLG = found(self, weight_RP, component, direction)
        if component == "block_in":
            value_RLG[:, 1, :2] = factor * (1.0 if factor > 0.2 else value_RLG[:, 1, :2])
        return value_RLG

    monkeypatch.setattr(shares.Restored, "share", weak)
    result = asked(planted("planted/induction", RECALL))[0]
    assert (result.verdict, result.value) == (verdict, 1.0)
    assert result.reason is None
    assert result.warnings[0] == f"{verdict}: {warning}"


def test_a_close_call_is_said() -> None:
    subject = planted("planted/two-ways[gain=5.0]", RECALL)
    retrieval, _ = asked(subject, threshold=0.4)
    assert retrieval.verdict == "mixed"
    low, high = (retrieval.scalars[f"threshold_{end}"] for end in ("low", "high"))
    assert low == pytest.approx(0.39, abs=0.03)
    assert f"a close call: it holds for thresholds from {low:.2f} to {high:.2f} alone" in (
        retrieval.warnings
    )


def test_without_a_gap_there_is_no_verdict() -> None:
    for result in asked(planted("mamba2[width=16,layers=2]", RECALL)):
        assert result.verdict is result.value is result.profile is None
        assert result.reason.startswith("no gap: the answer's probability is 0.0")
    subject = planted("planted/induction", RECALL)
    for result in asked(subject, min_gap=0.99):
        assert result.reason.endswith("less than 0.99 apart")
    for result in asked(planted("planted/induction", RECALL, limit=5)):
        assert result.reason == "no gap: there are 5 pairs, and 8 are needed"


def test_what_was_not_learned_has_no_verdict() -> None:
    subject = planted("planted/induction", RECALL, learned=False)
    for result in asked(subject):
        assert result.verdict is result.value is None
        assert result.reason.startswith("not learned")


@pytest.mark.parametrize("task", ["parity", "ar[keys=12,values=12,pairs=6,query=value]"])
def test_other_tasks_have_no_verdict(task: str) -> None:
    name = task.partition("[")[0]
    lacks = f"task '{name}' does not ask for what stands behind a token"
    (result,) = results(planted("mamba2[width=16,layers=2]", task), "mechanism").values()
    assert result.verdict is result.value is None
    assert result.reason == f"not applicable: {lacks}"


def test_a_threshold_is_a_share() -> None:
    with pytest.raises(UsageError, match="it should be at most 1"):
        results(planted("planted/induction", RECALL), "mechanism", threshold=1.5)


def test_another_threshold_measures_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = planted("planted/induction", RECALL)
    results(subject, "mechanism")
    monkeypatch.setattr(shares, "recovery_grid", None)
    assert asked(subject, threshold=0.4)[0].verdict == "induction"


@pytest.mark.parametrize("family", ["rwkv"])
def test_a_model_whose_memory_cannot_be_exchanged_is_judged_by_what_can(family: str) -> None:
    """The pairs of a random model have no gap; any will do here."""
    subject = subject_of(checkpoint(family))
    pairs = subject.pairs(16, subject.length, kind="key")
    _, (retrieval, binding) = judged(subject, pairs, threshold=0.5, min_gap=-1.0)
    assert retrieval["verdict"]
    assert "memory" not in binding["profiles"]
    assert any("its memory cannot be exchanged" in note for note in binding["warnings"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "retrieval", "binding"),
    [
        ("attention", "induction", [MIXER]),
        ("based", "induction", [CONVOLUTION]),
        ("deltanet", "direct early", [AT_VALUE, BEHIND]),
    ],
)
def test_trained_models(model: str, retrieval: str, binding: list[str]) -> None:
    """As the study has them; a corrupted key leaves a guess among the 8 values of the context."""
    rate = 3e-3 if model == "attention" else 1e-2
    subject = trained(f"{model}[width=64,layers=2]", "ar[preset=small]", steps=300, rate=rate)
    how, means = asked(subject)
    assert (how.verdict, how.value) == (retrieval, 1.0)
    assert means.verdict in binding
    assert how.references["clean"] > 0.9
    assert how.references["corrupted"] == pytest.approx(1 / 8, abs=0.05)
    exchanged = results(subject, "interchange")
    assert exchanged["interchange/value"].references["corrupted"] < 0.01


@pytest.mark.slow
def test_a_model_trained_without_its_convolution_retrieves_nothing() -> None:
    """Neither gated products nor the delta rule see the token before, so no pair is bound."""
    subject = trained("deltanet[width=64,layers=2,d_conv=0]", "ar[preset=small]", steps=200)
    for result in asked(subject):
        assert result.verdict is result.value is None
        assert result.reason.startswith("no gap")


def test_the_model_is_left_as_it_was() -> None:
    subject = planted("planted/mamba-recall", RECALL)
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    results(subject, "mechanism")
    after = subject.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
