"""How a task's symbols become token ids of a pretrained vocabulary.

Shape suffix: ``C`` symbols of the task.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import seeding
from mecheval.errors import UsageError
from mecheval.models.contract import Encoding
from mecheval.tasks.contract import BOS
from mecheval.tasks.text_task import TextTask
from mecheval.tasks.tokenized import FIRST

if TYPE_CHECKING:
    from mecheval.tasks import Task

COMMON = 2048
"""How many words are common: tokenizers learn tokens in the order of how common they are."""

_WORD = re.compile("[\u0120\u2581][a-z]{3,}")
"""A word of text with the space before it, as tokenizers of bytes and of sentences write that."""


def encode(
    task: Task, tokenizer: Any | None, *, symbols: str, vocab_size: int, name: str
) -> Encoding:
    """Map a task's symbols to token ids of a checkpoint.

    BOS becomes the tokenizer's beginning-of-sequence token, or else its end-of-sequence token, or
    else a new token. New tokens follow the last row of the embedding, which is often padded beyond
    the tokenizer's own vocabulary.

    A text keeps its tokens, which have to be the tokenizer's; the end of a document becomes what
    BOS does. A task without strings, such as one with a large random vocabulary, gets ordinary
    tokens of the tokenizer, or common words if it asks for words, drawn once for all: the same ones
    for every seed.

    Args:
        task: The task.
        tokenizer: The checkpoint's tokenizer, None where it has none.
        symbols: ``text`` if the declared string of every symbol is one token of the tokenizer;
            ``added`` if every symbol becomes a new token.
        vocab_size: Rows of the checkpoint's embedding.
        name: The model's name, for messages.

    Raises:
        UsageError: A string is not a single token, two symbols would share a token, or the
            tokenizer has too few tokens of the kind that is asked for.
    """
    if isinstance(task, TextTask) and symbols == "text":
        return _encode_text(task, tokenizer, vocab_size=vocab_size, name=name)
    ids: list[int | None] = [
        _bos(tokenizer, vocab_size) if symbol == BOS else None for symbol in task.symbols
    ]
    if symbols == "text":
        if tokenizer is None:
            raise UsageError(
                f"The checkpoint of '{name}' has no tokenizer, so the symbols of task "
                f"'{task.card.name}' cannot be text. Give them new tokens: {name}[symbols=added]."
            )
        if not task.strings:
            known = _drawn_tokens(tokenizer, task, vocab_size, name=name)
            ids = [ids[0], *known]
        for index, (symbol, text) in enumerate(zip(task.symbols, task.strings, strict=False)):
            if symbol != BOS:
                ids[index] = _single_token(
                    tokenizer, symbol, text, vocab_size=vocab_size, name=name
                )
    _check_distinct(ids, task, name=name)
    added = tuple(symbol for symbol, known in zip(task.symbols, ids, strict=True) if known is None)
    fresh = iter(range(vocab_size, vocab_size + len(added)))
    code_C = np.array([next(fresh) if known is None else known for known in ids], np.int64)
    return Encoding(code_C=code_C, vocab_size=vocab_size + len(added), added=added)


def _encode_text(task: TextTask, tokenizer: Any, *, vocab_size: int, name: str) -> Encoding:
    """Take the ids by which a text was cut.

    Raises:
        UsageError: It was not cut by this tokenizer.
    """
    ids, known = task.text.ids, None
    if tokenizer is not None and ids is not None and max(ids) < vocab_size:
        known = tuple(tokenizer.convert_ids_to_tokens(list(ids)))
    if ids is None or known != task.symbols[FIRST:]:
        raise UsageError(
            f"The text of task '{task.card.name}' is not in the tokens of '{name}'. Cut it by that "
            f"tokenizer, {task.card.name}[tokenizer=NAME_OR_FOLDER], or give the symbols new "
            f"tokens: {name}[symbols=added]."
        )
    bos = _bos(tokenizer, vocab_size)
    added = (BOS,) if bos is None else ()
    first = vocab_size if bos is None else bos
    code_C = np.array([first, first, *ids], np.int64)
    return Encoding(code_C=code_C, vocab_size=vocab_size + len(added), added=added)


def _bos(tokenizer: Any | None, vocab_size: int) -> int | None:
    for attribute in ("bos_token_id", "eos_token_id"):
        known = getattr(tokenizer, attribute, None)
        if known is not None and known < vocab_size:
            return known
    return None


def _drawn_tokens(tokenizer: Any, task: Task, vocab_size: int, *, name: str) -> list[int]:
    """Draw as many distinct tokens that are not special as a task has symbols behind BOS."""
    n, special = len(task.symbols) - 1, {*tokenizer.all_special_ids, _bos(tokenizer, vocab_size)}
    ordinary = [i for i in range(min(len(tokenizer), vocab_size)) if i not in special]
    kind = "not special"
    if task.in_words:
        texts = tokenizer.convert_ids_to_tokens(ordinary)
        ordinary = [i for i, text in zip(ordinary, texts, strict=True) if _WORD.fullmatch(text)]
        ordinary, kind = ordinary[: max(n, COMMON)], "words"
    if len(ordinary) < n:
        raise UsageError(
            f"The task needs {n} tokens, and '{name}' has {len(ordinary)} that are {kind}. "
            f"Give it a smaller vocabulary, or new tokens: {name}[symbols=added]."
        )
    drawn = seeding.stream(0, "ordinary_tokens").choice(len(ordinary), n, replace=False)
    return [ordinary[i] for i in drawn]


def _single_token(tokenizer: Any, symbol: str, text: str, *, vocab_size: int, name: str) -> int:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    unknown = getattr(tokenizer, "unk_token_id", None)
    if len(ids) == 1 and ids[0] != unknown and ids[0] < vocab_size:
        return ids[0]
    pieces = ", ".join(map(repr, tokenizer.convert_ids_to_tokens(ids))) or "nothing"
    raise UsageError(
        f"Symbol '{symbol}' has the text {text!r}, which the tokenizer of '{name}' makes into "
        f"{len(ids)} tokens ({pieces}) where one known token is needed. Give the symbols new "
        f"tokens: {name}[symbols=added]."
    )


def _check_distinct(ids: list[int | None], task: Task, *, name: str) -> None:
    seen: dict[int, str] = {}
    for known, symbol in zip(ids, task.symbols, strict=True):
        if known is None:
            continue
        if known in seen:
            raise UsageError(
                f"Symbols '{seen[known]}' and '{symbol}' are the same token {known} of '{name}'. "
                f"Give the symbols new tokens: {name}[symbols=added]."
            )
        seen[known] = symbol
