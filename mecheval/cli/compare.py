"""``mecheval compare``: two models, recipes or folders of reports, number by number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mecheval import escape
from mecheval.cli import options
from mecheval.cli.printing import say
from mecheval.errors import UsageError, unknown
from mecheval.paths import exists, is_dir, resolved

if TYPE_CHECKING:
    import argparse

    from mecheval.reports.collection import Collection

_RECIPE = re.compile(r"[A-Za-z_]\w*=")


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "compare",
        help="compare two models, recipes or folders of reports",
        description="Compare two models, two recipes, or two folders of reports, number by number: "
        "differences paired by seed, or with one seed by example, with their intervals and p "
        "values corrected for their number.",
    )
    for side, other in (("A", "B"), ("B", "A")):
        parser.add_argument(
            side.lower(), metavar=side,
            help=f"a file or folder of reports; or among RESULTS a model, such as mamba[layers=2], "
            f"or a recipe, such as lr=1e-3; to be compared with {other}",
        )  # fmt: skip
    parser.add_argument(
        "--results", type=options.path, default=Path("results"), metavar="RESULTS",
        help="folder of reports in which models and recipes are looked up (default: results)",
    )  # fmt: skip
    options.add_list(
        parser, "--tasks", "--task", "-t", metavar="NAME",
        help="tasks to compare on: parity,dyck[k=3] (default: all)",
    )  # fmt: skip
    options.add_json(parser, help="print the comparison as JSON instead of as Markdown")
    parser.set_defaults(command=compare)


def compare(args: argparse.Namespace) -> int:
    """Print the differences of all headline numbers that both sides have.

    Raises:
        UsageError: A side names nothing, or more than one thing.
    """
    from mecheval.reports.comparison import compare as compare_reports

    tasks = options.read(args.tasks, "--tasks", options.names) or []
    reader = _Reader()
    sides = [_on_tasks(_side(text, args.results, reader), tasks) for text in (args.a, args.b)]
    comparison = compare_reports(*sides)
    say((comparison.to_json() if args.json else comparison.to_markdown()).rstrip("\n"))
    return 0


class _Reader:
    """Reads folders and files of reports, each once, and names on stderr what does not count."""

    def __init__(self) -> None:
        self._found: dict[Path, Collection] = {}

    def __call__(self, path: Path) -> Collection:
        """Return the reports.

        Raises:
            UsageError: There are none.
        """
        key = resolved(path)
        if key not in self._found:
            self._found[key] = _read(path)
        return self._found[key]


def _side(text: str, results: Path, read: _Reader) -> Collection:
    """Return the reports that a side names.

    Raises:
        UsageError: It names nothing, or a model that several could be.
    """
    if not text.strip():
        raise UsageError("A side is empty. Give a file or folder of reports, a model or a recipe.")
    path = options.path(text)
    if exists(path):
        return read(path)
    if not exists(results):
        raise UsageError(
            f"{escape.quoted(text)} is no file or folder, and there is no folder {results} in "
            "which a model or a recipe could be looked up. Give --results one."
        )
    collection = read(results)
    if _RECIPE.match(text):
        return _by_recipe(collection, text, results)
    found = collection.select(model=text)
    models = sorted({group.name.model for group in found})
    if not models:
        known = {name for g in collection for name in (g.name.model, g.identity.model.name)}
        raise unknown("model, file or folder", text, known, see=f"what {results} holds")
    if len(models) > 1:
        raise UsageError(
            f"{len(models)} models in {results} fit {escape.quoted(text)}: {', '.join(models)}. "
            "Give one of them in full."
        )
    return found


def _by_recipe(collection: Collection, text: str, results: Path) -> Collection:
    from mecheval.spec import parse_assignments

    found = collection.select(recipe=parse_assignments(text))
    if not found:
        raise UsageError(
            f"No report in {results} was trained with {escape.quoted(text)}, unless by a sweep. "
            "Give a field of a recipe and its value as they stand in a report."
        )
    return found


def _on_tasks(collection: Collection, tasks: list[str]) -> Collection:
    from mecheval.reports.collection import Collection

    if not tasks:
        return collection
    groups = {}
    for task in tasks:
        found = collection.select(task=task)
        if not found:
            known = {name for g in collection for name in (g.name.task, g.identity.task.name)}
            raise unknown("task", task, known, see="the tasks that the reports are of")
        groups |= {id(group): group for group in found}
    return Collection(list(groups.values()))


def _read(path: Path) -> Collection:
    """Read a folder, and name on stderr what does not count."""
    from mecheval.reports.collection import load_results

    collection = load_results(path)
    if collection.refused and not is_dir(path):
        raise UsageError(f"The report {path} does not count ({collection.refused[0].reason}).")
    for item in collection.refused:
        say(escape.line(f"mecheval: left out {path / item.path}: {item.reason}"), error=True)
    if not collection:
        raise UsageError(f"The folder {path} holds no finished reports. Give one that does.")
    return collection
