"""Which of the processes of one ``accelerate launch`` this is; they train every model together."""

from __future__ import annotations

import os


def count() -> int:
    """Return how many processes train together, 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Return whether this process holds locks, writes files, measures and prints."""
    return count() == 1 or int(os.environ.get("RANK", "0")) == 0
