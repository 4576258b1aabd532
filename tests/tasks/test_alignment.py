"""Two tokenizations of one text meet where both end a token at the same byte."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from source_files import write_source

from mecheval.errors import UsageError
from mecheval.registry import Registry
from mecheval.tasks.alignment import Aligned
from mecheval.tasks.tokenized import FIRST

Text = Registry().load("task", "text")


class Cut(NamedTuple):
    """A text whose documents are cut by hand; a character is a byte."""

    symbols: tuple[str, ...]
    documents: dict[str, list[str]]

    @classmethod
    def of(cls, *documents: list[str]) -> Any:
        symbols = ("<bos>", "<end>", *sorted({token for of in documents for token in of}))
        return cls(symbols, {"".join(of): of for of in documents})

    @property
    def bytes_C(self) -> np.ndarray:
        return np.array([0, 0, *map(len, self.symbols[FIRST:])])

    def documents_by_text(self, split):
        return {
            text: np.array([*map(self.symbols.index, of), 1]) for text, of in self.documents.items()
        }


def words(*cut: str) -> Any:
    return Cut.of(*(text.split("|") for text in cut))


def ends(text: Any, tokens_BT: np.ndarray, row_N: np.ndarray, position_N: np.ndarray) -> list[str]:
    """Return what is read from the beginning of the window up to every place."""
    return [
        "".join("." if t == 1 else text.symbols[t] for t in tokens_BT[row, 1 : position + 1])
        for row, position in zip(row_N, position_N, strict=True)
    ]


def test_places_are_where_tokens_of_both_end() -> None:
    one, other = words("ab|c|de|f", "g|hi"), words("a|bc|d|ef", "gh|i")
    found = Aligned(one, other, "test")
    assert (found.n_boundaries, found.n_documents) == (3, 2)  # behind abc, f and i
    assert found.kept == (3 / 6, 3 / 6)
    met = found.meeting((4, 4))
    read = [ends(t, *each) for t, each in zip((one, other), zip(
        met.tokens, (met.row_N, met.row_N), met.positions, strict=True), strict=True)]  # fmt: skip
    assert read[0] == read[1] == ["abc", "abcdef", ".ghi"]
    assert met.byte_N.tolist() == [3, 6, 10]


def test_a_window_begins_where_both_end_and_no_place_stands_twice() -> None:
    one = words("|".join("abcdefghijklmnopqrstuvwx"))
    other = words("|".join(["abc", "def", "ghi", "jkl", "mno", "pqr", "stu", "vwx"]))
    met = Aligned(one, other, "test").meeting((6, 3))
    assert met.byte_N.tolist() == [3, 6, 9, 12, 15, 18, 21, 24]
    assert met.row_N.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert met.tokens[0][1, 1:].tolist() == [one.symbols.index(c) for c in "ghijkl"]
    assert met.tokens[1][1, 1:].tolist() == [other.symbols.index(c) for c in ("ghi", "jkl", "mno")]
    assert (met.tokens[0][:, 0] == 0).all()
    assert met.positions[0].tolist() == [3, 6] * 4
    assert met.positions[1].tolist() == [1, 2] * 4
    some = met.take(np.array([2, 5]))
    assert some.row_N.tolist() == [0, 1]
    assert (some.tokens[0] == met.tokens[0][1:3]).all()
    assert some.positions[1].tolist() == [1, 2]


def test_a_stretch_without_common_ends_is_passed_over() -> None:
    one, other = words("a|bb|bb|bb|bb|b|c|d"), words("a|b|bb|bb|bb|bb|c|d")
    met = Aligned(one, other, "test").meeting((2, 2))
    read = ends(one, met.tokens[0], met.row_N, met.positions[0])
    assert read == ends(other, met.tokens[1], met.row_N, met.positions[1])
    assert read == ["a", "c", "cd"]


def test_documents_that_only_one_holds_are_left_out() -> None:
    one, other = words("a|b", "c|d", "e|f|g"), words("c|d", "e|f|g", "h|i")
    found = Aligned(one, other, "test")
    assert (found.n_documents, found.kept) == (2, (1.0, 1.0))
    assert found.sha256 == Aligned(other, one, "test").sha256


def test_what_meets_nowhere_or_hardly_anywhere_is_refused() -> None:
    with pytest.raises(UsageError, match="no held-out document in common"):
        Aligned(words("a|b"), words("c|d"), "test")
    one, other = words("a" + "|bb" * 20 + "|c"), words("a|b" + "|bb" * 19 + "|bc")
    with pytest.raises(UsageError, match=r"shares of 0.09 and 0.09 end at the same byte"):
        Aligned(one, other, "test")
    with pytest.raises(UsageError, match="shorter than a window of 9 and 8 tokens"):
        Aligned(words("a|b"), words("a|b"), "test").meeting((9, 8))


def test_a_text_in_byte_pairs_meets_its_bytes_at_all_of_its_tokens(tmp_path) -> None:
    given = {"folder": write_source(tmp_path, 24), "min_length": 16, "max_length": 16}
    pairs, bytes_ = Text(**given, vocabulary=300), Text(**given, vocabulary=256)
    found = Aligned(pairs.text, bytes_.text, "test")
    assert found.kept[0] == 1.0
    n_tokens = [(t.text.streams["test"].token_X >= FIRST).sum() for t in (pairs, bytes_)]
    assert found.kept[1] == n_tokens[0] / n_tokens[1]
    met = found.meeting((16, 16))
    read = []
    for task, tokens_BT, position_N in zip((pairs, bytes_), met.tokens, met.positions, strict=True):
        read.append(ends(task, tokens_BT, met.row_N, position_N))
    assert read[0] == read[1]
    assert len(read[0]) > 200
    alone = Aligned(pairs.text, pairs.text, "test")
    assert alone.kept == (1.0, 1.0)
    met = alone.meeting((16, 16))
    windows = pairs.text.windows("test", pairs.text.starts("test", 16), 16).tokens_BT
    assert (met.tokens[0] == windows[: len(met.tokens[0])]).all()
    assert len(met.row_N) == (met.tokens[0] >= FIRST).sum()
