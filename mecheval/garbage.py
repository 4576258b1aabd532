"""When Python looks for garbage that refers to itself."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def kept_all() -> Iterator[None]:
    """Do not look for garbage while thousands of things are made that all stay.

    Python looks through all that is there whenever a quarter more has come, which takes more time
    than it does to read ten thousand reports. What nothing refers to is freed all the same.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
