"""The grammar of names on the command line: ``mamba[layers=2,width=64]``, ``pythia-160m@step1000``.

A word alone in the brackets is a preset: ``ar[small,query=value]``. A list splits at commas and
spaces outside brackets; an argument splits at its first ``=``; a value is read as a TOML scalar or
array, and as a plain string when it is neither. In a sweep, ``lr=1e-3,3e-3 optimizer=adamw,muon``,
values belong to the last ``key=`` before them.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from mecheval.errors import UsageError, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        revision = f"@{self.revision}" if self.revision else ""
        return self.name + revision + (f"[{format_args(self.args)}]" if self.args else "")


def format_args(args: Mapping[str, Any]) -> str:
    """Write arguments as ``preset,key=value,key=value``, sorted by key."""
    preset = args.get("preset")
    if not isinstance(preset, str) or not _PRESET.fullmatch(preset):
        return ",".join(f"{key}={_format_value(args[key])}" for key in sorted(args))
    rest = {key: value for key, value in args.items() if key != "preset"}
    return ",".join([preset, format_args(rest)] if rest else [preset])


def split_list(text: str) -> list[str]:
    """Split a list of names at commas and spaces outside brackets and quotes.

    Raises:
        UsageError: Brackets or quotes do not match.
    """
    items, current, depth, quote, escaped = [], "", 0, "", False
    for character in text:
        if quote:
            closes = character == quote and not escaped
            escaped = quote == '"' and character == "\\" and not escaped
            quote = "" if closes else quote
        elif character in "\"'":
            quote = character
        elif character in "[]":
            depth += 1 if character == "[" else -1
        if depth < 0:
            break
        if depth == 0 and not quote and character in ", \t\n":
            items.append(current)
            current = ""
        else:
            current += character
    if depth or quote:
        raise UsageError(
            f"Malformed name '{text}': brackets or quotes do not match. "
            "Write it like mamba[layers=2,width=64]."
        )
    return [item for item in [*items, current] if item]


def parse_spec(text: str) -> Spec:
    """Read one name with optional ``@revision`` and ``[key=value,...]``, in either order.

    Raises:
        UsageError: The text does not follow the grammar.
    """
    head, args = text, {}
    opening = text.find("[")
    if opening >= 0:
        closing = text.rfind("]")
        head = text[:opening] + text[closing + 1 :]
        inside = text[opening + 1 : closing]
        args = _parse_args(inside, whole=text, presets=True) if closing > opening else None
    name, _, revision = head.partition("@") if "@" in head else (head, "", "")
    if args is None or not name or "[" in head or "]" in head or ("@" in head and not revision):
        raise UsageError(
            f"Malformed name '{text}'. Write it like mamba[layers=2,width=64] "
            "or pythia-160m@step1000."
        )
    return Spec(name, args, revision or None)


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
                raise UsageError(f"Field '{name}' is given twice in '{text}'. Give it once.")
            key, item, values[name] = name, first, []
        if not key:
            raise UsageError(
                f"Malformed sweep '{text}': '{item}' belongs to no field. Write it like "
                "lr=1e-3,3e-3 optimizer=adamw,muon."
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
    for item in split_list(text):
        word = presets and _PRESET.fullmatch(item)
        key, equals, value = ("preset", "=", item) if word else item.partition("=")
        if not equals or not _KEY.fullmatch(key) or not value:
            raise UsageError(
                f"Malformed argument '{item}' in '{whole}'. Write arguments as key=value, "
                "separated by commas."
            )
        if key in args:
            raise UsageError(f"Argument '{key}' is given twice in '{whole}'. Give it once.")
        args[key] = value if word else _parse_value(value)
    return args


def _parse_value(text: str) -> Any:
    try:
        values = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return values["value"] if len(values) == 1 and _is_plain(values["value"]) else text


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float)


def _format_value(value: Any, *, in_list: bool = False) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(_format_value(item, in_list=True) for item in value) + "]"
    if not isinstance(value, str):
        return str(value)
    if _BARE.fullmatch(value) and _parse_value(value) == value and not in_list:
        return value
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


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
        raise UsageError(
            f"There is no preset '{args['preset']}' of {what}. Write arguments as key=value. "
            f"See {see}."
        )
    for key, value in args.items():
        if key not in fields:
            raise unknown(f"argument of {what}", key, fields, see=see)
        given[key] = _as_type_of(fields[key].default, value)
        if given[key] is None:
            default = fields[key].default
            raise UsageError(
                f"Argument {key}={value!r} of {what} must be of type "
                f"{type(default).__name__}, such as {default!r}. See {see}."
            )
    return cls(**given)


def _as_type_of(default: Any, value: Any) -> Any:
    """Return the value as the default's type, None if it is of another one."""
    if isinstance(default, float) and type(value) in (int, float):
        return float(value)
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        return tuple(value)
    return value if type(value) is type(default) else None
