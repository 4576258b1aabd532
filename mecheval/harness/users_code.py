"""Errors in the code of users, said in one sentence with the file and the line."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mecheval.errors import ContractError, MechevalError
from mecheval.importing import place_of
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
    """
    try:
        yield
    except MechevalError:
        raise
    except (Exception, SystemExit) as error:
        sentence = sentence_of(error, declared)
        if sentence is None:
            raise
        raise ContractError(sentence) from error


def sentence_of(error: BaseException, declared: str | None = None) -> str | None:
    """Say what a user's code raised and where; None where no code of a user was involved."""
    place = place_of(error)
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    if place is not None:
        return f"{place} raised {what}. Mend the file, and check it with `mecheval validate`."
    if declared is None:
        return None
    if isinstance(error, ValidationError):
        what = f"{error.title} {first_problem(error)}"
    return (
        f"What is declared at {declared} cannot be used ({what}). Mend the file, and check it with "
        "`mecheval validate`."
    )
