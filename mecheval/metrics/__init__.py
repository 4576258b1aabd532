"""Metrics by name: behaviour, and three kinds of mechanistic evidence. Light to import.

A metric measures a subject (a model on a task) and returns results with intervals, references and
profiles; it asks :mod:`mecheval.interventions` for activations and patched answers.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mecheval.errors import UsageError, unknown
from mecheval.metrics.subject import Subject
from mecheval.models.sites import COMPONENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.reports.schema import MetricIdentity, MetricResult
    from mecheval.tasks.contract import Metric

__all__ = ["METRICS", "MetricDefinition", "Subject", "identify", "measure"]

Family = Literal["behaviour", "intervention", "probe", "bottleneck"]


@dataclass(frozen=True)
class MetricDefinition:
    """What is known of a metric without running it.

    Attributes:
        name: Registered name.
        version: Raised when its numbers change.
        family: Kind of evidence.
        summary: One line for listings.
        function: ``module:function`` that measures a subject.
        defaults: All parameters with their defaults, as JSON values.
        choices: Allowed values of the parameters that are names.
    """

    name: str
    version: int
    family: Family
    summary: str
    function: str
    defaults: Mapping[str, Any]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_PROBE_SIZES = {"n_train": 2000, "n_validation": 500, "n_test": 1000}
_ERASERS = ("class_mean", "leace", "row_space", "direction", "inlp")

METRICS: dict[str, MetricDefinition] = {
    definition.name: definition
    for definition in (
        MetricDefinition(
            "behaviour",
            1,
            "behaviour",
            "token, last-position and sequence accuracy at the training length and beyond",
            "mecheval.metrics.behaviour:measure_behaviour",
            {"n": 1024, "n_longer": 512},
        ),
        MetricDefinition(
            "recovery",
            2,
            "intervention",
            "share of the clean-corrupted gap that one patched activation brings back",
            "mecheval.metrics.intervention.recovery:measure_recovery",
            {
                "n_pairs": 64,
                "components": ["block_in", "mixer_out"],
                "readout": "logit_difference",
                "direction": "denoising",
                "frozen": False,
                "method": "exact",
                "min_gap": 1.0,
            },
            {
                "components": tuple(COMPONENTS),
                "readout": ("logit_difference", "log_prob"),
                "direction": ("denoising", "noising"),
                "method": ("exact", "attribution"),
            },
        ),
        MetricDefinition(
            "write_offset",
            1,
            "intervention",
            "how many positions after a token its content enters a mixer's memory",
            "mecheval.metrics.intervention.write_offset:measure_write_offset",
            {"n_pairs": 256, "max_offset": 4},
        ),
        MetricDefinition(
            "convolution",
            1,
            "intervention",
            "what the answers owe to each tap of the short convolutions, by layer and lag",
            "mecheval.metrics.circuit.convolution:measure_convolution",
            {"n": 128, "n_pairs": 64, "max_offset": 3},
        ),
        MetricDefinition(
            "induction_circuit",
            1,
            "intervention",
            "previous-token and induction heads and the path between them, or taps and states",
            "mecheval.metrics.circuit.induction_circuit:measure_induction_circuit",
            {"n_pairs": 64, "max_heads": 16, "max_offset": 3},
        ),
        MetricDefinition(
            "interchange",
            1,
            "intervention",
            "share of the answer that one component, layer and role brings back, or takes away",
            "mecheval.metrics.intervention.interchange:measure_interchange",
            {
                "n_pairs": 128,
                "components": ["block_in", "conv_out", "mixer_out", "block_out"],
                "threshold": 0.5,
                "min_gap": 0.1,
            },
            {"components": tuple(COMPONENTS)},
        ),
        MetricDefinition(
            "mechanism",
            2,
            "intervention",
            "verdicts on how a token is retrieved, and on what binds it to its key",
            "mecheval.metrics.intervention.mechanism:measure_mechanism",
            {"n_pairs": 128, "threshold": 0.5, "min_gap": 0.1},
        ),
        MetricDefinition(
            "readability",
            1,
            "probe",
            "held-out accuracy of a linear probe for a variable, above its floor, by layer",
            "mecheval.metrics.probe.readability:measure_readability",
            {
                "variables": [],
                **_PROBE_SIZES,
                "inverse_l2": [0.001, 0.03, 1.0, 30.0],
                "n_controls": 20,
            },
        ),
        MetricDefinition(
            "bottleneck",
            1,
            "bottleneck",
            "layer at which erasing a variable hurts the answer most, above random subspaces",
            "mecheval.metrics.bottleneck.bottleneck:measure_bottleneck",
            {
                "variables": [],
                "eraser": "class_mean",
                **_PROBE_SIZES,
                "inverse_l2": [0.001, 0.03, 1.0, 30.0],
                "n_fit": 2000,
                "n_erase": 256,
                "n_random": 20,
                "n_per_random": 64,
                "min_readability": 0.2,
                "max_refit": 0.1,
                "min_random_kept": 0.9,
                "min_necessity": 0.05,
            },
            {"eraser": _ERASERS},
        ),
    )
}
"""Every metric by name. An empty list of variables means all variables of the task."""


def identify(metric: Metric) -> MetricIdentity:
    """Fill in a metric's defaults and check its parameters.

    Raises:
        UsageError: The metric or a parameter is unknown, or a value is not allowed.
    """
    from mecheval.reports.schema import MetricIdentity

    definition = METRICS.get(metric.name)
    if definition is None:
        raise unknown("metric", metric.name, METRICS, see="`mecheval ls metrics`")
    params = dict(definition.defaults)
    for key, value in metric.params.items():
        if key not in params:
            raise unknown(
                f"parameter of {metric.name}",
                key,
                params,
                see=f"`mecheval show metric {metric.name}`",
            )
        params[key] = _checked(definition, key, value)
    return MetricIdentity(name=definition.name, version=definition.version, params=params)


def measure(identity: MetricIdentity, subject: Subject) -> list[MetricResult]:
    """Measure one metric on a subject.

    Args:
        identity: The metric as :func:`identify` returns it.
        subject: The model on its task.

    Raises:
        UsageError: A parameter names a variable or component that does not exist here.
    """
    module, function = METRICS[identity.name].function.split(":")
    return getattr(importlib.import_module(module), function)(identity, subject)


def _checked(definition: MetricDefinition, key: str, value: Any) -> Any:
    default = definition.defaults[key]
    value = list(value) if isinstance(value, tuple) else value
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    choices = definition.choices.get(key, ())
    items: list[Any] = value if isinstance(value, list) else [value]
    lowest = int(type(default) is int)
    if type(value) is not type(default):
        allowed = f"a {type(default).__name__} such as {default!r}"
    elif isinstance(value, int | float) and not value >= lowest:
        allowed = f"at least {lowest}"
    elif choices and any(item not in choices for item in items):
        allowed = f"among {', '.join(choices)}"
    else:
        return value
    raise UsageError(
        f"Parameter {key}={value!r} of metric '{definition.name}' is not allowed. Give {allowed}."
    )
