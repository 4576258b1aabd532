"""What a value should be, in words of ours: for parameters, suites and reports alike.

What :mod:`pydantic` says of a value is meant for programmers: a list is "a valid tuple" there, and
a switch "a valid boolean".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


_UNION = re.compile(
    r"bool|int|float|str|none|constrained-\w+|(list|tuple|set|frozenset|literal|dict|nullable|union|"
    r"chain|is-instance|lax-or-strict|json-or-python|function-(after|before|wrap|plain))\[.*",
    re.DOTALL,
)
"""What pydantic puts behind the name of a field that may be of several types: one of them."""


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
        where: The field, and what leads to it; of a field of several types without these.
        expected: What the value should be; of a check of ours, its own words.
        problem: The error, as pydantic tells it; a list that lacks items is ``too_short``.
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
    same = _nearest(_as_lists(error.errors(include_url=False)))
    expected = list(dict.fromkeys(_expected(problem, example) for problem in same))
    either = ", ".join(expected[:-1]) + f" or {expected[-1]}" if expected[1:] else expected[0]
    return Refused(_place(same[0]), either, same[0], _is_ours(same[0]))


def _as_lists(problems: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return errors where a list that lacks items is one, at the list: "a list of 2"."""
    found: dict[Any, Mapping[str, Any]] = {}
    for problem in problems:
        *where, last = problem["loc"] or ("",)
        if problem["type"] == "missing" and isinstance(last, int):
            problem = {**problem, "loc": tuple(where), "type": "too_short", "exactly": last + 1}
        found[problem["loc"], problem["type"]] = problem  # the last that it lacks says how many
    return list(found.values())


def _nearest(problems: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the first error; of a field of several types, those that the value comes nearest to.

    A check of ours runs where all else is right, and an item is looked at where a list is.
    """
    where = problems[0]["loc"]
    at = next((i for i, part in enumerate(where) if i and _is_branch(part)), None)
    if at is None:
        return [problems[0]]
    inside = [p for p in problems if p["loc"][:at] == where[:at] and len(p["loc"]) > at]
    of_field = [p for p in inside if _is_branch(p["loc"][at])]
    first = max(of_field, key=lambda p: (_is_ours(p), len(_place(p))))  # of equals, the first
    if _is_ours(first):
        return [first]
    return [p for p in of_field if _place(p) == _place(first)]


def _is_branch(part: str | int) -> bool:
    return isinstance(part, str) and _UNION.fullmatch(part) is not None


def _place(problem: Mapping[str, Any]) -> tuple[str | int, ...]:
    """Return where an error is, without the types that a field may be of."""
    return tuple(p for i, p in enumerate(problem["loc"]) if not i or not _is_branch(p))


def _is_ours(problem: Mapping[str, Any]) -> bool:
    return problem["type"] in ("value_error", "assertion_error")


def _expected(problem: Mapping[str, Any], example: str) -> str:
    if "exactly" in problem:
        return f"{LIST} of {problem['exactly']}"
    found = _TYPES.get(problem["type"], "").format(**problem.get("ctx", {}))
    if found == LIST and example:
        return f"{found}, such as {example}"
    if found:
        return found
    text = str(problem["msg"]).removeprefix("Value error, ")
    text = text.removeprefix("Assertion failed, ").removeprefix("Input should be ")
    return text[:1].lower() + text[1:].rstrip(".")
