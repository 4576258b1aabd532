"""Metrics by name: parameters, their errors, and models that did not learn their task."""

from __future__ import annotations

import importlib

import pytest
from hand_built import HandBuilt, Mixer, load_task, never, results_of, subject_of, written_at_block

from mecheval.errors import UsageError
from mecheval.metrics import METRICS, identify
from mecheval.tasks import Metric


def test_every_metric_can_be_found() -> None:
    for name, definition in METRICS.items():
        assert definition.name == name
        module, function = definition.function.split(":")
        assert callable(getattr(importlib.import_module(module), function))
        assert identify(Metric(name)).params == definition.defaults


def test_parameters_are_filled_in_and_plain() -> None:
    identity = identify(Metric("recovery", {"components": ("block_in",), "min_gap": 2}))
    assert identity.params == {
        "n_pairs": 64,
        "components": ["block_in"],
        "readout": "logit_difference",
        "direction": "denoising",
        "frozen": False,
        "method": "exact",
        "min_gap": 2.0,
    }
    assert (identity.name, identity.version) == ("recovery", 2)


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        (Metric("recovry"), "Unknown metric 'recovry'. Did you mean 'recovery'?"),
        (Metric("recovery", {"n_pair": 3}), "Did you mean 'n_pairs'?"),
        (Metric("recovery", {"n_pairs": 0}), "at least 1"),
        (Metric("recovery", {"n_pairs": 2.5}), "a int such as 64"),
        (Metric("recovery", {"min_gap": float("nan")}), "at least 0"),
        (Metric("recovery", {"components": ["stream"]}), "among block_in, mixer_in"),
        (Metric("recovery", {"readout": "probability"}), "logit_difference, log_prob"),
        (Metric("bottleneck", {"eraser": "das"}), "class_mean, leace"),
    ],
)
def test_wrong_parameters_are_one_sentence(metric: Metric, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        identify(metric)
    assert sentence in str(caught.value)


def test_an_unknown_variable_is_one_sentence() -> None:
    subject = subject_of(written_at_block(1, 2), load_task("parity"))
    with pytest.raises(UsageError, match="Did you mean 'parity'"):
        results_of(subject, "readability", variables=["party"])


def test_what_was_not_learned_has_reasons_and_no_numbers() -> None:
    task = load_task("s3")
    model = HandBuilt([Mixer(never), Mixer(never)])
    subject = subject_of(model, task, learned=False, accuracy=0.51234)
    ids = set()
    for name in METRICS:
        if name == "behaviour":
            continue
        for result in results_of(subject, name).values():
            ids.add(result.id)
            assert result.reason == "not learned: token accuracy 0.512 is below the gate 0.99"
            assert result.value is result.uncertainty is result.profile is None
            assert (result.references, result.scalars, result.profiles) == ({}, {}, {})
            assert result.n_scored == 0
            on_pairs = "n_pairs" in METRICS[name].defaults
            assert result.config["n_pairs" if on_pairs else "n_train"] > 0
    variables = [f"{kind}/{v}" for kind in ("readability", "bottleneck") for v in task.variables]
    on_pairs = {"recovery/block_in", "recovery/mixer_out", "write_offset", "interchange"}
    assert ids >= {*on_pairs, "mechanism", *variables}


def test_too_few_examples_are_a_reason() -> None:
    subject = subject_of(written_at_block(1, 2), load_task("parity"), limit=12)
    for name in ("readability", "bottleneck"):
        result = results_of(subject, name)[f"{name}/parity"]
        assert result.value is None
        assert result.reason == "fewer than two values of parity have 10 training examples"
        assert result.n_expected == 12
