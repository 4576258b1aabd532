"""A corpus cut into byte pairs of its own, kept in the cache, as cutting takes seconds.

What is kept is found by the hash of the text, and made again where it is lost or damaged.
"""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from mecheval.cached_files import write_cached
from mecheval.errors import StorageError
from mecheval.paths import cache_folder
from mecheval.tasks.corpus import sha256_of
from mecheval.tasks.vocabularies import trained

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mecheval.tasks.splits import Split
    from mecheval.tasks.vocabularies import Vocabulary

FOLDER = "texts"
_FORMAT = 1


class Cut(NamedTuple):
    """Documents in tokens.

    Attributes:
        tokens: The tokens, a character for each of their bytes.
        ids: Their ids in a tokenizer's vocabulary; None where it is no tokenizer's.
        documents: The documents of every split, as indices into the tokens.
    """

    tokens: tuple[str, ...]
    ids: tuple[int, ...] | None
    documents: dict[Split, list[np.ndarray]]

    @classmethod
    def by(cls, vocabulary: Vocabulary, texts: Mapping[Split, Sequence[str]]) -> Cut:
        """Cut documents into the tokens of a vocabulary."""
        documents: dict[Split, list[np.ndarray]] = {
            split: vocabulary.cut(of) for split, of in texts.items()
        }
        return cls(vocabulary.tokens, vocabulary.ids, documents)


def cut(texts: Mapping[Split, Sequence[str]], size: int) -> Cut:
    """Cut documents into tokens of a vocabulary that is made from those of training.

    A cache that cannot be written costs the time of cutting, and nothing else.

    Args:
        texts: The documents of every split.
        size: How many tokens there are at most.
    """
    path = cache_folder() / FOLDER / f"{_key(texts, size)}.npz"
    kept = _read(path, list(texts))
    if kept is not None:
        return kept
    made = Cut.by(trained(texts["train"], size), texts)
    with suppress(StorageError):
        write_cached(path, _packed(made))
    return made


def _key(texts: Mapping[Split, Sequence[str]], size: int) -> str:
    """Return a hash of all that tokens depend on; what cuts a text may change with its version."""
    import tokenizers

    whole = (part for split, of in texts.items() for part in (split, str(len(of)), *of))
    return sha256_of((str(_FORMAT), tokenizers.__version__, str(size), *whole))


def _packed(made: Cut) -> bytes:
    arrays: dict[str, Any] = {"tokens": np.array(made.tokens)}
    smallest = np.min_scalar_type(len(made.tokens))
    for split, documents in made.documents.items():
        arrays[split] = np.concatenate(documents).astype(smallest)
        arrays[f"{split} lengths"] = np.array([len(token_X) for token_X in documents])
    file = BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _read(path: Path, splits: Sequence[Split]) -> Cut | None:
    """Return what is kept, None where there is nothing or something else."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            tokens = tuple(map(str, arrays["tokens"]))
            documents: dict[Split, list[np.ndarray]] = {
                split: np.split(
                    arrays[split].astype(np.int64), arrays[f"{split} lengths"].cumsum()[:-1]
                )
                for split in splits
            }
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    return Cut(tokens, None, documents)
