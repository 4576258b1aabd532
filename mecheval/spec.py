"""The grammar of names on the command line: ``mamba[layers=2,width=64]``, ``pythia-160m@step1000``.

Behind the @ stands a checkpoint's revision, or the version of a task or metric, as tables print it:
``parity@1``. A word alone in the brackets is a preset: ``ar[small,query=value]``. A list splits at
commas and spaces outside brackets; an argument splits at its first ``=``; a value is read as a TOML
scalar or array, whose words need no quotes, and as a plain string when it is neither. What is in
quotes is taken as it stands, so that any path can be written: ``hf:'odd/a b[1]'``. In a sweep,
``lr=1e-3,3e-3 optimizer=adamw,muon``, values belong to the last ``key=`` before them.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mecheval.errors import UsageError, unknown
from mecheval.escape import quoted
from mecheval.text.allowed import SWITCH, kind_of
from mecheval.text.lone_word import argument_for
from mecheval.text.quoting import HUB, as_word, hint_for, in_quotes, json_string, places, unquoted
from mecheval.text.quoting import split_list as split_list

if TYPE_CHECKING:
    from collections.abc import Mapping

GREATEST_WHOLE = 2**31 - 1
"""Largest whole number of an argument: what any tensor's size and any reader of a file takes."""

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BARE = re.compile(r"[^\s,=\[\]\"'@]+")
_PRESET = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Spec:
    """A registered name with its arguments and revision."""

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)
    revision: str | None = None

    def __str__(self) -> str:
        """Return the canonical text, which :func:`parse_spec` reads back."""
        revision = f"@{_format_name(self.revision)}" if self.revision else ""
        args = f"[{format_args(self.args)}]" if self.args else ""
        return _format_name(self.name) + revision + args


def format_args(args: Mapping[str, Any]) -> str:
    """Write arguments as ``preset,key=value,key=value``, sorted by key."""
    preset = args.get("preset")
    if not isinstance(preset, str) or not _PRESET.fullmatch(preset):
        return ",".join(f"{key}={format_value(args[key])}" for key in sorted(args))
    rest = {key: value for key, value in args.items() if key != "preset"}
    return ",".join([preset, format_args(rest)] if rest else [preset])


def parse_spec(text: str) -> Spec:
    """Read one name with optional ``@revision`` and ``[key=value,...]``, in either order.

    Raises:
        UsageError: The text does not follow the grammar.
    """
    head, args = text, {}
    opening, closing = places(text, "[")[:1], places(text, "]")[-1:]
    if opening and closing and opening < closing:
        head = text[: opening[0]] + text[closing[0] + 1 :]
        args = _parse_args(text[opening[0] + 1 : closing[0]], whole=text, presets=True)
    at = places(head, "@")
    parts = [head[: at[0]], head[at[0] + 1 :]] if at else [head]
    if places(head, "[]") or in_quotes(head)[1] or not all(parts):
        raise _malformed(text)
    try:
        name, *revision = map(unquoted, parts)
    except ValueError:
        raise _malformed(text) from None
    if not name or "" in revision:
        raise _malformed(text)
    return Spec(name, args, revision[0] if revision else None)


def check_version(spec: Spec, kind: str, version: int) -> None:
    """Check that the version that a name asks for, as in ``parity@1``, is the one that there is.

    Raises:
        UsageError: It is another one.
    """
    if spec.revision not in (None, str(version)):
        raise UsageError(
            f"There is no version {quoted(spec.revision)} of {kind} {quoted(spec.name)}: it has "
            f"version {version}. Write {spec.name}, or {spec.name}@{version}."
        )


def parse_assignments(text: str) -> dict[str, Any]:
    """Read ``key=value,key=value`` as in the brackets of a name.

    Raises:
        UsageError: The text does not follow the grammar.
    """
    return _parse_args(text, whole=text)


def parse_sweep(text: str) -> dict[str, list[Any]]:
    """Read ``key=value,value,key=value,value``: a value belongs to the key that it follows.

    Raises:
        UsageError: The text does not follow the grammar.
    """
    values: dict[str, list[Any]] = {}
    key = ""
    for item in split_list(text):
        name, equals, first = item.partition("=")
        if equals and _KEY.fullmatch(name):
            if name in values:
                raise UsageError(f"Field '{name}' is given twice in {quoted(text)}. Give it once.")
            key, item, values[name] = name, first, []
        if not key:
            raise UsageError(
                f"Malformed sweep {quoted(text)}: {quoted(item)} belongs to no field. Write it "
                "like lr=1e-3,3e-3 optimizer=adamw,muon."
            )
        values[key] += [_parse_value(item)] if item else []
    for name, listed in values.items():
        if not listed:
            raise UsageError(
                f"The sweep of '{name}' lists no values. Write it like lr=1e-3,3e-3 with the "
                "values to try."
            )
    if not values:
        raise UsageError("The sweep names no field. Write it like lr=1e-3,3e-3.")
    return values


