"""Where a text comes from: the files of a folder, or the rows of a data set of `datasets`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.own_code.explaining import in_words
from mecheval.paths import expanded, is_dir, is_file
from mecheval.tasks.corpus import LONGEST, Corpus, corpus, taken

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SAVED = ("dataset_dict.json", "dataset_info.json")
"""What `save_to_disk` writes: of several splits, or of one."""


@dataclass(frozen=True)
class TextSource:
    """A text.

    Attributes:
        folder: A folder of files, or one file; the standard library where this is empty, too.
        suffix: How the names of the files of a folder end.
        dataset: In its place a data set: a name of the hub, a folder that was saved by `datasets`
            or holds its files, or one such file. Every row is a document.
        subset: Which configuration of it.
        part: Which of its splits.
        column: Which column holds the text.
        revision: Branch, tag or commit of the hub; what is there now where empty.
    """

    folder: str = ""
    suffix: str = ".py"
    dataset: str = ""
    subset: str = ""
    part: str = "train"
    column: str = "text"
    revision: str = ""

    def __post_init__(self) -> None:
        """Check that there are not two texts.

        Raises:
            UsageError: A folder and a data set are given, or something is said of a data set that
                is not given.
        """
        said = [name for name in ("subset", "revision") if getattr(self, name)]
        if self.dataset and self.folder:
            raise UsageError(
                "A text is from a folder or from a data set. Leave out one of the two."
            )
        if said and not self.dataset:
            raise UsageError(f"There is a {said[0]}, and no dataset that it is of. Give one.")

    def corpus(self, kilobytes: int) -> Corpus:
        """Return documents until there is enough text, in thousands of characters.

        Raises:
            UsageError: There are none.
        """
        if not self.dataset:
            return corpus(self.folder, self.suffix, kilobytes)
        return _from_dataset(self, kilobytes)


@lru_cache(maxsize=4)
def _from_dataset(source: TextSource, kilobytes: int) -> Corpus:
    """Read the first rows of a data set; what is empty or very long is left out.

    Raises:
        UsageError: It cannot be loaded, or has no such split or column.
    """
    rows = _loaded(source)
    column, known = source.column, list(rows.column_names or ())
    if known and column not in known:
        raise UsageError(
            f"The data set {quoted(source.dataset)} has no column {quoted(column)}. Give one of "
            f"{', '.join(map(quoted, known))}: column=NAME."
        )
    found = taken(_texts(rows, source), kilobytes)
    if not found.names:
        raise UsageError(
            f"No row of {quoted(source.dataset)} has text in its column {quoted(column)}. Name "
            "another column or split (part)."
        )
    return found


def _texts(rows: Any, source: TextSource) -> Iterator[tuple[str, str]]:
    try:
        for number, row in enumerate(rows):
            text = row.get(source.column)
            if not isinstance(text, str):
                raise UsageError(
                    f"Column {quoted(source.column)} of {quoted(source.dataset)} holds "
                    f"{type(text).__name__}, and a text is asked for. Name another: column=NAME."
                )
            if 0 < len(text) <= LONGEST:
                yield str(number), text
    except UsageError:
        raise
    except Exception as error:  # rows come from the network, in formats of any kind
        raise _unloaded(source, error) from None


def _loaded(source: TextSource) -> Any:
    """Return the rows of a split.

    Raises:
        UsageError: They cannot be loaded.
    """
    import datasets

    path = expanded(Path(source.dataset))
    try:
        if is_dir(path) and any(is_file(path / name) for name in _SAVED):
            found: Any = datasets.load_from_disk(str(path))
            return _split(found, source) if isinstance(found, dict) else found
        found = datasets.load_dataset(
            **_named(path, source), split=None, revision=source.revision or None, streaming=True
        )
    except UsageError:
        raise
    except Exception as error:  # datasets and what it loads with raise any
        raise _unloaded(source, error) from None
    return _split(found, source)


def _named(path: Path, source: TextSource) -> dict[str, Any]:
    if is_file(path):
        kind = {".jsonl": "json", ".txt": "text"}.get(path.suffix, path.suffix.removeprefix("."))
        return {"path": kind, "data_files": {source.part: str(path)}}
    place = str(path) if is_dir(path) else source.dataset
    return {"path": place, "name": source.subset or None}


def _split(found: Mapping[str, Any], source: TextSource) -> Any:
    if source.part not in found:
        raise UsageError(
            f"The data set {quoted(source.dataset)} has no split {quoted(source.part)}. Give one "
            f"of {', '.join(map(quoted, found))}: part=NAME."
        )
    return found[source.part]


def _unloaded(source: TextSource, error: Exception) -> UsageError:
    return UsageError(
        f"The data set {quoted(source.dataset)} cannot be loaded ({in_words(error)}). Give a name "
        "of the hub, which takes a network, or a folder on this machine that was saved by "
        "`datasets` (save_to_disk) or holds its files (parquet, JSON lines)."
    )
