"""Names of models, tasks and recipes among reports: what was asked for, and what tells them apart.

A model's and a task's name hold the arguments that differ from the defaults, wherever they stand:
``lstm[layers=2]``. Reports that do not say which those are, and reports of one name that are not of
one thing (another commit, another file), have in brackets what differs among them. A recipe is
named by what differs among the recipes of one model on one task, and not at all where there is one.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from mecheval import escape
from mecheval.recipe import GATED, whole
from mecheval.reports.checkpoints import checkpoint_id
from mecheval.reports.label_checks import shown
from mecheval.spec import format_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mecheval.reports.content import Content
    from mecheval.reports.identity import Identity, ModelPart

_HASH = re.compile(r"[0-9a-f]{40,64}")
_WORDS = {
    "optimizer": "{}",
    "lr": "learning rate {}",
    "schedule": "{} schedule",
    "batch": "batches of {}",
    "steps": "at most {} steps",
}
"""How fields of a recipe are told in words; what is swept is told besides."""


NO_GATE = "no gate"
"""What is said in place of *learned* where the recipe's gate is 0, which everything passes."""

ABOUT_NO_GATE = f"{NO_GATE[0].upper()}{NO_GATE[1:]}: none was asked, so it may not be learned."
"""What that means, as a sentence."""


class Name(NamedTuple):
    """What a report is called among others.

    Attributes:
        model: The model, such as ``lstm[layers=2]``.
        task: The task with its version, such as ``dyck@1[k=3]``.
        recipe: What tells its recipe apart, such as ``lr=0.01``; empty where there is but one.
    """

    model: str
    task: str
    recipe: str

    @property
    def row(self) -> str:
        """Return the model, with its recipe where there are several."""
        return f"{self.model} ({self.recipe})" if self.recipe else self.model

    def __str__(self) -> str:
        """Return the whole name in words, on one line and not without end."""
        recipe = f" ({self.recipe})" if self.recipe else ""
        return escape.shortened(f"{self.model} on {self.task}{recipe}")


class Entry(NamedTuple):
    """What a label is made from.

    Attributes:
        name: Always shown.
        fields: Shown where they differ among entries of the same name and ``asked``.
        asked: Always shown, in brackets.
    """

    name: str
    fields: Mapping[str, Any]
    asked: str = ""


def names_of(reports: Sequence[Content]) -> list[Name]:
    """Name all reports, of one place or of several, so that different things have different names.

    A recipe's name holds the limit and the arithmetic of cells that were cut short or not measured
    in float32.
    """
    models = labels(_agreed(_named_by_content(reports)))
    tasks = labels(_agreed([task_entry(report) for report in reports]))
    recipes = [
        Entry(f"{model} on {task}", procedure(report.identity), _unusual(report.identity))
        for model, task, report in zip(models, tasks, reports, strict=True)
    ]
    differing = _differing_by_peer(recipes)
    found = []
    for model, task, entry, more in zip(models, tasks, recipes, differing, strict=True):
        rest = [f"{key}={value}" for key, value in more.items()]
        found.append(Name(model, task, ", ".join([entry.asked, *rest] if entry.asked else rest)))
    return found


def model_entry(report: Content) -> Entry:
    """Return what tells a report's model apart from others."""
    model, content = report.identity.model, checkpoint_id(report.identity.model)
    revision = f"@{model.revision}" if model.revision else ""
    hidden = " (random weights)" if model.source == "random" else ""
    fields = {
        **model.args,
        "source": model.source,
        "content": content and content[:8],
        "commit": None if content else model.commit,
        "weights_sha256": None if content else model.weights_sha256,
        "file_sha256": model.file_sha256,
    }
    asked = format_args(shown(report.labels.model, model.args)) if report.labels else ""
    return Entry(model.name + revision + hidden, fields, asked)


def model_key(model: ModelPart) -> dict[str, Any]:
    """Return what reports of one model share: all that is known of it, but the name of a folder."""
    fields = model.model_dump()
    return {**fields, "name": ""} if checkpoint_id(model) else fields


def task_entry(report: Content) -> Entry:
    """Return what tells a report's task apart from others."""
    task = report.identity.task
    fields = {**task.params, "sample_sha256": task.sample_sha256}
    asked = format_args(shown(report.labels.task, task.params)) if report.labels else ""
    return Entry(f"{task.name}@{task.version}", fields, asked)


def labels(entries: Sequence[Entry]) -> list[str]:
    """Give every entry its name, with what was asked for and what differs in brackets."""
    found = []
    for entry, more in zip(entries, _differing_by_peer(entries), strict=True):
        parts = [entry.asked] if entry.asked else []
        parts += [f"{key}={value}" for key, value in more.items()]
        found.append(f"{entry.name}[{','.join(parts)}]" if parts else entry.name)
    return found


