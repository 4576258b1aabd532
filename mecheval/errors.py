"""What users see when something is wrong: one sentence each, and the exit code it maps to.

Every message says what is wrong, what is allowed, and what to do next. Input that it repeats is
written by :func:`mecheval.escape.quoted`.
"""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from mecheval import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType

_NONE: Mapping[str, str] = MappingProxyType({})


class MechevalError(Exception):
    """Base of all errors that a user can act on; printed without a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "") -> None:
        """Keep the message on one line, without control characters, and not without end."""
        super().__init__(escape.sentence(message))


class UsageError(MechevalError):
    """The command, a name or an argument is wrong. Nothing has been computed."""

    exit_code = 2


class UnvariedError(UsageError):
    """Nothing is left of rows without their mean, so that no dictionary can be trained on them."""


class ContractError(UsageError):
    """A registered task or model does not keep the contract of its kind."""


class StorageError(MechevalError):
    """A result or checkpoint could not be read or written."""

    exit_code = 3


@contextmanager
def said_of(place: str) -> Iterator[None]:
    """Begin sentences about wrong input with where it is written, such as ``own.toml, grid 2``.

    Args:
        place: File and table; empty where there is none to name.
    """
    try:
        yield
    except UsageError as error:
        if not place:
            raise
        raise type(error)(f"{place}: {error}") from error


def did_you_mean(name: str, known: Iterable[str], *, aliases: Mapping[str, str] = _NONE) -> str:
    """Return ``" Did you mean 'x'?"`` for a name that is near, or an empty string.

    Args:
        name: The name that was given.
        known: All names that would have been accepted.
        aliases: What names that others use are called here.
    """
    meant = aliases.get(name) or _nearest(name, known)
    return f" Did you mean {escape.quoted(meant)}?" if meant else ""


def unknown(
    kind: str,
    name: str,
    known: Iterable[str],
    *,
    see: str,
    aliases: Mapping[str, str] = _NONE,
    hint: str = "",
) -> UsageError:
    """Build the error for a name that is not registered.

    Args:
        kind: What the name should have been: "task", "model", "argument of mamba".
        name: The name that was given.
        known: All names that would have been accepted.
        see: The command or place that lists them.
        aliases: What names that others use are called here.
        hint: What to do, where more is known than which names there are; a sentence.
    """
    what, of, owner = kind.partition(" of ")
    advice = f" {hint}" if hint else did_you_mean(name, known, aliases=aliases)
    return UsageError(f"Unknown {what} {escape.quoted(name)}{of}{owner}.{advice} See {see}.")


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional package where it is used.

    Raises:
        UsageError: The package is not installed; the message names the extra to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"This needs the package '{module}', which is not usable here ({error}). "
            f"Install it with: pip install 'mecheval[{extra}]'."
        ) from None


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name with the fewest slips of the finger between, or one that is cut off."""
    given, plain = _plain(name), {other: _plain(other) for other in known}
    for other, text in plain.items():
        if given in (text, text.rpartition("/")[2]):
            return other
    most = min(max(1, len(given) // 3), len(given) - 1)  # nothing is near to a single letter
    near = {
        other: slips
        for other, text in plain.items()
        if abs(len(given) - len(text)) <= most and (slips := _slips(given, text)) <= most
    }
    if near:
        return min(near, key=lambda other: near[other])
    return next((other for other, text in plain.items() if _is_cut(given, text)), None)


def _plain(name: str) -> str:
    return name[:100].casefold().replace("_", "-").lstrip("-")


def _is_cut(given: str, known: str) -> bool:
    """Say whether a name was cut off, or goes on a little too long."""
    if len(given) < len(known):
        return len(given) >= 3 and known.startswith(given)
    return given.startswith(known) and 2 * len(known) > len(given)


def _slips(one: str, other: str) -> int:
    """Count insertions, deletions, replacements and swaps of neighbours between two words."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        row = [i]
        for j, right in enumerate(other, 1):
            costs = [last[j] + 1, row[j - 1] + 1, last[j - 1] + (left != right)]
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                costs.append(before[j - 2] + 1)
            row.append(min(costs))
        before, last = last, row
    return last[-1]