def _parse_args(text: str, *, whole: str, presets: bool = False) -> dict[str, Any]:
    args: dict[str, Any] = {}
    for item in split_list(text, whole=whole):
        word = presets and _PRESET.fullmatch(item)
        key, equals, value = ("preset", "=", item) if word else item.partition("=")
        if not equals or not _KEY.fullmatch(key) or not value:
            raise UsageError(
                f"Malformed argument {quoted(item)} in {quoted(whole)}. Write arguments as "
                f"key=value, separated by commas.{hint_for(whole)}"
            )
        if key in args:
            raise UsageError(
                f"Argument {quoted(key)} is given twice in {quoted(whole)}. Give it once."
            )
        args[key] = value if word else _parse_value(value)
    return args


def _parse_value(text: str) -> Any:
    try:
        values = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return _parse_words(text)
    if len(values) == 1 and _is_plain(values["value"]):
        return values["value"]
    return _parse_words(text)


def _parse_words(text: str) -> Any:
    """Read ``[block_in,state]``: a list whose words have no quotes; any other text is itself."""
    if len(text) > 2 and text[0] == "[" and text[-1] == "]":
        try:
            return list(map(_parse_value, split_list(text[1:-1]))) or text
        except UsageError:
            pass
    return text


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, float):
        return math.isfinite(value)  # infinity is a word, which no parameter takes for a number
    return isinstance(value, str | int)


def format_value(value: Any) -> str:
    """Write a value as it stands behind the equals sign of an argument."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(format_value, value)) + "]"
    if not isinstance(value, str):
        return str(value)
    if _BARE.fullmatch(value) and _parse_value(value) == value:
        return value
    return json_string(value)


def _format_name(name: str) -> str:
    hub = HUB if name.startswith(HUB) and name != HUB else ""
    return hub + as_word(name.removeprefix(hub))


def _malformed(text: str) -> UsageError:
    return UsageError(
        f"Malformed name {quoted(text)}. Write it like mamba[layers=2,width=64] "
        f"or pythia-160m@step1000.{hint_for(text)}"
    )


Configured = TypeVar("Configured")


def configured(
    cls: type[Configured], args: Mapping[str, Any], *, what: str, see: str
) -> Configured:
    """Build a dataclass from arguments, checking their names and types against its defaults.

    Args:
        cls: A dataclass whose fields have defaults.
        args: Values by field name.
        what: The name of what is configured, for messages: "dyck".
        see: The command that lists the fields.

    Raises:
        UsageError: An argument or preset is unknown, or has the wrong type.
    """
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    given = {}
    if "preset" in args and "preset" not in fields:
        word, build = str(args["preset"]), partial(configured, cls, what=what, see=see)
        meant = argument_for(word, cls, of=what, build=build) or "Write arguments as key=value."
        raise UsageError(f"There is no preset {quoted(word)} of {what}. {meant} See {see}.")
    for key, value in args.items():
        if key not in fields:
            raise unknown(f"argument of {what}", key, fields, see=see)
        default = fields[key].default
        given[key] = _as_type_of(default, value)
        if given[key] is None:
            expected = kind_of(default)
            if expected != SWITCH:
                expected += f", such as {format_value(default)}"
            raise UsageError(
                f"Argument {key}={quoted(value)} of {what} must be {expected}. See {see}."
            )
        check_whole(key, given[key], what=what)
    return cls(**given)


def check_whole(name: str, value: Any, *, what: str) -> None:
    """Check that no whole number of an argument is beyond all sizes, lengths and counts.

    Args:
        name: The argument.
        value: What it is given; lists are looked into.
        what: The name of what is configured, for messages.

    Raises:
        UsageError: One is.
    """
    if isinstance(value, list | tuple):
        for item in value:
            check_whole(name, item, what=what)
    elif isinstance(value, int) and abs(value) > GREATEST_WHOLE:
        raise UsageError(
            f"Argument {name}={quoted(value)} of {what} is out of range: whole numbers are at most "
            f"{GREATEST_WHOLE}."
        )


def _as_type_of(default: Any, value: Any) -> Any:
    """Return the value as the default's type, None if it is of another one."""
    if isinstance(default, float) and type(value) in (int, float):
        return _finite(value)
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        items = [_as_item_of(default, item) for item in value]
        return None if None in items else tuple(items)
    return value if type(value) is type(default) else None


def _as_item_of(default: tuple[Any, ...], value: Any) -> Any:
    """Do the same for an item of a list; a list of whole numbers takes any, as models may need."""
    if default and type(default[0]) is int and type(value) is float:
        return _finite(value)
    return _as_type_of(default[0], value) if default else value


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond all floats
        return None
    return number if math.isfinite(number) else None
