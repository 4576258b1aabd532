"""Dictionaries of networks and how good they are, as files of the cache.

What cannot be read, as on a failing disk, is removed: it is derived data, and making it again loses
nothing.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from mecheval.cached_files import write_cached
from mecheval.dictionaries import Dictionary, Quality

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


Kept = TypeVar("Kept")

FOLDER = "dictionaries"
"""Where they lie in the cache."""

_SPOILT = (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile)
_TENSORS = (
    "encoder_MD", "encoder_bias_M", "decoder_MD", "decoder_bias_D", "threshold_M", "means_GD",
)  # fmt: skip


def keep_dictionary(path: Path, dictionary: Dictionary) -> None:
    """Write a dictionary.

    Raises:
        StorageError: It cannot be written.
    """
    found = {name: getattr(dictionary, name) for name in _TENSORS}
    arrays: dict[str, Any] = {
        n: each.cpu().numpy() for n, each in found.items() if each is not None
    }
    others = {
        "k": dictionary.k, "norm_limit": dictionary.norm_limit, "about": dict(dictionary.about),
    }  # fmt: skip
    file = io.BytesIO()
    np.savez(file, **arrays, others=np.array(json.dumps(others)))
    write_cached(path, file.getvalue())


def kept_dictionary(path: Path) -> Dictionary | None:
    """Return a dictionary; None where there is none."""

    def read() -> Dictionary:
        with np.load(path, allow_pickle=False) as held:
            tensors = {n: torch.from_numpy(held[n]) for n in _TENSORS if n in held.files}
            return Dictionary(**tensors, **json.loads(str(held["others"])))

    return _read(path, read)


def keep_quality(path: Path, quality: Quality) -> None:
    """Write how good a dictionary is.

    Raises:
        StorageError: It cannot be written.
    """
    write_cached(path, json.dumps(asdict(quality)).encode())


def kept_quality(path: Path) -> Quality | None:
    """Return how good a dictionary is; None where it is not known."""
    return _read(path, lambda: Quality(**json.loads(path.read_bytes())))


def _read(path: Path, read: Callable[[], Kept]) -> Kept | None:
    try:
        return read()
    except FileNotFoundError:
        return None
    except _SPOILT:
        path.unlink(missing_ok=True)
        return None
