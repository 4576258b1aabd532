"""Python source in a small vocabulary of symbols that keeps its brackets.

Shape suffixes: ``S`` symbols of a file or passage, ``X`` symbols of all files, one behind the
other, ``F`` files, ``N`` places where a passage begins.
"""

from __future__ import annotations

import keyword
import re
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval.errors import UsageError
from mecheval.tasks.contract import BOS
from mecheval.tasks.corpus import corpus
from mecheval.tasks.nesting import Nesting, nesting
from mecheval.tasks.splits import sequence_hash

if TYPE_CHECKING:
    from collections.abc import Collection

OPENING, CLOSING = "([{", ")]}"
OPERATORS = (".", ",", ":", "=", "==", "+", "-", "*", "/", "%", "<", ">", "@", "->")
OTHER = {"!=": "==", "<=": "<", ">=": ">", "**": "*", "//": "/", "~": "-", "...": "1"}
"""What stands for rarer operators; those that are nowhere here become a plus."""
NAMES = "abcdefghijklmnopqrstuvwxyz"
KEYWORDS = tuple(word for word in keyword.kwlist if word != "nonlocal")
"""Without the rarest one, which tokenizers cut into pieces; it is a name."""
SYMBOLS = (BOS, *OPENING, *CLOSING, "\n", *OPERATORS, "1", '""', *KEYWORDS, "self", *NAMES)
INDEX = {symbol: index for index, symbol in enumerate(SYMBOLS)}
LEXEMES = re.compile(
    r"(?:#[^\n]*|\\\n|[^\S\n]+)*+"  # comments, joined lines and blanks say nothing of brackets
    r"(?:(?P<string>(?:[rbfuRBFU]{1,2})?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}"
    r"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'))"
    r"|(?P<name>[^\W\d]\w*)|(?P<number>\d[\w.]*)|(?P<end>\n)|(?P<bracket>[()\[\]{}])"
    r"|(?P<operator>->|\.\.\.|==|!=|<=|>=|\*\*|//|[^\w\s()\[\]{}])|\Z)",
    re.DOTALL,
)
"""A string, name, number, end of a line, bracket or operator, or the end of the text, behind what
says nothing: one search for both, which is half of what it takes to cut a file."""


class Passages(NamedTuple):
    """Passages of a text, with what is open behind each of their symbols, ``(N, S)`` each.

    Attributes:
        symbol: Indices into the symbols.
        depth: How many brackets are open.
        kind: Kind of the innermost open one, 0 where none is open.
        age: How many symbols ago it was opened.
    """

    symbol: np.ndarray
    depth: np.ndarray
    kind: np.ndarray
    age: np.ndarray


