"""``mecheval ls``: what is registered, read from declarations without running them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.cli import options
from mecheval.cli.printing import filtered, print_rows
from mecheval.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from mecheval.cli.printing import Row
    from mecheval.registry import Entry, Kind

KINDS = ("tasks", "models", "metrics", "suites", "sites")
COLUMNS = {
    "tasks": ("name", "version", "from", "summary"),
    "models": ("name", "from", "summary"),
    "metrics": ("name", "version", "scope", "family", "from", "summary"),
    "suites": ("name", "version", "cells", "summary"),
    "sites": ("site", "shape", "side", "path"),
}

_ROOMS = {"local": "local", "planted": "planted by hand"}  # by the first part of a name


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "ls",
        help="list tasks, models, metrics, suites, or the sites of a model",
        description="List what there is: tasks, models, metrics, suites; or the sites of a model. "
        "Entries that cannot be read are listed as broken, with the reason.",
    )
    parser.add_argument(
        "what", nargs="?", metavar="{" + ",".join(KINDS) + "}", help="what to list (default: "
        "tasks, then models)", type=options.one_of(KINDS, see="`mecheval ls --help`"),
    )  # fmt: skip
    parser.add_argument("model", nargs="?", help="the model whose sites are listed")
    parser.add_argument(
        "--filter", "-F", action="append", default=[], metavar="COLUMN=VALUE",
        help="keep rows with this value, such as name=pythia*; repeatable",
    )  # fmt: skip
    options.add_include_path(parser)
    options.add_json(parser, help="print one JSON object per line, with all columns")
    parser.set_defaults(command=ls)


def ls(args: argparse.Namespace) -> int:
    """Print the list.

    Raises:
        UsageError: A model is missing or given in vain, or a filter is malformed.
    """
    if args.what is None:
        for args.what in ("tasks", "models"):
            ls(args)
        return 0
    if (args.what == "sites") != (args.model is not None):
        raise UsageError(
            f"`mecheval ls {args.what}` takes {'a model' if args.what == 'sites' else 'no name'}. "
            "Write `mecheval ls sites mamba`, or `mecheval ls models`."
        )
    rows = _sites(args) if args.what == "sites" else _registered(args)
    print_rows(filtered(rows, args.filter), COLUMNS[args.what], as_json=args.json)
    return 0


def _registered(args: argparse.Namespace) -> list[Row]:
    if args.what == "suites":
        return _suites()
    kind: Kind = args.what.removesuffix("s")
    return [_row(entry) for entry in options.registry_of(args).entries(kind)]


def _row(entry: Entry) -> Row:
    row: Row = {"name": entry.name}
    if entry.kind != "model":
        row["version"] = entry.version
    if entry.kind == "metric":
        row |= {"scope": entry.scope, "family": entry.family}
    return row | {
        "from": entry.distribution or _ROOMS.get(entry.name.partition("/")[0], "built in"),
        "summary": f"broken: {entry.broken}" if entry.broken else entry.summary,
        "status": "broken" if entry.broken else "ok",
        "origin": entry.origin,
    }


def _suites() -> list[Row]:
    from mecheval.harness.suites import load_suite, suite_names

    suites = map(load_suite, suite_names())
    return [
        {
            "name": suite.name,
            "version": suite.version,
            "cells": suite.n_cells,
            "summary": suite.summary
            + (f" (superseded by {suite.superseded_by})" if suite.superseded_by else ""),
            "origin": str(suite.path),
        }
        for suite in suites
    ]


def _sites(args: argparse.Namespace) -> list[Row]:
    import dataclasses

    from mecheval.models.hub.source import Pretrained
    from mecheval.models.listing import site_infos
    from mecheval.models.load import resolve
    from mecheval.models.sites import COMPONENTS
    from mecheval.spec import parse_spec

    source = resolve(parse_spec(args.model), options.registry_of(args))
    # Where activations live does not depend on the weights, unless another model is asked for.
    if isinstance(source, Pretrained) and source.adapter != "merged":
        source = dataclasses.replace(source, weights="random")
    model = source.build(source.example(), seed=0)
    order = list(COMPONENTS)
    found = sorted(site_infos(model), key=lambda info: order.index(info.site.component))
    return [
        {
            "site": str(info.site),
            "layer": info.site.layer,
            "component": info.site.component,
            "shape": info.shape,
            "side": info.side,
            "path": info.path,
        }
        for info in sorted(found, key=lambda info: info.site.layer)
    ]
