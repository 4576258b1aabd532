"""Build the site: ``python -m docs``, or ``python -m docs --pages`` for the Markdown alone."""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import TYPE_CHECKING

from docs.gathering import PAGES, ROOT, gather

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the site; return the exit code."""
    summary = (__doc__ or "").partition(":")[0] + "."
    parser = argparse.ArgumentParser(prog="python -m docs", description=summary)
    parser.add_argument("--pages", action="store_true", help="write the pages, and no HTML")
    options = parser.parse_args(arguments)
    gather(PAGES)
    if options.pages:
        return 0
    build = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(build, cwd=ROOT, check=False).returncode  # noqa: S603 - ours


if __name__ == "__main__":
    sys.exit(main())
