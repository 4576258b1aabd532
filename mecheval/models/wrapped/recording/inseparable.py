"""Why a model cannot be taken apart or replayed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from mecheval.own_code.explaining import in_words, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

_FAILURES = (AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What modules raise that are called in a way that they do not know."""


class Inseparable(Exception):  # noqa: N818 - an answer, no error of the user's
    """A model, or a part of it, can only run whole; the message says why, in one sentence."""


@contextmanager
def failing_as(sentence: str = "{}") -> Iterator[None]:
    """Take what modules raise that are called in a way of ours for an answer: they cannot be.

    Shortage of memory, which torch reports by a RuntimeError, says nothing of a model: it is let
    through, so that nobody remembers it as a verdict.

    Args:
        sentence: The reason, without a full stop, with ``{}`` where the error's own words stand.

    Raises:
        Inseparable: Something fails inside, or was found to be inseparable there.
    """
    try:
        yield
    except _FAILURES as error:
        if is_out_of_memory(error):
            raise
        raise Inseparable(sentence.format(in_words(error))) from error
