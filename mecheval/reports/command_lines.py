"""The command that makes a report again, from what names it.

Labels hold what was asked for in place of defaults, so that a short command says the whole cell:
``mecheval run --models 'gru[width=64]' --tasks parity --seeds 0-3 --recipe lr=0.005``.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from mecheval.reports.collection.words import ranges
from mecheval.reports.label_checks import shown
from mecheval.spec import Spec, format_args, format_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mecheval.reports.content import Content

SWEEP = "sweep."
_FLAGS = ("limit", "dtype", "snapshots")


def commands(reports: Iterable[Content]) -> list[str]:
    """Return a command per kind of reports: those that differ in nothing but their seeds have one.

    A report that does not say what was asked for has none, nor has one of a model in memory.
    """
    found: dict[str, set[int]] = {}
    for report in reports:
        if report.labels is not None and report.identity.model.source != "module":
            found.setdefault(_without_seeds(report), set()).add(report.identity.seed)
    return [f"{command} --seeds {ranges(seeds)}" for command, seeds in found.items()]


def _without_seeds(report: Content) -> str:
    labels, model, task = report.labels, report.identity.model, report.identity.task
    assert labels is not None  # noqa: S101 - reports without labels are left out above
    named = Spec(model.name, shown(labels.model, model.args), model.revision)
    asked = Spec(task.name, shown(labels.task, task.params))
    words = ["mecheval", "run", "--models", str(named), "--tasks", str(asked)]
    run = dict(labels.run)
    metrics, swept = run.pop("metrics", None), {}
    for flag in _FLAGS:
        value = run.pop(flag, None)
        words += [] if value is None else [f"--{flag}", str(value)]
    for key in [key for key in run if key.startswith(SWEEP)]:
        swept[key.removeprefix(SWEEP)] = run.pop(key)
    words += ["--recipe", format_args(run)] if run else []
    words += ["--sweep", *(_swept(key, swept[key]) for key in sorted(swept))] if swept else []
    words += ["--metrics", *([metrics] if isinstance(metrics, str) else metrics)] if metrics else []
    return shlex.join(words)


def _swept(key: str, values: Any) -> str:
    several = values if isinstance(values, list) else [values]
    return f"{key}={','.join(map(format_value, several))}"