class Source:
    """All files in symbols; files whose brackets do not match are left out.

    Attributes:
        symbol_X: Indices into the symbols.
        depth_X: How many brackets are open behind a symbol.
        kind_X: Kind of the innermost open bracket behind a symbol, 0 where none is open.
        age_X: How many symbols ago it was opened.
        file_X: Which file a symbol is of.
        bucket_F: The part of sixteen that a file falls into, by the hash of its name.
    """

    def __init__(self, folder: str, kilobytes: int) -> None:
        """Cut a corpus into symbols.

        Raises:
            UsageError: There is no text, or none whose brackets match.
        """
        found = corpus(folder, ".py", kilobytes)
        cut_files = [(name, cut(text)) for name, text in zip(found.names, found.texts, strict=True)]
        files = [(name, symbol_S, nested(symbol_S)) for name, symbol_S in cut_files]
        kept = [(name, symbol_S, nest) for name, symbol_S, nest in files if nest is not None]
        if not kept:
            raise UsageError(
                "No file of the text has brackets that match. Give it more kilobytes, or a folder "
                "of Python source."
            )
        self.symbol_X = np.concatenate([symbol_S for _, symbol_S, _ in kept])
        self.depth_X = np.concatenate([nest.depth_BT[0, 1:] for *_, nest in kept])
        self.kind_X = np.concatenate([nest.kind_BT[0, 1:] for *_, nest in kept])
        self.age_X = np.concatenate([ages(nest)[0, 1:] for *_, nest in kept])
        self.file_X = np.repeat(np.arange(len(kept)), [len(symbol_S) for _, symbol_S, _ in kept])
        self.bucket_F = np.array([zlib.crc32(name.encode()) % 16 for name, *_ in kept])

    def passages(
        self, length: int, deepest: int, reach: int, buckets: Collection[int]
    ) -> list[np.ndarray]:
        """Return where passages begin, by the kind of bracket that is open at their end.

        Nothing is open where they begin. What stands in files of several buckets is of none.

        Args:
            length: Number of symbols of a passage.
            deepest: Greatest depth.
            reach: Fewest symbols from the bracket that is open at the end to the end.
            buckets: Parts of sixteen of the files that they are from.

        Returns:
            One array ``(N,)`` per kind, from kind 1 on.
        """
        start_N, bucket_N = self._passages(length, deepest, reach)
        start_N = start_N[np.isin(bucket_N, list(buckets))]
        kind_N = self.kind_X[start_N + length - 1]
        return [start_N[kind_N == kind + 1] for kind in range(len(OPENING))]

    def read(self, start_N: np.ndarray, length: int) -> Passages:
        """Return the passages that begin at some places, at each of which nothing is open."""
        place_NS = start_N[:, None] + np.arange(length)
        by_symbol = (self.symbol_X, self.depth_X, self.kind_X, self.age_X)
        return Passages(*(value_X[place_NS] for value_X in by_symbol))

    @lru_cache(maxsize=16)  # noqa: B019 - of few sources, which stay as long as the process
    def _passages(self, length: int, deepest: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
        """Return where the passages of all buckets begin, and their buckets, ``(N,)``."""
        n = max(0, len(self.symbol_X) - length + 1)
        end = len(self.symbol_X) - n
        outside_X = np.concatenate([[True], self.depth_X[:-1] == 0])
        too_deep_X = np.concatenate([[0], np.cumsum(self.depth_X > deepest)])
        good_N = outside_X[:n] & (self.kind_X[end:] > 0) & (self.age_X[end:] >= reach)
        good_N &= too_deep_X[end + 1 :] == too_deep_X[:n]
        good_N &= self.file_X[:n] == self.file_X[end:]
        start_N = np.flatnonzero(good_N)
        bucket_N = self.bucket_F[self.file_X[start_N]]
        text_N = sequence_hash(self.symbol_X[start_N[:, None] + np.arange(length)])
        _, text_N = np.unique(text_N, return_inverse=True)
        seen_NF = np.zeros((len(start_N), 16), bool)
        seen_NF[text_N, bucket_N] = True
        alone_N = seen_NF.sum(1)[text_N] == 1
        return start_N[alone_N], bucket_N[alone_N]


@lru_cache(maxsize=4)
def source_of(folder: str, kilobytes: int) -> Source:
    """Return the source of a folder, cut once per process."""
    return Source(folder, kilobytes)


def kinds(symbol_X: np.ndarray) -> np.ndarray:
    """Return the kind of every bracket: from 1 on where one opens, negative where one closes."""
    opening, n = INDEX[OPENING[0]], len(OPENING)
    opens_X = (symbol_X >= opening) & (symbol_X < opening + n)
    closes_X = (symbol_X >= opening + n) & (symbol_X < opening + 2 * n)
    return opens_X * (symbol_X - opening + 1) - closes_X * (symbol_X - opening - n + 1)


def cut(text: str) -> np.ndarray:
    """Cut a file into symbols ``(S,)``; ends of lines count where no bracket is open."""
    symbols, depth = [], 0
    for match in LEXEMES.finditer(text):
        kind = match.lastgroup
        if kind is None or (kind == "end" and (depth or symbols[-1:] == [INDEX["\n"]])):
            continue
        index = _FIXED.get(kind)
        if index is None:
            lexeme = match[kind]
            depth += (lexeme in OPENING) - (lexeme in CLOSING) if kind == "bracket" else 0
            index = _index(kind, lexeme)
        symbols.append(index)
    return np.array(symbols, np.int64)


_FIXED = {"string": INDEX['""'], "number": INDEX["1"], "end": INDEX["\n"]}
"""What stands for all lexemes of a kind."""


@lru_cache(maxsize=1 << 16)  # a library of a million symbols has some twenty thousand names
def _index(kind: str, lexeme: str) -> int:
    if kind == "name" and lexeme not in INDEX:
        return INDEX[NAMES[zlib.crc32(lexeme.encode()) % len(NAMES)]]
    if kind == "operator" and lexeme not in OPERATORS:
        return INDEX[OTHER.get(lexeme, "+")]
    return INDEX[lexeme]


def nested(symbol_S: np.ndarray) -> Nesting | None:
    """Match the brackets of a file, None where one is not closed by one of its kind."""
    kind_1S = kinds(symbol_S)[None]
    depth_1S = np.cumsum(np.sign(kind_1S), axis=1)
    if not depth_1S.size or depth_1S[0, -1] != 0:
        return None
    try:
        return nesting(kind_1S, int(depth_1S.max()))
    except ValueError:
        return None


def matched(symbol_NS: np.ndarray, deepest: int) -> Passages:
    """Match the brackets of passages that begin with none open.

    Args:
        symbol_NS: The symbols.
        deepest: Greatest depth.

    Raises:
        ValueError: One closes what is not open, or nests too deep.
    """
    nest = nesting(kinds(symbol_NS), deepest)
    return Passages(symbol_NS, nest.depth_BT[:, 1:], nest.kind_BT[:, 1:], ages(nest)[:, 1:])


def ages(nest: Nesting) -> np.ndarray:
    """Return how many symbols ago the innermost open bracket was opened, ``(B, T)``."""
    return np.arange(-1, nest.depth_BT.shape[1] - 1) - nest.innermost_BT
