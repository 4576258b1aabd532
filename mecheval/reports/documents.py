"""Writing what is made from reports: tables, pictures, and files to start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.reports.files import TEMPORARY, storage_error

if TYPE_CHECKING:
    from pathlib import Path


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
