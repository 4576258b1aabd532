"""Tokens of a text in the cache: those that cutting gives, whatever happens to the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mecheval.paths import cache_folder
from mecheval.tasks import kept_tokens
from mecheval.tasks.kept_tokens import Cut, cut

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = {
    "test": ["one two\n", "ein \u00fc zwei"],
    "validation": ["a"],
    "train": ["one two one two three", "two two", "drei"],
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder for tokens of which nobody else knows."""
    monkeypatch.setenv("MECHEVAL_CACHE", str(tmp_path))
    return tmp_path / kept_tokens.FOLDER


def same(one: Cut, other: Cut) -> bool:
    assert one.tokens == other.tokens
    assert list(one.documents) == list(other.documents)
    for split, documents in one.documents.items():
        for token_X, other_X in zip(documents, other.documents[split], strict=True):
            np.testing.assert_array_equal(token_X, other_X)
            assert token_X.dtype == other_X.dtype
    return True


def test_what_is_kept_is_what_was_cut(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = cut(TEXTS, 270)
    assert len(made.tokens) <= 270
    decoded = "".join(made.tokens[token] for token in made.documents["train"][0])
    assert decoded.replace("\u0120", " ") == TEXTS["train"][0]
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(kept_tokens, "trained", None)
    assert same(cut(TEXTS, 270), made)


@pytest.mark.parametrize("size", [0, 100, 2000], ids=["empty", "short", "half"])
def test_a_damaged_file_is_made_again(cache: Path, size: int) -> None:
    made = cut(TEXTS, 270)
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    assert same(cut(TEXTS, 270), made)
    assert path.read_bytes() == whole
    flipped = bytearray(whole)
    at = whole.index(b"NUMPY") + 200  # among the tokens themselves
    flipped[at] ^= 255
    path.write_bytes(flipped)
    assert same(cut(TEXTS, 270), made)


def test_another_text_size_or_version_is_cut_anew(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(TEXTS, 270)
    cut(TEXTS, 256)
    cut({**TEXTS, "validation": ["b"]}, 270)
    monkeypatch.setattr("tokenizers.__version__", "0.0")
    cut(TEXTS, 270)
    assert len(list(cache.iterdir())) == 4


def test_a_cache_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = cut(TEXTS, 270)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MECHEVAL_CACHE", str(tmp_path / "file"))
    assert not cache_folder().is_dir()
    assert same(cut(TEXTS, 270), made)
