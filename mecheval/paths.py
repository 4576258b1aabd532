"""Questions about paths from outside, which have an answer whatever the path is.

:mod:`pathlib` raises for names that are too long, folders that may not be looked into, links that
lead in a circle, and homes of nobody; none of them is there to be used.
"""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: Path) -> Path:
    """Return a path with ``~`` as the home folder; as it is where nobody has that home."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def resolved(path: Path) -> Path:
    """Return a path without links; as it is where links lead in a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def exists(path: Path) -> bool:
    """Say whether there is something, be it a link that leads nowhere."""
    try:
        return path.exists() or path.is_symlink()
    except OSError:
        return False


def is_dir(path: Path) -> bool:
    """Say whether there is a folder."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_file(path: Path) -> bool:
    """Say whether there is a regular file."""
    try:
        return path.is_file()
    except OSError:
        return False


def modified_ns(path: Path) -> int | None:
    """Return when a file or the list of a folder last changed; None where there is neither."""
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return None


def cache_folder() -> Path:
    """Return ``MECHEVAL_CACHE``, or the platform's cache folder for mecheval."""
    from platformdirs import user_cache_path

    given = os.environ.get("MECHEVAL_CACHE")
    return expanded(Path(given)) if given else user_cache_path("mecheval")
