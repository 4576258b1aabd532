"""``mecheval new``: a task, model or metric to start from, with a test; both pass as they are."""

from __future__ import annotations

import keyword
import re
import shlex
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from mecheval.cli import options
from mecheval.cli.printing import say
from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.paths import exists

if TYPE_CHECKING:
    import argparse

TEMPLATES = Path(__file__).with_name("templates")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
_MEASURED = {
    "task": "--models gru --tasks",
    "model": "--tasks parity --models",
    "metric": "--models gru --tasks parity --metrics",
}
"""What can be written, with the flags of a run that its name goes behind."""


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "new",
        help="write a task, a model or a metric to start from, with a test",
        description="Write NAME.py and test_NAME.py: a small task, model or metric that works, to "
        "be changed into yours, and a test of its contract.",
    )
    parser.add_argument(
        "kind", metavar="{" + ",".join(_MEASURED) + "}", help="what to write",
        type=options.one_of(tuple(_MEASURED), see="`mecheval new --help`"),
    )  # fmt: skip
    parser.add_argument("name", help="its name: lower-case letters, digits and _")
    options.add_output(parser, help="folder for the two files (default: this one)", default=".")
    parser.set_defaults(command=new)


def new(args: argparse.Namespace) -> int:
    """Write the two files and say what to do next.

    Raises:
        UsageError: The name is no Python name, or a file is already there.
        StorageError: A file could not be written.
    """
    from mecheval.reports.documents import write_document

    if not _NAME.fullmatch(args.name) or keyword.iskeyword(args.name):
        raise UsageError(
            f"{quoted(args.name)} cannot name a Python file. Use lower-case letters, digits and _, "
            "beginning with a letter."
        )
    folder: Path = args.output
    paths = {
        args.kind: folder / f"{args.name}.py",
        f"test_{args.kind}": folder / f"test_{args.name}.py",
    }
    for path in paths.values():
        if exists(path):
            raise UsageError(f"There already is a file {path}. Choose another name or --output.")
    for template, path in paths.items():
        write_document(path, _filled(template, args.name))
    own, test = (shlex.quote(str(path)) for path in paths.values())
    say(f"Wrote {own} and {test}. Check them with:")
    say(f"  mecheval validate local/{args.name} --include-path {own}")
    say(f"  pytest {test}")
    flags = _MEASURED[args.kind]
    say(f"Then measure: mecheval run {flags} local/{args.name} --include-path {own}")
    return 0


def _filled(template: str, name: str) -> str:
    text = (TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
    words = name.split("_")
    return Template(text).substitute(
        name=name,
        title=name.replace("_", " ").capitalize(),
        Class="".join(word.capitalize() for word in words if word),
    )
