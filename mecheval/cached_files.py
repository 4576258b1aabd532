"""Files of the cache, which many processes read while one of them writes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mecheval.errors import StorageError


def write_cached(path: Path, content: bytes) -> None:
    """Write a file of the cache beside its place and move it there: all of it is there, or nothing.

    Raises:
        StorageError: It cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise StorageError(
            f"{path} could not be written ({error.strerror}). Free some space there, or point "
            "MECHEVAL_CACHE at another folder."
        ) from error
