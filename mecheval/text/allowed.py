"""What a value should be, in words of ours: for parameters, suites and reports alike.

What :mod:`pydantic` says of a value is meant for programmers: a list is "a valid tuple" there, and
a switch "a valid boolean".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidationError

SWITCH = "true or false"
WHOLE, FINITE, TEXT, LIST, TABLE = "a whole number", "a finite number", "text", "a list", "a table"

_KINDS: dict[type, tuple[str, str]] = {
    bool: (SWITCH, "true and false"),
    int: (WHOLE, "numbers"),
    float: (FINITE, "numbers"),
    str: ("a word", "words"),
}
_TYPES = {
    "bool_type": SWITCH, "bool_parsing": SWITCH,
    "int_type": WHOLE, "int_parsing": WHOLE, "int_from_float": WHOLE,
    "int_parsing_size": "a smaller number",
    "float_type": "a number", "float_parsing": "a number", "finite_number": FINITE,
    "string_type": TEXT, "string_sub_type": TEXT, "string_unicode": TEXT,
    "tuple_type": LIST, "list_type": LIST,
    "dict_type": TABLE, "mapping_type": TABLE, "model_type": TABLE,
    "model_attributes_type": TABLE, "dataclass_type": TABLE,
    "greater_than_equal": "at least {ge:g}", "greater_than": "above {gt:g}",
    "less_than_equal": "at most {le:g}", "less_than": "below {lt:g}",
    "multiple_of": "a multiple of {multiple_of:g}",
    "too_short": "a list of {min_length} or more", "too_long": "a list of {max_length} at most",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    "literal_error": "{expected}", "enum": "{expected}",
}  # fmt: skip
"""What pydantic's kinds of errors ask for, with the fields of their contexts."""


_UNION = re.compile(r"bool|int|float|str|none|(list|tuple|literal|dict)\[.*|constrained-\w+")
"""What pydantic puts behind the name of a field that may be of several types."""


def kind_of(value: Any) -> str:
    """Say what a value is: "a whole number", "a list of words"."""
    several = isinstance(value, list | tuple)
    if several and not value:
        return LIST
    kind = type(value[0] if several else value)
    one, more = _KINDS.get(kind, (f"of type {kind.__name__}", f"{kind.__name__}s"))
    return f"{LIST} of {more}" if several else one


class Refused(NamedTuple):
    """What pydantic refuses first.

    Attributes:
        where: The field, and what leads to it.
        expected: What the value should be; of a check of ours, its own words.
        problem: The error, as pydantic tells it.
        is_ours: Whether a check of ours refused it.
    """

    where: tuple[str | int, ...]
    expected: str
    problem: Mapping[str, Any]
    is_ours: bool

    @property
    def said(self) -> str:
        """Return what is wrong, as the second half of a sentence."""
        return self.expected if self.is_ours else f"it should be {self.expected}"


def refused(error: ValidationError, *, example: str = "") -> Refused:
    """Return what is refused first, and what it should be: "a list, such as [block_in,state]".

    Args:
        error: What pydantic raised.
        example: How a list is written there.
    """
    problems = error.errors(include_url=False)
    first = problems[0]
    where, same = first["loc"], problems[:1]
    if where and _UNION.fullmatch(str(where[-1])):
        where = where[:-1]
        same = [
            p for p in problems if p["loc"][:-1] == where and _UNION.fullmatch(str(p["loc"][-1]))
        ]
    expected = list(dict.fromkeys(_expected(problem, example) for problem in same))
    either = ", ".join(expected[:-1]) + f" or {expected[-1]}" if expected[1:] else expected[0]
    return Refused(where, either, first, first["type"] == "value_error")


def _expected(problem: Mapping[str, Any], example: str) -> str:
    found = _TYPES.get(problem["type"], "").format(**problem.get("ctx", {}))
    if found == LIST and example:
        return f"{found}, such as {example}"
    if found:
        return found
    text = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    return text[:1].lower() + text[1:].rstrip(".")
