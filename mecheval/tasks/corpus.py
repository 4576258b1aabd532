"""Text files as data: which of a folder are taken, what they hold, and the hash that names them."""

from __future__ import annotations

import hashlib
import os
import sysconfig
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mecheval.errors import UsageError
from mecheval.escape import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_LARGEST = 200_000  # characters; longer files are tables, not text that somebody wrote
_NOT_WRITTEN_FOR_USE = {"__pycache__", "dist-packages", "site-packages", "test", "tests"}


@dataclass(frozen=True)
class Corpus:
    """Some files of a folder.

    Attributes:
        names: Their paths below it, with forward slashes.
        texts: What they hold, in the same order.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]

    @cached_property
    def sha256(self) -> str:
        """Return the hash of names and texts."""
        digest = hashlib.sha256()
        for part in (part for pair in zip(self.names, self.texts, strict=True) for part in pair):
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(8, "big") + encoded)
        return digest.hexdigest()


@lru_cache(maxsize=4)
def corpus(folder: str, suffix: str, kilobytes: int) -> Corpus:
    """Read files of a folder, in an order that has nothing to do with what they hold.

    Files come by the hash of their names until there is enough text, so that a few of them are a
    sample of all. Tests, and what was installed beside the standard library, are left out, and so
    is what is not UTF-8 or very long.

    Args:
        folder: A folder; the standard library of the interpreter that runs where empty.
        suffix: How the names of the files end: ``.py``.
        kilobytes: How much text is taken.

    Raises:
        UsageError: There is no such folder, or no such file in it.
    """
    root = Path(folder or sysconfig.get_paths()["stdlib"])
    left_out = set() if folder else _NOT_WRITTEN_FOR_USE
    found = sorted(_below(root, suffix, left_out), key=_shuffled)
    names, texts, room = [], [], 1000 * kilobytes
    for name in found:
        if room <= 0:
            break
        try:
            text = (root / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if len(text) > _LARGEST:
            continue
        names.append(name)
        texts.append(text)
        room -= len(text)
    if not names:
        raise UsageError(
            f"There is no file {quoted('*' + suffix)} that can be read in the folder "
            f"{quoted(str(root))}. Name a folder that has some, or none for the standard library."
        )
    return Corpus(tuple(names), tuple(texts))


def _shuffled(name: str) -> bytes:
    """Return what orders names by chance, the same at every call."""
    return hashlib.sha256(name.encode()).digest()


def _below(root: Path, suffix: str, left_out: Collection[str]) -> Iterator[str]:
    """Yield the files of a kind below a folder, without those in folders of some names."""
    for at, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in left_out]
        here = Path(at).relative_to(root)
        yield from ((here / name).as_posix() for name in files if name.endswith(suffix))
