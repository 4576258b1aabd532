"""Which files are pages of the site, and where their links lead once they are.

A page is written once, where its readers look for it: those of a folder in its README, those of the
site in ``docs/``. Here they come together: links between files that are pages become links between
pages, and those to other files of the repository become the names of these files.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
from pathlib import Path

from docs import notebooks, registry

ROOT = Path(__file__).parents[1]
PAGES = ROOT / ".site" / "pages"

ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "leaderboards/README.md": "studies/results.md",
    "model_registry/FAMILIES.md": "models/families.md",
    "model_registry/README.md": "models/index.md",
    "model_registry/planted/README.md": "models/planted.md",
    "task_registry/README.md": "tasks/index.md",
}
"""Pages whose files do not stand in ``docs/``: path in the repository to path of the page."""

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def sources() -> dict[str, str]:
    """Return the path of every page that is a file, by the file's path in the repository."""
    own = {
        path.relative_to(ROOT).as_posix(): path.relative_to(ROOT / "docs").as_posix()
        for path in sorted((ROOT / "docs").rglob("*.md"))
    }
    tables = {
        path.relative_to(ROOT).as_posix(): f"studies/{path.name}"
        for pattern in ("claims-*.md", "similarity-*.md")
        for path in sorted((ROOT / "leaderboards" / "tables").glob(pattern))
    }
    pictures = {
        path.relative_to(ROOT).as_posix(): f"studies/{path.name}"
        for path in sorted((ROOT / "leaderboards").glob("*.png"))
    }
    return own | ELSEWHERE | tables | pictures


def gather(folder: Path) -> None:
    """Write all pages.

    Args:
        folder: Where to; what was there is gone.
    """
    shutil.rmtree(folder, ignore_errors=True)
    made = registry.pages() | notebooks.pages(ROOT / "docs" / "notebooks")
    pages = sources()
    for source, page in pages.items():
        target = folder / page
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(".md"):
            text = (ROOT / source).read_text(encoding="utf-8")
            target.write_text(relinked(text, source, pages, made), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / source, target)
    for page, text in made.items():
        target = folder / page
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def relinked(text: str, source: str, pages: dict[str, str], made: dict[str, str]) -> str:
    """Turn links between files of the repository into links between pages.

    Args:
        text: Of a page, in Markdown.
        source: Path of its file in the repository.
        pages: Paths of pages by those of files.
        made: Pages that are no file, by their path; a link from ``docs/`` may lead there.

    Raises:
        ValueError: A link leads to nothing.
    """
    here = posixpath.dirname(pages[source])

    def link(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        path, _, anchor = target.partition("#")
        if not path or ":" in path:
            return found[0]
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        page = pages.get(wanted)
        if page is None and wanted.startswith("docs/") and wanted.removeprefix("docs/") in made:
            page = wanted.removeprefix("docs/")
        if page is not None:
            to = os.path.relpath(page, here or ".").replace(os.sep, "/")
            return f"{picture}[{words}]({to}{'#' + anchor if anchor else ''})"
        if not (ROOT / wanted).exists():
            raise ValueError(f"{source} links to {target}, which there is not.")
        return words if words.strip("`") in wanted else f"{words} (`{wanted}`)"

    return LINK.sub(link, text)
