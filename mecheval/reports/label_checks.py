"""Whether what names a report is what it was measured with.

Labels name a cell in paths and tables, the identity says what it is. They are written together, so
where they differ one of them was changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.recipe import whole
from mecheval.reports.canonical import normalised
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mecheval.reports.identity import Identity, Labels

CHOOSING = ("size", "preset")
"""Labels that choose values of arguments, and are no arguments themselves."""

_SWEEP = "sweep."
_OF_RUN = ("limit", "dtype", "snapshots")


def shown(label: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may name a model or a task: arguments of the identity, and what chose them."""
    return {key: value for key, value in label.items() if key in arguments or key in CHOOSING}


def contradiction(labels: Labels, identity: Identity) -> str:
    """Say which label is not what the identity holds; an empty string where all are.

    An argument that the identity leaves out, as models do with some at their defaults, contradicts
    nothing.
    """
    sweep = {f"{_SWEEP}{name}": values for name, values in (identity.sweep or {}).items()}
    of_run = {name: getattr(identity, name) for name in _OF_RUN}
    run = {**whole(identity.recipe), **of_run, **sweep}
    found = [
        *differing("model", labels.model, identity.model.args),
        *differing("task", labels.task, identity.task.params),
        *differing("run", labels.run, run),
        *_unknown(labels.run, run),
        *_not_measured(labels.run.get("metrics", []), identity),
    ]
    return next(iter(found), "")


def differing(of: str, label: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    """Say which labels of a model, a task or a run have other values there."""
    for key, value in label.items():
        if key in there and normalised(value) != normalised(there[key]):
            yield f"{of}.{key} is {quoted(value)}, and {quoted(there[key])} in the identity"


def _unknown(label: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    for key in label:
        if key not in there and key != "metrics":
            yield f"{quoted(f'run.{key}')} is nothing that the identity has"


def _not_measured(named: Any, identity: Identity) -> Iterator[str]:
    there = {metric.name for metric in identity.metrics}
    for text in named if isinstance(named, list) else [named]:
        if _metric(text) not in there:
            yield f"run.metrics has {quoted(text)}, which is no metric of the identity"


def _metric(text: Any) -> str | None:
    """Return the name of a metric without its parameters; None for what is no name."""
    try:
        return parse_spec(text).name if isinstance(text, str) else None
    except UsageError:
        return None
