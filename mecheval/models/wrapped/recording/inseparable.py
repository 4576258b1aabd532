"""Why a model cannot be taken apart or replayed."""

from __future__ import annotations

FAILURES = (AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What modules raise that are called in a way that they do not know."""


class Inseparable(Exception):  # noqa: N818 - an answer, no error of the user's
    """A model, or a part of it, can only run whole; the message says why, in one sentence."""
