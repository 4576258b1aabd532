"""Metrics by name: parameters, their errors, needs, ids; and the contract of every one of them."""

from __future__ import annotations

import pytest
from hand_built import HandBuilt, Mixer, load_task, never, results_of, subject_of, written_at_block
from measured import metric_of

from mecheval.errors import UsageError
from mecheval.harness.known_values import known_cases, metric_names
from mecheval.harness.metric_checks import check_metric
from mecheval.metrics import configured_metric, measure
from mecheval.metrics.needs import AttentionHeads
from mecheval.models.load import resolve
from mecheval.registry import Registry
from mecheval.spec import Spec, parse_spec

NAMES = [entry.name for entry in Registry().entries("metric")]


@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str) -> None:
    checks = check_metric(Spec(name), Registry())
    assert [str(check) for check in checks if check.passed is False] == []
    assert sum(check.passed is True for check in checks) == len(checks)


@pytest.mark.parametrize("name", NAMES)
def test_something_is_known_of_every_metric(name: str) -> None:
    stems = [known.at.split()[0].split("/")[0] for case in known_cases() for known in case.known]
    assert name in [*stems, *(["behaviour"] if "token_accuracy" in stems else [])]


def test_parameters_are_filled_in_and_plain() -> None:
    metric = configured_metric(
        Spec("recovery", {"components": ("block_in",), "min_gap": 2}), Registry()
    )
    assert metric.params == {
        "n_pairs": 64,
        "components": ["block_in"],
        "readout": "logit_difference",
        "direction": "denoising",
        "frozen": False,
        "method": "exact",
        "min_gap": 2.0,
        "length": 1,
    }
    assert metric.id == "recovery[components=[block_in],min_gap=2.0]"
    assert configured_metric(parse_spec(metric.id), Registry()) == metric


def test_what_is_usual_on_a_task_is_not_part_of_the_id() -> None:
    usual = {"eraser": "inlp"}
    assert configured_metric(Spec("bottleneck"), Registry(), usual).id == "bottleneck"
    given = Spec("bottleneck", {"eraser": "class_mean"})
    assert configured_metric(given, Registry(), usual).id == "bottleneck[eraser=class_mean]"


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        ("recovry", {}, "Unknown metric 'recovry'. Did you mean 'recovery'?"),
        ("recovery", {"n_pair": 3}, "Did you mean 'n_pairs'?"),
        ("recovery", {"n_pairs": 0}, "it should be at least 1. See"),
        ("recovery", {"n_pairs": 2.5}, "it should be a whole number. See"),
        ("recovery", {"n_pairs": True}, "a whole number"),
        ("recovery", {"frozen": 1}, "it should be true or false. See"),
        ("recovery", {"min_gap": float("nan")}, "a finite number"),
        ("recovery", {"min_gap": -1}, "at least 0"),
        ("recovery", {"components": ["stream"]}, "among block_in, mixer_in"),
        ("recovery", {"components": "block_in"}, "should be a list, such as [block_in,state]. See"),
        ("recovery", {"components": ["state", 1]}, "item 2 should be text"),
        ("bottleneck", {"variables": "depth"}, "should be a list, such as [first,second]"),
        ("recovery", {"components": []}, "a list of 1 or more"),
        ("recovery", {"readout": "probability"}, "'logit_difference' or 'log_prob'"),
        ("recovery", {"method": "gradient_guess", "frozen": True}, "method=exact"),
        ("mechanism", {"threshold": 0.0}, "above 0"),
        ("mechanism", {"threshold": 1.5}, "at most 1"),
        ("bottleneck", {"eraser": "das"}, "'leace', 'class_mean'"),
    ],
)
def test_wrong_parameters_are_one_sentence(name: str, params: dict, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        configured_metric(Spec(name, params), Registry())
    assert sentence in str(caught.value)


def test_an_unknown_variable_is_one_sentence() -> None:
    subject = subject_of(written_at_block(1, 2), load_task("parity"))
    with pytest.raises(UsageError, match="Did you mean 'parity'"):
        results_of(subject, "readability", variables=["party"])


def test_two_of_one_metric_stand_in_one_report() -> None:
    subject = subject_of(written_at_block(1, 2), load_task("parity"), learned=False)
    metrics = [
        configured_metric(parse_spec(text), Registry())
        for text in ("bottleneck", "bottleneck[eraser=class_mean]")
    ]
    ids = [result.id for metric in metrics for result in measure(metric, subject)]
    assert ids == ["bottleneck/parity", "bottleneck[eraser=class_mean]/parity"]


def test_what_was_not_learned_has_reasons_and_no_numbers() -> None:
    task = load_task("s3")
    model = HandBuilt([Mixer(never), Mixer(never)])
    subject = subject_of(model, task, learned=False, accuracy=0.51234)
    lacking = {"language", "convolution", "induction_circuit", "interchange", "mechanism"}
    ids = set()
    for name in metric_names("model"):
        if name == "behaviour":
            continue
        for result in results_of(subject, name).values():
            ids.add(result.id)
            why = "not applicable: " if name in lacking else "not learned: token accuracy 0.512 is"
            assert (result.reason or "").startswith(why)
            assert result.value is result.uncertainty is result.profile is None
            assert (result.references, result.scalars, result.profiles) == ({}, {}, {})
            assert result.n_scored == 0
            assert result.config == metric_of(name).params
    variables = [f"{kind}/{v}" for kind in ("readability", "bottleneck") for v in task.variables]
    on_pairs = {"recovery/block_in", "recovery/state", "write_offset", "interchange"}
    assert ids >= {*on_pairs, "mechanism", *variables}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("gru[layers=2,width=16]", "the model has no attention heads whose output is a site"),
        ("attention[layers=1,width=16,heads=2]", None),
        ("hybrid[pattern=mamba-attention,layers=2,width=16]", None),
    ],
)
def test_a_metric_may_ask_for_attention_heads(model: str, reason: str | None) -> None:
    source = resolve(parse_spec(model), Registry())
    built = source.untrained(source.encode(load_task("parity")), seed=0)
    assert AttentionHeads().of_model(built) == reason
    assert str(AttentionHeads()) == "attention heads"


def test_too_few_examples_are_a_reason() -> None:
    subject = subject_of(written_at_block(1, 2), load_task("parity"), limit=12)
    for name in ("readability", "bottleneck"):
        result = results_of(subject, name)[f"{name}/parity"]
        assert result.value is None
        assert result.reason == (
            "fewer than two values of parity have 10 training examples: a higher limit on "
            "examples gives more"
        )
        assert result.n_expected == 12
