"""``mecheval show``: one task, model, metric, suite, report or folder of reports."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from mecheval.cli import options
from mecheval.cli.kinds import FILES, KINDS, kind_of
from mecheval.cli.printing import print_card
from mecheval.errors import UsageError, unknown
from mecheval.paths import exists, is_dir

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from mecheval.models.contract import ModelCard
    from mecheval.recipe import Recipe


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "show",
        help="show a task, a model, a metric, a suite, a report, or a folder of reports",
        description="Show what is known of a task, a model or a metric: version, parameters with "
        "their defaults, reference, source; the grids of a suite; the results in a report; the "
        "tables of a folder of reports. What a name stands for is found out.",
    )
    parser.add_argument(
        "words", nargs="+", metavar="THING",
        help="a name, with arguments if wanted: dyck[k=3]; or a file or folder. Where it could be "
        f"several things, say which before it: {', '.join(KINDS)}",
    )  # fmt: skip
    options.add_include_path(parser)
    options.switch(parser, "--bibtex", help="print what to cite, as BibTeX, instead of the card")
    options.add_json(parser, help="print one JSON object")
    parser.set_defaults(command=show)


def show(args: argparse.Namespace) -> int:
    """Print the card.

    Raises:
        UsageError: The name is unknown or names several things, or the file is not a report.
    """
    kind, args.name = _thing(args)
    if args.bibtex:
        from mecheval.cli.show_bibtex import print_bibtex

        return print_bibtex(kind, args)
    if kind in FILES:
        from mecheval.cli.show_report import print_folder, print_report

        prints = print_folder if kind == "folder" else print_report
        prints(options.path(args.name), as_json=args.json)
        return 0
    kinds = {"task": _task, "model": _model, "metric": _metric, "suite": _suite}
    print_card(kinds[kind](args), as_json=args.json)
    return 0


def _thing(args: argparse.Namespace) -> tuple[str, str]:
    """Return what kind of thing is to be shown, and its name."""
    first, *rest = args.words
    if not rest:
        if first in KINDS and not exists(options.path(first)):
            raise UsageError(
                f"`mecheval show {first}` needs a name. Write `mecheval show {first} NAME`, or "
                "`mecheval show NAME`."
            )
        return kind_of(first, options.registry_of(args), command="mecheval show"), first
    if len(rest) > 1:
        raise UsageError(f"`mecheval show` shows one thing, not {len(args.words)}. Give one name.")
    if first not in KINDS:
        raise unknown("kind", first, KINDS, see=f"these: {', '.join(KINDS)}")
    if first == "report" and is_dir(options.path(rest[0])):
        return "folder", rest[0]
    return first, rest[0]


def _task(args: argparse.Namespace) -> dict[str, Any]:
    from mecheval.cli.docs import parameters
    from mecheval.harness.building import build_task
    from mecheval.recipe import GATED
    from mecheval.spec import parse_spec

    spec, registry = parse_spec(args.name), options.registry_of(args)
    task = build_task(spec, registry)
    floors = _floors(task)
    return {
        "task": spec.name,
        "version": task.card.version,
        "summary": task.card.summary,
        "reference": task.card.reference,
        "source": registry.get("task", spec.name).origin,
        "parameters": [
            {**parameter, "value": _plain(getattr(task, parameter["name"]))}
            for parameter in parameters(type(task))
        ],
        "presets": {preset: _assignments(args) for preset, args in task.presets.items()},
        "symbols": list(task.symbols),
        "answers": [task.symbols[index] for index in task.answers],
        "variables": {name: f"{n} values" for name, n in task.variables.items()},
        "tests": {factor: f"{n} symbols" for factor, n in task.test_lengths.items()},
        "gate": GATED[task.gate_on],
        "chance": round(task.chance, 4),
        "floors": floors,
        "behaviour": str(task.card.behaviour),
        "mechanisms": list(map(str, task.card.mechanisms)),
    }


def _floors(task: Any) -> dict[str, float]:
    from mecheval.tasks.floors import task_floors

    accuracy = task_floors(task, 0).answer.accuracy
    return {name: round(value, 4) for name, value in accuracy.items()}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _model(args: argparse.Namespace) -> dict[str, Any]:
    from mecheval.models.load import HUB, resolve
    from mecheval.spec import parse_spec

    spec, registry = parse_spec(args.name), options.registry_of(args)
    source = resolve(spec, registry)
    in_registry = not spec.name.startswith(HUB)
    return {
        "model": spec.name,
        **_card(source.card),
        "source": registry.get("model", spec.name).origin if in_registry else None,
        "parameters": _model_parameters(source),
        "sizes": {size: _assignments(args) for size, args in source.card.sizes.items()},
        "size": source.size,
        "recipe": _recipe(source.recipe),
    }


def _card(card: ModelCard) -> dict[str, Any]:
    return {
        "summary": card.summary,
        "architecture": card.architecture,
        "reference": card.reference,
        "license": card.license,
    }


def _model_parameters(source: Any) -> list[dict[str, Any]]:
    """Return the arguments with the values that they have here, and what they mean."""
    from mecheval.cli.docs import parameters

    of_source: dict[str, Any] = getattr(source, "args", {})
    return [
        {**parameter, "value": _plain(of_source[parameter["name"]])}
        for parameter in parameters(type(source))
        if parameter["name"] in of_source
    ]


def _assignments(args: Any) -> str:
    from mecheval.spec import format_args

    return format_args(args)


def _recipe(recipe: Recipe) -> list[dict[str, Any]]:
    from mecheval.cli.docs import parameters

    values = dataclasses.asdict(recipe)
    return [
        {**parameter, "value": _plain(values[parameter["name"]])}
        for parameter in parameters(type(recipe))
    ]


def _metric(args: argparse.Namespace) -> dict[str, Any]:
    from typing import get_type_hints

    from mecheval.cli.docs import parameters
    from mecheval.metrics import configured_metric
    from mecheval.spec import parse_spec

    spec, registry = parse_spec(args.name), options.registry_of(args)
    metric = configured_metric(spec, registry)
    card, hints = metric.card, get_type_hints(type(metric))
    return {
        "metric": spec.name,
        "version": card.version,
        "family": card.family,
        "summary": card.summary,
        "reference": card.reference,
        "source": registry.get("metric", spec.name).origin,
        "needs": "; ".join(map(str, card.needs)),
        "columns": card.columns,
        "parameters": [
            {
                "name": parameter["name"],
                "value": metric.params[parameter["name"]],
                "doc": _allowed(parameter["doc"], hints[parameter["name"]]),
            }
            for parameter in parameters(type(metric))
        ],
        "measures": _docstring(type(metric)),
    }


def _allowed(doc: str, hint: Any) -> str:
    """Return what a parameter is, and its choices where it has some."""
    from typing import Literal, get_args, get_origin

    choices = ", ".join(map(str, get_args(hint))) if get_origin(hint) is Literal else ""
    return doc + (f" One of {choices}." if choices else "")


def _docstring(cls: type) -> str:
    """Return what a class says of itself, without the list of its fields."""
    import inspect

    return (inspect.getdoc(cls) or "").partition("\nAttributes:")[0].replace("``", "").strip()


def _suite(args: argparse.Namespace) -> dict[str, Any]:
    from mecheval.harness.suites import load_suite

    suite = load_suite(args.name)
    return {
        "suite": suite.name,
        "version": suite.version,
        "superseded by": suite.superseded_by,
        "summary": suite.summary,
        "source": str(suite.path),
        "cells": suite.n_cells,
        **{f"grid {i}": _grid(grid) for i, grid in enumerate(suite.grids, 1)},
        "claims": len(suite.claims),
    }


def _grid(grid: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: _assignments(value) if isinstance(value, dict) else ", ".join(map(str, value))
        if isinstance(value, list) else str(value)
        for key, value in grid.items()
    }  # fmt: skip
