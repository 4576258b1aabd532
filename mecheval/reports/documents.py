"""Writing what is made from reports: tables, pictures, and files to start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.errors import UsageError
from mecheval.paths import exists, is_dir, is_file
from mecheval.reports.files import TEMPORARY, storage_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_HEAD = 4096  # bytes of a page in which it says what made it


def write_document(path: Path, content: str | bytes) -> None:
    """Write a file so that its path never holds half of it; folders are made as needed.

    Raises:
        StorageError: It could not be written.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error


def check_folder(folder: Path, mark: str) -> None:
    """Check that pages can be written into a folder and that nobody else's are in the way.

    Args:
        folder: The folder, which need not be there.
        mark: What pages of the same kind say in their beginning.

    Raises:
        UsageError: It is a file, or its index.html is not of that kind.
    """
    index = folder / "index.html"
    if exists(folder) and not is_dir(folder):
        raise UsageError(f"The path {folder} is a file. Give a folder for the page.")
    if exists(index) and not _is_ours(index, mark):
        raise UsageError(
            f"The file {index} was not made by this command and is left as it is. Move it away, or "
            "give another folder."
        )


def write_folder(folder: Path, files: Mapping[str, str], mark: str) -> None:
    """Write pages, and remove those of an earlier time that are no longer among them.

    Args:
        folder: The folder.
        files: The files by their paths in it.
        mark: What pages of this kind say in their beginning: no others are removed.

    Raises:
        StorageError: A file could not be written or removed.
    """
    for name, content in files.items():
        write_document(folder / name, content)
    for path in sorted(folder.glob("*/*.html")):
        if path.relative_to(folder).as_posix() not in files and _is_ours(path, mark):
            try:
                path.unlink()
            except OSError as error:
                raise storage_error(path, error) from error


def _is_ours(path: Path, mark: str) -> bool:
    if not is_file(path):
        return False
    try:
        with path.open("rb") as file:
            return mark.encode() in file.read(_HEAD)
    except OSError:
        return False
