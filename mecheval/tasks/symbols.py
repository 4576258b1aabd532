"""Texts of symbols for models with a tokenizer."""

from __future__ import annotations

import string

from mecheval.tasks.contract import BOS

CHARACTERS = string.ascii_letters + string.digits + string.punctuation
"""One character each, which most tokenizers know as one token."""


def characters(n: int) -> tuple[str, ...]:
    """Return BOS and ``n`` characters while there are enough, nothing in particular beyond."""
    return (BOS, *CHARACTERS[:n]) if n <= len(CHARACTERS) else ()
