"""What the commands share: the parser, its flags' environment twins, lists, seeds, the registry."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mecheval.errors import UsageError, unknown
from mecheval.escape import quoted
from mecheval.paths import expanded
from mecheval.text.quoting import split_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mecheval.registry import Registry

_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
_SEEDS = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_MOST_SEEDS = 10_000
_LONG = re.compile(r"'[^']{81,}'")

ALIASES = {
    "--config": "--suite", "--output-path": "--output", "--output-dir": "--output",
    "--out-dir": "--output", "--save-dir": "--output", "--epochs": "--recipe steps=N",
    "--steps": "--recipe steps=N", "--lr": "--recipe lr=X", "--learning-rate": "--recipe lr=X",
    "--train-batch-size": "--recipe batch=N", "--workers": "--jobs", "--num-workers": "--jobs",
    "--processes": "--jobs", "--force": "--overwrite", "--use-cache": "--cache",
    "--cache-dir": "--cache", "--precision": "--dtype", "--num-samples": "--limit",
    "--silent": "--quiet", "--format": "--json",
}  # fmt: skip
"""What other programs call these flags."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are sentences, with a suggestion for unknown flags.

    Attributes:
        arguments: What was added to it.
        commands: The parsers of its commands, by name.
    """

    def __init__(self, **settings: Any) -> None:
        """Switch off abbreviations: a flag that is added later must not change what they mean."""
        self.arguments: list[argparse.Action] = []
        self.commands: Mapping[str, Parser] = {}
        super().__init__(**{"allow_abbrev": False, **settings})

    def add_argument(self, *flags: str, **settings: Any) -> argparse.Action:  # type: ignore[override]
        """Add an argument, and remember it."""
        action = super().add_argument(*flags, **settings)
        self.arguments.append(action)
        return action

    def add_subparsers(self, **settings: Any) -> Any:
        """Make room for commands, and remember it."""
        action = super().add_subparsers(**settings)
        self.commands = action.choices  # type: ignore[assignment] - filled as they are added
        return action

    @property
    def flags(self) -> list[str]:
        """Return all flags in all spellings."""
        return [flag for action in self.arguments for flag in action.option_strings]

    def error(self, message: str) -> NoReturn:
        """Raise a usage error instead of printing the whole usage."""
        message = _LONG.sub(lambda found: quoted(found[0][1:-1]), message)
        sentence = message[:1].upper() + message[1:].rstrip(".")
        raise UsageError(f"{sentence}. See `{self.prog} --help`.")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, and refuse what is not known here, where this command's flags are known."""
        parsed, extras = super().parse_known_args(args, namespace or argparse.Namespace())
        if extras:
            flag = next((extra for extra in extras if extra.startswith("-")), None)
            if flag is None:
                self.error(f"unexpected argument {quoted(extras[0])}")
            flag, see = flag.partition("=")[0], f"`{self.prog} --help`"
            aliases = {
                name: meant for name, meant in ALIASES.items() if meant.split()[0] in self.flags
            }
            raise unknown("flag", flag, self.flags, see=see, aliases=aliases)
        return parsed, extras


def normalised(argv: Iterable[str]) -> list[str]:
    """Accept underscores in long flags: ``--batch_size=4`` becomes ``--batch-size=4``."""
    return [_hyphenated(word) if word.startswith("--") else word for word in argv]


def _hyphenated(word: str) -> str:
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value


def with_twins(parser: Parser, argv: list[str], environment: Mapping[str, str]) -> list[str]:
    """Insert flags that are set as ``MECHEVAL_<FLAG>`` and not given on the command line.

    Args:
        parser: The parser with its commands.
        argv: The command line; its first word is the command.
        environment: The process's environment.

    Raises:
        UsageError: A switch's variable is neither true nor false.
    """
    chosen, depth = chosen_command(parser, argv)
    inserted = []
    for action in chosen.arguments:
        flags = [text for text in action.option_strings if text.startswith("--")]
        variable = f"MECHEVAL_{flags[0][2:].upper().replace('-', '_')}" if flags else ""
        if variable in environment and not _is_given(action, argv):
            inserted += _as_flags(action, flags[0], variable, environment[variable])
    return [*argv[:depth], *inserted, *argv[depth:]]


def chosen_command(parser: Parser, argv: Sequence[str]) -> tuple[Parser, int]:
    """Return the parser of the command that a command line names, and how many words name it."""
    depth = 0
    while depth < len(argv) and argv[depth] in parser.commands:
        parser = parser.commands[argv[depth]]
        depth += 1
    return parser, depth


def _is_given(action: argparse.Action, argv: list[str]) -> bool:
    return any(
        word.partition("=")[0] == flag or (len(flag) == 2 and word[:2] == flag)
        for word in argv
        for flag in action.option_strings
    )


