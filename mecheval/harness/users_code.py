"""Errors in the code of users, said in one sentence with the file and the line."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mecheval.errors import ContractError, MechevalError, UsageError
from mecheval.own_code.explaining import cannot_be_used, explained
from mecheval.own_code.importing import place_of
from mecheval.reports.reading import first_problem

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def said_in_a_sentence(declared: str | None = None) -> Iterator[None]:
    """Turn what a user's code raises into a sentence; other exceptions pass.

    Args:
        declared: ``file:line`` of a declaration of a user that is at work inside; an exception that
            no line of a user raised is then put down to it.

    Raises:
        ContractError: Something was raised; the exception is its cause.
        UsageError: What is asked for cannot be written into a report.
    """
    try:
        yield
    except MechevalError:
        raise
    except (Exception, SystemExit) as error:
        if place_of(error) is not None:
            raise ContractError(str(explained(error))) from error
        if declared is None and isinstance(error, ValidationError):
            raise UsageError(f"{error.title} {first_problem(error)}. Give another one.") from error
        if declared is None:
            raise
        said = f"{error.title} {first_problem(error)}" if isinstance(error, ValidationError) else ""
        raise ContractError(cannot_be_used(declared, error, said=said)) from error