def procedure(identity: Identity) -> dict[str, Any]:
    """Return all that decides a cell's numbers besides model, task, metrics and seed."""
    swept = {name: _best_of(values) for name, values in (identity.sweep or {}).items()}
    rest = {"dtype": identity.dtype, "limit": identity.limit, "protocol": identity.protocol}
    return {**whole(identity.recipe), **swept, **rest}


def recipe_in_words(identity: Identity) -> str:
    """Return how a model was trained, for a person: the fields that decide most."""
    fields, swept = procedure(identity), identity.sweep or {}
    if fields.get("steps") == 0:
        return ", ".join(filter(None, ["not trained", _unusual(identity)]))
    told = [text.format(_short(fields[name])) for name, text in _WORDS.items() if name in fields]
    told += [f"{name} {fields[name]}" for name in sorted(swept) if name not in _WORDS]
    return ", ".join(filter(None, [*told, _unusual(identity)]))


def gate_of(identity: Identity) -> float | None:
    """Return the accuracy from which on the task counts as learned, 0 where nothing is asked.

    None where it is the loss that says so, by its floor.
    """
    gate = identity.recipe.get("gate")
    if isinstance(gate, bool) or not isinstance(gate, int | float):
        return None
    return None if gate and gate_on_of(identity) == "loss" else float(gate)


def gate_on_of(identity: Identity) -> str:
    """Return what the gate is on: ``token``, ``last`` or ``loss``."""
    return str(whole(identity.recipe)["gate_on"])


def gated_of(identity: Identity) -> str:
    """Return what the gate is on is called: ``token accuracy``."""
    return GATED.get(gate_on_of(identity), "accuracy")


def validated_of(identity: Identity) -> str:
    """Return what the validation accuracy is called: ``token accuracy at 2x`` on longer words."""
    times, on = whole(identity.recipe)["stop_length"], gate_on_of(identity)
    called = GATED["token"] if on == "loss" else gated_of(identity)
    return called + ("" if times == 1 else f" at {times}x")


def gate_in_words(identity: Identity) -> str:
    """Return ``gate 0.95``, ``last-position gate 0.95`` or ``gate 0.02 nats below the floor``.

    Nothing where none was asked.
    """
    gate = gate_of(identity)
    if gate is None and gate_on_of(identity) == "loss":
        return f"gate {whole(identity.recipe)['margin']:g} nats below the floor"
    last = "last-position " if gate_on_of(identity) == "last" else ""
    return f"{last}gate {gate:g}" if gate else ""


def learned_in_words(learned: bool | None, identity: Identity) -> str:
    """Return ``learned`` or ``not learned``, or that no gate was asked, or nothing measured.

    A gate of 0 is passed by whatever was trained: that it was learned is not known.
    """
    if learned and gate_of(identity) == 0:
        return NO_GATE
    return {True: "learned", False: "not learned", None: "not measured"}[learned]


def _named_by_content(reports: Sequence[Content]) -> list[Entry]:
    """Return the entries; a checkpoint whose folder was renamed has its first name throughout."""
    entries, first = [model_entry(report) for report in reports], {}
    ids = [checkpoint_id(report.identity.model) for report in reports]
    for found, entry in zip(ids, entries, strict=True):
        first[found] = min(first.get(found, entry.name), entry.name)
    return [
        entry._replace(name=first[found]) if found else entry
        for found, entry in zip(ids, entries, strict=True)
    ]


def _best_of(values: Iterable[Any]) -> str:
    *most, last = [*map(_short, values)] or ["nothing"]
    return f"best of {', '.join(most)} and {last}" if most else last


def _unusual(identity: Identity) -> str:
    limit = [f"limit={identity.limit}"] if identity.limit is not None else []
    return ", ".join(limit + ([f"dtype={identity.dtype}"] if identity.dtype != "float32" else []))


def _agreed(entries: Sequence[Entry]) -> list[Entry]:
    """Give entries of one thing the same ``asked``, also where some reports do not say."""
    found: dict[str, str] = {}
    for entry in entries:
        key = _canonical([entry.name, entry.fields])
        found[key] = min(filter(None, (found.get(key), entry.asked)), default="")
    return [e._replace(asked=found[_canonical([e.name, e.fields])]) for e in entries]


def _differing_by_peer(entries: Sequence[Entry]) -> list[dict[str, str]]:
    """Return, for every entry, the fields that differ among entries of its name, as text."""
    peers: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        peers.setdefault((entry.name, entry.asked), []).append(entry)
    different = {name: _different(group) for name, group in peers.items()}
    return [
        {key: _short(entry.fields.get(key)) for key in different[entry.name, entry.asked]}
        for entry in entries
    ]


def _different(peers: Sequence[Entry]) -> list[str]:
    """Return the fields that differ among entries, absent ones being null."""
    keys = sorted({key for peer in peers for key in peer.fields})
    return [key for key in keys if len({_canonical(peer.fields.get(key)) for peer in peers}) > 1]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value[:8] if _HASH.fullmatch(value) else value
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
