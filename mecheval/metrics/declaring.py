"""What a metric must have when it is declared, so that nothing is missing when it is measured."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Literal, get_args

from mecheval.errors import ContractError
from mecheval.escape import quoted
from mecheval.reports.results import FAMILY

Scope = Literal["model", "pair"]
"""What is measured: one model on a task, or two that were measured on it."""


def summary_of(cls: type) -> str:
    """Return the first line of a docstring; empty without one, or if it is that of a dataclass."""
    text = (cls.__doc__ or "").strip()
    made = text.startswith(f"{cls.__name__}(")  # the signature, where nothing was written
    return "" if made else text.partition("\n")[0].rstrip(".")


def check_declared(
    cls: type, name: str, *, summary: str, family: str, scope: str, later: tuple[str, ...] = ()
) -> None:
    """Check what a class and its declaration must have.

    Raises:
        ContractError: Something is missing, or not allowed.
    """
    if not summary or inspect.isabstract(cls):
        lacks = "measure()" if summary else "docstring; say in one line what it measures"
        raise ContractError(f"Metric '{name}' has no {lacks}.")
    allowed = get_args(Scope)
    if scope not in allowed:
        given = f"the scope {quoted(scope)}. Give it one of: {', '.join(allowed)}."
        raise ContractError(f"Metric '{name}' has {given}")
    if (scope == "pair") != getattr(cls, "of_pairs", False):
        right = "pairs.PairMetric" if scope == "pair" else "Metric"
        raise ContractError(
            f"Metric '{name}' has the scope '{scope}', and its class is made for the other one. "
            f"Derive it from mecheval.metrics.{right}, or declare it with another scope."
        )
    if not re.fullmatch(FAMILY, str(family)):
        raise ContractError(
            f"Metric '{name}' has the family {quoted(family)}. Give it a word of lowercase letters."
        )
    if "__dataclass_params__" not in vars(cls):
        raise ContractError(
            f"Metric '{name}' is no dataclass of its own, so its parameters would be those of "
            f"another. Write @dataclass(frozen=True, kw_only=True) between @metric(...) and the "
            f"class {cls.__name__}."
        )
    for parameter in dataclasses.fields(cls):
        if parameter.init and parameter.default is dataclasses.MISSING:
            has = f"Metric '{name}' has a parameter '{parameter.name}'"
            allowed = "a number, a text, a switch, or a tuple of these"
            if parameter.default_factory is not dataclasses.MISSING:
                raise ContractError(
                    f"{has} whose default is made by a factory. Give it a plain value, such as (), "
                    f"in place of default_factory: {allowed}."
                )
            raise ContractError(f"{has} without a default. Give it one: {allowed}.")
    parameters = [parameter.name for parameter in dataclasses.fields(cls) if parameter.init]
    for parameter in later:
        if parameter not in parameters:
            raise ContractError(
                f"Metric '{name}' has no parameter {quoted(parameter)}, which it says came later. "
                f"Name one of: {', '.join(parameters)}."
            )
