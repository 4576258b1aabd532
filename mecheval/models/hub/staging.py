"""Files of a checkpoint as transformers sees them: those that were hashed, and no others.

A directory can hold more than a checkpoint's own files, and libraries look for what they know: an
adapter is applied where its package is installed, other tokenizer files are preferred by other
versions. So what is loaded is loaded from a folder of links.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def staged(files: Mapping[str, Path], *, name: str) -> Iterator[Path]:
    """Give a folder that holds these files by these names, for as long as the context lasts.

    Args:
        files: The files by their names in the folder, which may name folders in it.
        name: Name of the folder; own code that is imported from it is known by it.
    """
    with tempfile.TemporaryDirectory(prefix="mecheval-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary) / name
        folder.mkdir()
        for inner, file in files.items():
            place = folder / inner
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                place.symlink_to(file.resolve())
            except OSError:  # a system that has no links, or asks for rights
                shutil.copyfile(file, place)
        yield folder
