"""Names of models and tasks among reports: as short as tells all of them apart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from mecheval.reports.files import checkpoint_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.reports.schema import Report


class Entry(NamedTuple):
    """What a label is made from.

    Attributes:
        name: Always shown.
        fields: Shown where they differ among entries of the name, absent ones as null.
        optional: Shown where present ones differ; what only some entries have tells none apart.
    """

    name: str
    fields: Mapping[str, Any]
    optional: Mapping[str, Any] = {}


def task_entry(report: Report) -> Entry:
    """Return what tells a report's task apart from others."""
    task = report.identity.task
    return Entry(f"{task.name}@{task.version}", task.params)


def model_entry(report: Report) -> Entry:
    """Return what tells a report's row apart: all that decides its numbers but task and seed."""
    identity = report.identity
    model = identity.model
    content = checkpoint_id(model)
    fields = {
        **model.args,
        "source": model.source,
        "content": content and content[:8],
        "commit": None if content else model.commit,
        "weights_sha256": None if content else model.weights_sha256,
        **{f"recipe.{name}": value for name, value in identity.recipe.items()},
        **{f"sweep.{name}": values for name, values in (identity.sweep or {}).items()},
        "snapshots": identity.snapshots,
        "dtype": identity.dtype,
        "protocol": identity.protocol,
    }
    metrics = {
        f"{metric.name}.{name}": value
        for metric in identity.metrics
        for name, value in {"version": metric.version, **metric.params}.items()
    }
    revision = f"@{model.revision}" if model.revision else ""
    return Entry(model.name + revision, fields, metrics)


def model_labels(reports: Sequence[Report]) -> list[str]:
    """Name the model of every report, without recipe and metrics where they differ by task alone.

    Reports of one task that share such a name come from one recipe; where that does not hold, all
    names say what differs.
    """
    entries = _named_by_content(reports)
    whole = labels(entries)
    short = labels(list(map(_without_procedure, entries)))
    tasks = labels([task_entry(report) for report in reports])
    meant: dict[tuple[str, str], set[str]] = {}
    for task, name, full in zip(tasks, short, whole, strict=True):
        meant.setdefault((task, name), set()).add(full)
    return short if all(len(names) == 1 for names in meant.values()) else whole


def _named_by_content(reports: Sequence[Report]) -> list[Entry]:
    """Return the entries; a checkpoint whose folder was renamed has its first name throughout."""
    entries, first = [model_entry(report) for report in reports], {}
    ids = [checkpoint_id(report.identity.model) for report in reports]
    for found, entry in zip(ids, entries, strict=True):
        first[found] = min(first.get(found, entry.name), entry.name)
    return [
        entry._replace(name=first[found]) if found else entry
        for found, entry in zip(ids, entries, strict=True)
    ]


def _without_procedure(entry: Entry) -> Entry:
    fields = {
        key: value
        for key, value in entry.fields.items()
        if not key.startswith(("recipe.", "sweep")) and key != "snapshots"
    }
    return Entry(entry.name, fields)


def labels(entries: Sequence[Entry]) -> list[str]:
    """Give every entry its name, with what differs among entries of that name in brackets."""
    return [
        f"{entry.name}[{text}]" if (text := _differing(entry, entries)) else entry.name
        for entry in entries
    ]


def _differing(entry: Entry, entries: Sequence[Entry]) -> str:
    peers = [other for other in entries if other.name == entry.name]
    keys = sorted({key for peer in peers for key in peer.fields})
    shown = {
        key: entry.fields.get(key)
        for key in keys
        if len({_canonical(peer.fields.get(key)) for peer in peers}) > 1
    }
    for key, value in sorted(entry.optional.items()):
        present = (peer.optional[key] for peer in peers if key in peer.optional)
        if len({_canonical(other) for other in present}) > 1:
            shown[key] = value
    return ",".join(f"{key}={_short(value)}" for key, value in shown.items())


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value if len(value) < 40 else value[:8]  # hashes
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