def _as_flags(action: argparse.Action, flag: str, variable: str, value: str) -> Iterator[str]:
    if flag in ("--help", "--version"):
        return
    if not isinstance(action, argparse.BooleanOptionalAction):
        parts = value.split(os.pathsep) if flag == "--include-path" else [value]
        yield from (f"{flag}={part}" for part in parts if part)
    elif value.lower() in _ON:
        yield flag
    elif value.lower() not in _OFF:
        raise UsageError(
            f"The environment has {variable}={quoted(value)}, which is neither on nor off. "
            f"Set it to 1 or 0."
        )


def switch(parser: argparse.ArgumentParser, *flags: str, help: str) -> None:
    """Add an on-off flag together with its ``--no-`` form; off by default."""
    parser.add_argument(*flags, action=argparse.BooleanOptionalAction, default=False, help=help)


def add_list(
    parser: argparse.ArgumentParser, *flags: str, help: str, metavar: str, required: bool = False
) -> None:
    """Add a flag that takes names separated by commas or spaces; read it with :func:`names`."""
    parser.add_argument(
        *flags, nargs="+", action="extend", metavar=metavar, help=help, required=required
    )


def names(values: Sequence[str] | None) -> list[str]:
    """Split the words of a list flag at commas and spaces outside brackets.

    Raises:
        UsageError: Brackets or quotes do not match.
    """
    return split_list(" ".join(values or ()))


def some(values: Sequence[str] | None, flag: str) -> list[str]:
    """Split the words of a list flag that must be given.

    Raises:
        UsageError: It is not given, or lists nothing.
    """
    found = names(values)
    if not found:
        raise UsageError(f"{flag} names nothing. Give at least one name, or a --suite.")
    return found


def read(values: list[str] | None, flag: str, read: Callable[[list[str]], Any]) -> Any:
    """Read what a flag lists; None where it is not given.

    Raises:
        UsageError: It is given and lists nothing, or is malformed.
    """
    if values is not None and not names(values):
        raise UsageError(f"{flag} is empty. Give it a value, or leave it out.")
    return None if values is None else read(values)


def seeds(text: str) -> list[int]:
    """Read seeds such as ``0-3``, ``0,2`` or ``0-1,7``, without repetition.

    Raises:
        UsageError: The text is something else.
    """
    found: dict[int, None] = {}
    for item in split_list(text):
        match = _SEEDS.fullmatch(item)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise UsageError(f"Malformed seeds {quoted(item)}. Write them like 0-3 or 0,2.")
        if last - first >= _MOST_SEEDS:
            raise UsageError(f"The seeds {quoted(item)} are too many; {_MOST_SEEDS} is the most.")
        found.update(dict.fromkeys(range(first, last + 1)))
    return list(found)


def numbers(texts: Sequence[str]) -> list[float]:
    """Read numbers such as ``4,2.5``, without repetition.

    Raises:
        UsageError: One is something else.
    """
    found: dict[float, None] = {}
    for item in names(texts):
        try:
            found[float(item)] = None
        except ValueError:
            raise UsageError(f"{quoted(item)} is no number. Write them like 4,2.5.") from None
    return list(found)


def one_of(choices: Sequence[str], *, see: str) -> Callable[[str], str]:
    """Return what reads one of several words, and suggests one in place of any other."""

    def read(text: str) -> str:
        if text not in choices:
            raise unknown("choice", text, choices, see=see)
        return text

    return read


def path(text: str) -> Path:
    """Read a file or folder; ``~`` is the home folder.

    Raises:
        UsageError: There is no text, which would be the working folder.
    """
    if not text:
        raise UsageError("A path is empty. Give a file or folder, or . for the working folder.")
    return expanded(Path(text))


def add_include_path(parser: argparse.ArgumentParser) -> None:
    """Add ``--include-path``, which may be repeated."""
    parser.add_argument(
        "--include-path", "-I", action="append", type=path, default=None, metavar="PATH",
        help="file or folder with tasks, models, metrics of your own, named local/NAME; repeatable",
    )  # fmt: skip


def registry_of(args: argparse.Namespace) -> Registry:
    """Return the registry with the folders given by ``--include-path``."""
    from mecheval.registry import Registry

    return Registry(tuple(args.include_path or ()))


def add_output(parser: argparse.ArgumentParser, *, help: str, default: str = "results") -> None:
    """Add ``--output``, a file or folder."""
    parser.add_argument(
        "--output", "-o", type=path, default=Path(default), metavar="PATH", help=help
    )


def add_json(parser: argparse.ArgumentParser, *, help: str) -> None:
    """Add ``--json``: machine-readable lines on stdout, messages on stderr."""
    switch(parser, "--json", help=help)


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet``: nothing but errors."""
    switch(parser, "--quiet", "-q", help="print nothing but errors")
