"""A corpus in tokens: documents one behind the other, split by document, cut into windows.

Shape suffixes: ``X`` tokens of a split, one behind the other; ``W`` windows, ``T`` positions (BOS
included), ``C`` symbols.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mecheval.errors import UsageError
from mecheval.tasks.batch import UNSCORED, Batch
from mecheval.tasks.contract import BOS
from mecheval.tasks.kept_tokens import Cut, cut
from mecheval.tasks.ngrams import NGrams
from mecheval.tasks.splits import BUCKETS
from mecheval.tasks.vocabularies import of_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.tasks.splits import Split
    from mecheval.tasks.text_source import TextSource

END = "<end>"
"""What stands between two documents: read like any token, and never asked for."""

FIRST = 2
"""Index of the first symbol that is a token of the text, behind :data:`BOS` and :data:`END`."""

BYTES = 256
"""Tokens of the smallest vocabulary: every byte is one."""


@dataclass(frozen=True)
class Stream:
    """The documents of one split, with :data:`END` behind each.

    Attributes:
        token_X: Indices into the symbols.
        document_X: Which document a token is of; the end of a document is of it.
    """

    token_X: np.ndarray
    document_X: np.ndarray


class Tokenized:
    """A corpus in tokens.

    Attributes:
        symbols: BOS, END, and the tokens, as bytes are written in byte-level vocabularies.
        bytes_C: How many bytes of the text a symbol stands for.
        ids: The ids of all tokens in a tokenizer's vocabulary; None where it is no tokenizer's.
        streams: The text of every split.
        documents_sha256: Hash of the text, which is the same however it is cut.
        sha256: Hash of the text and of the vocabulary.
    """

    def __init__(
        self, source: TextSource, kilobytes: int, *, vocabulary: int, tokenizer: str
    ) -> None:
        """Cut a corpus into tokens.

        Args:
            source: Where it is from.
            kilobytes: How much of it is taken.
            vocabulary: Most tokens of a vocabulary that is made from the training documents.
            tokenizer: Whose tokens they are instead; none where empty.

        Raises:
            UsageError: There is no text or no such tokenizer, or there are too few documents.
        """
        found = source.corpus(kilobytes)
        texts = list(dict.fromkeys(filter(None, found.texts)))
        if tokenizer:
            of_others, texts = of_tokenizer(tokenizer, texts)
            made = Cut.by(of_others, split_documents(texts))
        else:
            made = cut(split_documents(texts), vocabulary)
        self.symbols, self.ids = (BOS, END, *made.tokens), made.ids
        self.bytes_C = np.array([0, 0, *map(len, made.tokens)])
        self.streams = {split: _stream(of) for split, of in made.documents.items()}
        self.documents_sha256 = found.sha256
        content = f"{found.sha256} {made.tokens} {made.ids}"
        self.sha256 = hashlib.sha256(content.encode()).hexdigest()

    def starts(self, split: Split, length: int) -> np.ndarray:
        """Return where the consecutive windows of a split begin, ``(W,)``.

        Every token of the split but the first, and those behind the last whole window, is asked
        for in one of them.

        Raises:
            UsageError: There is no window of this length.
        """
        n_windows = (len(self.streams[split].token_X) - 1) // length
        if n_windows < 1:
            raise UsageError(
                f"The text has {len(self.streams[split].token_X)} tokens in its {split} split, and "
                f"sequences of {length} symbols are asked for. Give it more kilobytes, another "
                "folder, or a smaller max_length."
            )
        return length * np.arange(n_windows)

    def spread(self, split: Split, n: int, length: int) -> np.ndarray:
        """Return where ``n`` of the consecutive windows begin, spread evenly, or all of them.

        Raises:
            UsageError: There is no window of this length.
        """
        start_W = self.starts(split, length)
        return start_W if n >= len(start_W) else start_W[np.arange(n) * len(start_W) // n]

    def windows(self, split: Split, start_W: np.ndarray, length: int) -> Batch:
        """Return windows: BOS, some tokens, and behind each the token that comes next.

        Nothing is asked at BOS, and where a document ends. The readout is the last position at
        which something is asked.

        Args:
            split: Which documents they are of.
            start_W: Where they begin.
            length: Number of tokens.
        """
        place_WT = start_W[:, None] + np.arange(-1, length)
        token_X = self.streams[split].token_X
        tokens_WT, next_WT = token_X[np.maximum(place_WT, 0)], token_X[place_WT + 1]
        tokens_WT[:, 0] = 0
        targets_WT = np.where(next_WT >= FIRST, next_WT, UNSCORED)
        targets_WT[:, 0] = UNSCORED
        batch = Batch(tokens_WT, targets_WT)
        return Batch(tokens_WT, targets_WT, {}, {"readout": np.maximum(batch.end_B - 1, 0)})

    def documents(self, split: Split, start_W: np.ndarray, length: int) -> np.ndarray:
        """Return which document is asked about at every position of windows, ``(W, T)``."""
        place_WT = start_W[:, None] + np.arange(length + 1)
        return self.streams[split].document_X[place_WT]

    def documents_by_text(self, split: Split) -> dict[str, np.ndarray]:
        """Return the tokens of every document with :data:`END` behind them, by its text.

        The text is as byte-level vocabularies write bytes, the same however it is cut into tokens.
        """
        stream = self.streams[split]
        ends = np.flatnonzero(stream.token_X == FIRST - 1) + 1
        documents = np.split(stream.token_X, ends[:-1])
        return {"".join(self.symbols[token] for token in of[:-1]): of for of in documents}

    def floors(self, split: Split, start_W: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """Return the loss of tables fitted on the training documents, ``(W, T)`` nats by table.

        They know what stands before a window, which a model does not. NaN where nothing is asked.
        """
        token_X = self.streams[split].token_X
        place_WT = start_W[:, None] + np.arange(length + 1)
        found = {}
        for name, nats in self._tables.nats(_coded(token_X)).items():
            nats_X = np.full(len(token_X), np.nan)
            nats_X[token_X >= FIRST] = nats
            nats_WT = nats_X[place_WT]
            nats_WT[:, 0] = np.nan
            found[name] = nats_WT
        return found

    def bigrams(self) -> np.ndarray:
        """Return what every symbol costs behind every other by the table of two, ``(C, C)`` nats.

        Rows are what stands before. What is never asked for, and what stands behind BOS, costs 0.
        """
        n = len(self.symbols)
        before_X, behind_X = (index.ravel() for index in np.mgrid[FIRST - 1 : n, FIRST:n])
        token_X = np.stack([before_X, behind_X], axis=1).ravel()
        nats_X = np.zeros(len(token_X))
        nats_X[token_X >= FIRST] = self._tables.nats(_coded(token_X))["bigram"]
        found_CC = np.zeros((n, n))
        found_CC[before_X, behind_X] = nats_X[1::2]
        return found_CC

    @cached_property
    def _tables(self) -> NGrams:
        code_X = _coded(self.streams["train"].token_X)
        return NGrams(code_X, len(self.symbols) - 1, separator=0)


@lru_cache(maxsize=8)
def tokenized(
    source: TextSource, kilobytes: int, *, vocabulary: int, tokenizer: str = ""
) -> Tokenized:
    """Return a corpus in tokens, cut once per process; the arguments are those of the class."""
    return Tokenized(source, kilobytes, vocabulary=vocabulary, tokenizer=tokenizer)


def split_documents(texts: Sequence[str]) -> dict[Split, list[str]]:
    """Split documents in the order given, by how much text a split has.

    The shares are those of :data:`~mecheval.tasks.splits.BUCKETS`; every split has one document at
    least, the test and validation split no more than they need.

    Raises:
        UsageError: There are fewer documents than splits.
    """
    if len(texts) < len(BUCKETS):
        raise UsageError(
            f"The text has {len(texts)} different documents, and whole documents belong to "
            "training, validation or test. Give it three at least: more kilobytes, or a folder "
            "with more files."
        )
    total, found, at = sum(map(len, texts)), {}, 0
    for n_left, split in zip((2, 1), ("test", "validation"), strict=True):
        end = at + 1
        wanted = len(BUCKETS[split]) / 16 * total
        while sum(map(len, texts[at:end])) < wanted and len(texts) - end > n_left:
            end += 1
        found[split] = list(texts[at:end])
        at = end
    return {**found, "train": list(texts[at:])}


def _stream(documents: Sequence[np.ndarray]) -> Stream:
    """Put documents one behind the other."""
    end = np.array([FIRST - 1])
    documents = [np.concatenate([token_X + FIRST, end]) for token_X in documents]
    number_X = np.repeat(np.arange(len(documents)), list(map(len, documents)))
    return Stream(np.concatenate(documents), number_X)


def _coded(token_X: np.ndarray) -> np.ndarray:
    """Return tokens as the tables count them: the end of a document 0, tokens from 1 on."""
    return token_X - (FIRST - 1)
