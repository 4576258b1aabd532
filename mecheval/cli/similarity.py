"""``mecheval similarity``: how alike models are, two by two, on one task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mecheval.cli import options
from mecheval.cli.printing import say

if TYPE_CHECKING:
    import argparse
