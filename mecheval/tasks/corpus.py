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
    from collections.abc import Collection, Iterable, Iterator

LONGEST = 200_000
"""Characters of a document; longer files are tables, not text that somebody wrote."""

_NOT_WRITTEN_FOR_USE = {"__pycache__", "dist-packages", "site-packages", "test", "tests"}
_PIECE = 4_000  # characters of a piece of a file that is the whole corpus, at least


@dataclass(frozen=True)
class Corpus:
    """Some files of a folder, or the pieces of one file.

    Attributes:
        names: Their paths below it, with forward slashes; of pieces their numbers.
        texts: What they hold, in the same order.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]

    @cached_property
    def sha256(self) -> str:
        """Return the hash of names and texts."""
        return sha256_of(part for pair in zip(self.names, self.texts, strict=True) for part in pair)


def sha256_of(parts: Iterable[str]) -> str:
    """Return a hash of texts, which tells where one ends and the next begins."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()


@lru_cache(maxsize=4)
def corpus(folder: str, suffix: str, kilobytes: int) -> Corpus:
    """Read files of a folder, in an order that has nothing to do with what they hold.

    Files come by the hash of their names until there is enough text, so that a few of them are a
    sample of all. Tests, and what was installed beside the standard library, are left out, and so
    is what is not UTF-8 or very long. A single file, however long, is cut at ends of lines into
    pieces, which stand for files.

    Args:
        folder: A folder, or one file; the standard library of the interpreter that runs where
            empty.
        suffix: How the names of the files end: ``.py``; all files where empty. Of one file that is
            named this does not matter.
        kilobytes: How much text is taken, in thousands of characters.

    Raises:
        UsageError: There is no such folder, or no such file in it.
    """
    root = Path(folder or sysconfig.get_paths()["stdlib"])
    if root.is_file():
        return taken(_pieces(root), kilobytes)
    left_out = set() if folder else _NOT_WRITTEN_FOR_USE
    found = taken(_read(root, sorted(_below(root, suffix, left_out), key=_shuffled)), kilobytes)
    if not found.names:
        raise UsageError(
            f"There is no file {quoted('*' + suffix)} that can be read in the folder "
            f"{quoted(str(root))}. Name a folder that has some, or none for the standard library."
        )
    return found


def taken(named: Iterator[tuple[str, str]], kilobytes: int) -> Corpus:
    """Take documents, names and texts, until there is enough text.

    Args:
        named: The documents.
        kilobytes: How much that is, in thousands of characters.
    """
    names, texts, room = [], [], 1000 * kilobytes
    while room > 0 and (found := next(named, None)):
        names.append(found[0])
        texts.append(found[1])
        room -= len(found[1])
    return Corpus(tuple(names), tuple(texts))


def _read(root: Path, names: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the files that can be read and are not very long, with their names."""
    for name in names:
        try:
            text = (root / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if len(text) <= LONGEST:
            yield name, text


def _pieces(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the pieces of a file, in an order by chance.

    Raises:
        UsageError: It is not UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"The file {quoted(str(path))} is not text in UTF-8. Convert it, or name another."
        ) from error
    pieces = [""]
    for line in lines:
        if len(pieces[-1]) >= _PIECE:
            pieces.append("")
        pieces[-1] += line
    numbers = sorted(range(len(pieces)), key=lambda number: _shuffled(str(number)))
    yield from ((str(number), pieces[number]) for number in numbers)


def _shuffled(name: str) -> bytes:
    """Return what orders names by chance, the same at every call."""
    return hashlib.sha256(name.encode()).digest()


def _below(root: Path, suffix: str, left_out: Collection[str]) -> Iterator[str]:
    """Yield the files of a kind below a folder, without those in folders of some names."""
    for at, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in left_out]
        here = Path(at).relative_to(root)
        yield from ((here / name).as_posix() for name in files if name.endswith(suffix))
