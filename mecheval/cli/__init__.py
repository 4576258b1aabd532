"""The command line: one module per command, each with ``add(subparsers)`` that registers it.

A command's function takes the parsed arguments and returns the exit code: 0 all well, 1 a cell
failed, 2 usage, 3 results could not be written, 130 and 143 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from mecheval.cli.options import Parser, chosen_command, normalised, with_twins
from mecheval.cli.printing import say
from mecheval.errors import unknown
from mecheval.own_code.explaining import explained
from mecheval.own_code.importing import place_of, used

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COMMANDS = (
    "run", "status", "similarity", "ls", "show", "validate", "compare", "leaderboard", "report",
    "new", "doctor", "selftest",
)  # fmt: skip

ALIASES = {
    "eval": "run", "evaluate": "run", "train": "run", "measure": "run", "list": "ls",
    "info": "show", "cat": "show", "check": "validate", "verify": "validate", "plot": "report",
    "draw": "report", "figure": "report", "table": "leaderboard", "tables": "leaderboard",
    "create": "new", "init": "new", "test": "selftest", "env": "doctor",
    "progress": "status", "queue": "status", "jobs": "status",
}  # fmt: skip
"""What other programs call these commands."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments after the program's name; those of the process by default.

    Returns:
        The exit code.
    """
    used.clear()
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()  # or the interpreter would do it at its end, where nothing catches
    except BrokenPipeError:  # the reader of a pipe went away; nothing is left to say to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _run(argv: Sequence[str]) -> int:
    """Run one command; whatever ends it becomes an exit code, but for a pipe that is closed.

    Raises:
        BrokenPipeError: The reader of the output went away.
    """
    try:
        return _dispatch(normalised(argv))
    except SystemExit as stop:
        if place_of(stop) is None:  # argparse, after --help and --version
            return stop.code if isinstance(stop.code, int) else 0
        return _ended(stop)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:
        return _ended(error)


def _ended(error: BaseException) -> int:
    """Say what a user can do about an error, and return the exit code; raise any other one."""
    problem = explained(error)
    if problem is None:
        raise error
    say(f"mecheval: {problem}", error=True)
    return problem.exit_code


def build_parser(commands: Iterable[str] = COMMANDS) -> Parser:
    """Assemble the parser with the given commands, importing only their modules."""
    from mecheval import __version__

    parser = Parser(
        prog="mecheval",
        description="Evaluate by which mechanism a sequence model solves a task.",
        epilog="Every flag can be set as MECHEVAL_<FLAG> in the environment. "
        "Exit codes: 0 all cells succeeded, 1 a cell failed, 2 usage, 3 results could not be "
        "written, 130/143 interrupted.",
    )
    parser.add_argument("--version", "-V", action="version", version=f"mecheval {__version__}")
    subparsers = parser.add_subparsers(
        dest="command_name", metavar="COMMAND", title="commands", parser_class=Parser
    )
    for command in commands:
        importlib.import_module(f"mecheval.cli.{command}").add(subparsers)
    return parser


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0].startswith("-"):
        parser = build_parser()
        parser.parse_args(argv)
        parser.print_help()
        return 0
    if argv[0] not in COMMANDS:
        raise unknown("command", argv[0], COMMANDS, see="`mecheval --help`", aliases=ALIASES)
    parser = build_parser([argv[0]])
    chosen, depth = chosen_command(parser, argv)
    if chosen.commands and argv[depth:] and not argv[depth].startswith("-"):
        kind, see = f"command of {chosen.prog}", f"`{chosen.prog} --help`"
        raise unknown(kind, argv[depth], chosen.commands, see=see)
    args = parser.parse_args(with_twins(parser, argv, os.environ))
    return args.command(args)
