"""What the page brings along: libraries of others as they are, and its own style and script."""

from __future__ import annotations

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent / "assets"
PICTURES = ("vega-6.4.0.min.js", "vega-lite-6.4.3.min.js", "vega-embed-7.3.0.min.js")
"""Libraries that draw, in the order in which they need each other."""

TABLE, TABLE_STYLE = "tabulator-6.5.3.min.js", "tabulator-6.5.3.min.css"
STYLE, SCRIPT = "page.css", "page.js"
LICENCES = "LICENSES.txt"
_MAP = "//# sourceMappingURL="


def read(name: str) -> str:
    """Return a file, without the line that asks a debugger to fetch another one."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith(_MAP))


def vendored() -> dict[str, str]:
    """Return the hashes that the libraries had when they came from npm, by file."""
    lines = (FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def sha256(name: str) -> str:
    """Return the hash that a file has now."""
    return hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()
