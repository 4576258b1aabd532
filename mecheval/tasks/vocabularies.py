"""Tokens that a text is cut into: byte pairs of its own, or those of a checkpoint's tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.own_code.explaining import in_words
from mecheval.text.quoting import HUB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Vocabulary(NamedTuple):
    """Tokens, and what cuts a text into them.

    Attributes:
        tokens: The tokens, a character for each of their bytes.
        ids: Their ids in a tokenizer's vocabulary; None where it is no tokenizer's.
        cut: Returns every text as indices into ``tokens``.
    """

    tokens: tuple[str, ...]
    ids: tuple[int, ...] | None
    cut: Callable[[Sequence[str]], list[np.ndarray]]


def trained(texts: Sequence[str], size: int) -> Vocabulary:
    """Make a vocabulary of bytes and of byte pairs that are common in some texts.

    Args:
        texts: The texts.
        size: How many tokens there are at most; 256 are the bytes alone.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokens = tuple(tokenizer.id_to_token(index) for index in range(tokenizer.get_vocab_size()))

    def cut(texts: Sequence[str]) -> list[np.ndarray]:
        # The fast one leaves out where in the text each token stands, a third of the time.
        return [np.array(each.ids, np.int64) for each in tokenizer.encode_batch_fast(list(texts))]

    return Vocabulary(tokens, None, cut)


def of_tokenizer(name: str, texts: Iterable[str]) -> tuple[Vocabulary, list[str]]:
    """Take the tokens of a tokenizer that occur in some texts.

    Args:
        name: A folder with its files, or a checkpoint of the hub.
        texts: The texts.

    Returns:
        The vocabulary, and the texts that come back from their tokens as they were and hold none of
        the special ones.

    Raises:
        UsageError: It cannot be loaded, or writes tokens in no way that bytes can be counted in.
    """
    tokenizer = _load(name)
    cut_texts: dict[str, list[int]] = {}
    special, byte_of, wrong = set(tokenizer.all_special_ids), _bytes(), 0
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        written = "".join(tokenizer.convert_ids_to_tokens(ids))
        back = bytes(byte_of.get(character, 0) for character in written)
        if back == text.encode() and not special.intersection(ids):
            cut_texts[text] = ids
        wrong += back != text.encode()
    if not cut_texts:
        raise UsageError(
            f"None of {wrong} documents comes back from the tokens of {quoted(name)} as it was. "
            "Give a tokenizer of bytes, such as those of GPT-2, Pythia, Mamba, Llama 3 or Qwen."
        )
    ids = sorted({token for found in cut_texts.values() for token in found})
    tokens = tuple(tokenizer.convert_ids_to_tokens(ids))
    codes = {text: np.searchsorted(ids, found) for text, found in cut_texts.items()}
    return Vocabulary(tokens, tuple(ids), lambda texts: [codes[t] for t in texts]), list(codes)


def _load(name: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name.removeprefix(HUB))
    except Exception as error:  # transformers raises any, by what is missing
        raise UsageError(
            f"The tokenizer {quoted(name)} cannot be loaded ({in_words(error)}). Give a folder "
            "with its files, or the name of a checkpoint of the hub."
        ) from error


def _bytes() -> dict[str, int]:
    """Return which byte a character of byte-level tokens stands for, as GPT-2 has it.

    Bytes that are seen when written stand for themselves, all others for characters from 256 on.
    """
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(b): b for b in visible} | {chr(256 + i): b for i, b in enumerate(hidden)}
