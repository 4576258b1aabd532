"""``mecheval show --bibtex``: what to cite for a task, a model, a metric or a suite."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mecheval.cli import options
from mecheval.cli.kinds import NAMED
from mecheval.cli.printing import say
from mecheval.errors import UsageError
from mecheval.escape import quoted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mecheval.registry import Registry


def print_bibtex(kind: str, args: argparse.Namespace) -> int:
    """Print the entries of what is named, behind that of this package.

    Raises:
        UsageError: It has no reference, as files have none; or it is unknown.
    """
    from mecheval.text.bibtex import SOFTWARE, entries

    if kind not in NAMED:
        raise UsageError(f"A {kind} has no reference. Name a {', a '.join(NAMED)} for --bibtex.")
    references = list(dict.fromkeys(_references(kind, args.name, options.registry_of(args))))
    found = entries(references)
    if args.json:
        say(json.dumps({"references": references, "bibtex": "\n\n".join(map(str, found))}))
        return 0
    say("\n\n".join([SOFTWARE, *map(str, found)]))
    if not found:
        say(f"mecheval: {quoted(args.name)} declares no paper.", error=True)
    return 0


def _references(kind: str, name: str, registry: Registry) -> Iterator[str]:
    from mecheval.harness.building import build_task
    from mecheval.metrics import configured_metric
    from mecheval.models.load import resolve
    from mecheval.spec import parse_spec

    if kind == "suite":
        yield from _of_suite(name, registry)
    elif kind == "task":
        yield build_task(parse_spec(name), registry).card.reference
    elif kind == "model":
        yield resolve(parse_spec(name), registry).card.reference
    else:
        yield configured_metric(parse_spec(name), registry).card.reference


def _of_suite(name: str, registry: Registry) -> Iterator[str]:
    """Yield the references of all tasks, models and metrics of a suite."""
    from mecheval.harness.building import build_task
    from mecheval.harness.suites import load_suite
    from mecheval.spec import parse_spec

    for grid in load_suite(name).grids:
        for task in grid["tasks"]:
            yield from _references("task", task, registry)
            mechanisms = build_task(parse_spec(task), registry).card.mechanisms
            for metric in grid.get("metrics") or map(str, mechanisms):
                yield from _references("metric", metric, registry)
        for model in grid["models"]:
            yield from _references("model", model, registry)
