"""Invented reports whose results name headlines, and parts of them, for tests of tables."""

from __future__ import annotations

from typing import Any

from synthetic_reports import synthetic

from mecheval.reports.schema import (
    Headline,
    Labels,
    MetricResult,
    Report,
    Uncertainty,
)


def result(
    id: str = "token_accuracy/1x",
    value: float | None = 0.9,
    *titles: str | Headline,
    width: float = 0.05,
    **changes: Any,
) -> MetricResult:
    """Return a result; its headlines are titles of its value, or whole headlines."""
    name = changes.pop("name", id.partition("/")[0])
    fields: dict[str, Any] = {
        "family": "behaviour" if id.startswith("token") else "probe",
        "version": 1,
        "title": id,
        "n_expected": 64,
        "n_scored": 0 if value is None else 64,
        "reason": "no gap: 0.01" if value is None else None,
        "headline": [h if isinstance(h, Headline) else Headline(title=h) for h in titles],
    }
    if value is not None and width:
        fields["uncertainty"] = Uncertainty(
            method="bootstrap", level=0.95, low=value - width, high=value + width,
            resampled_unit="sequence",
        )  # fmt: skip
    return MetricResult(id=id, name=name, value=value, **{**fields, **changes})


def report(
    *results: MetricResult,
    seed: int = 0,
    model: str = "gru",
    task: str = "parity",
    labels: dict[str, Any] | None = None,
    **changes: Any,
) -> Report:
    """Return a report of some results; ``labels`` are the model's arguments that were asked for."""
    known = None if labels is None else Labels(model=labels)
    changes.setdefault("model_args", {"layers": 4, **(labels or {})})
    recipe = {"optimizer": "adamw", "lr": 0.003, "gate": 0.99, **changes.pop("recipe", {})}
    return synthetic(
        model, task, seed, metrics=list(results), labels=known, recipe=recipe, **changes
    )


def seeds(*values: float | None, id: str = "token_accuracy/1x", **changes: Any) -> list[Report]:
    """Return a report per value of one result."""
    titles = changes.pop("titles", ("Right answers",))
    return [
        report(result(id, value, *titles), seed=seed, **changes)
        for seed, value in enumerate(values)
    ]
