"""References as they are declared, as BibTeX: authors, year, arXiv id or DOI, and nothing else.

A declaration names papers one after the other, with semicolons between them:
``Arora et al. 2025, arXiv:2505.15105; Cho et al. 2014, A Title, doi:10.3115/v1/D14-1179``. What it
does not say, such as a title, is not made up: styles print such an entry with what there is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from mecheval import escape
from mecheval.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

_PAPER = re.compile(r"(?P<authors>[^0-9]+?) (?P<year>[12][0-9]{3})(?: (?P<version>v[0-9]+))?")
_ARXIV = re.compile(
    r"arXiv:(?P<id>[0-9]{4}\.[0-9]{4,5}|[a-z-]+/[0-9]{7})(?: (?P<version>v[0-9]+))?"
)
_DOI = re.compile(r"doi:(?P<id>10\.[0-9]{4,9}/[-._;()/:A-Za-z0-9]*[A-Za-z0-9])")
_URL = re.compile(r"https?://[^\s{}\\%]+")
_NOTE = re.compile(r"\((?P<note>[^()]*)\)")
_NONE = ("", "none")

SOFTWARE = f"""\
@software{{mecheval,
  author = {{{{The mecheval authors}}}},
  title = {{mecheval: evaluate by which mechanism a sequence model solves a task}},
  version = {{{__version__}}}
}}"""
"""The entry of this package."""


class Entry(NamedTuple):
    """An entry of a bibliography.

    Attributes:
        key: What it is cited by.
        fields: Its fields, escaped.
    """

    key: str
    fields: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """Return the entry."""
        lines = [f"  {name} = {{{value}}}" for name, value in self.fields]
        return "@misc{" + ",\n".join([self.key, *lines]) + "\n}"


def entries(references: Iterable[str]) -> list[Entry]:
    """Return the entries of references, each once, in the order in which they are named.

    Args:
        references: What declarations hold; ``none`` and empty ones name nothing.
    """
    found: dict[str, Entry] = {}
    for reference in references:
        for text in _apart(reference):
            entry = _entry(text)
            same = found.setdefault(entry.key, entry)
            number = 2
            while _identity(same) != _identity(entry):  # another paper with the same key
                entry = entry._replace(key=f"{entry.key.partition('+')[0]}+{number}")
                same, number = found.setdefault(entry.key, entry), number + 1
    return list(found.values())


def _identity(entry: Entry) -> tuple[tuple[str, str], ...]:
    """Return what makes two entries of one key one: an id in the key, or else all fields."""
    has_id = any(name in ("eprint", "doi") for name, _ in entry.fields)
    return () if has_id else entry.fields


def _apart(reference: str) -> list[str]:
    """Split what a declaration names at semicolons that stand outside of brackets."""
    parts = re.split(r";\s+(?![^(]*\))", reference)
    return [part.strip() for part in parts if part.strip().lower() not in _NONE]


def _entry(text: str) -> Entry:
    arxiv, doi, url = _ARXIV.search(text), _DOI.search(text), _URL.search(text)
    note, paper = _NOTE.search(text), _PAPER.match(text)
    fields: list[tuple[str, str]] = []
    rest = text
    if paper:
        fields += [("author", _authors(paper["authors"])), ("year", paper["year"])]
        rest = text[paper.end() :]
    for found in (arxiv, doi, url, note):
        rest = rest.replace(found[0], "") if found else rest
    title = " ".join(rest.replace(" ,", ",").strip(" ,.").split())
    if not paper and (title or not url):  # all that is known is a text
        fields.append(("note", escape.latex(title or text)))
    elif paper and title:
        fields.append(("title", f"{{{escape.latex(title)}}}"))
    if arxiv:
        fields += [("eprint", arxiv["id"] + (arxiv["version"] or "")), ("archiveprefix", "arXiv")]
        fields.append(("url", f"https://arxiv.org/abs/{arxiv['id']}{arxiv['version'] or ''}"))
    elif doi:
        fields += [("doi", doi["id"]), ("url", f"https://doi.org/{doi['id']}")]
    elif url:
        fields.append(("url", url[0]))
    if note and paper:
        fields.append(("note", escape.latex(note["note"])))
    return Entry(_key(paper, arxiv or doi, text), tuple(fields))


def _authors(text: str) -> str:
    """Return ``A and B and C``, or ``A and others``."""
    names = re.split(r", | and ", text.removesuffix(" et al.").strip())
    others = ["others"] if text.endswith("et al.") else []
    return " and ".join([*map(escape.latex, filter(None, names)), *others])


def _key(paper: re.Match[str] | None, id: re.Match[str] | None, text: str) -> str:
    first = re.split(r"[\s,]", paper["authors"])[0] if paper else "-".join(text.split()[:3])
    plain = re.sub("[^a-z0-9]+", "-", first.lower()).strip("-") or "reference"
    year, of = paper["year"] if paper else "", re.sub(r"[^\w.]+", "-", id["id"]) if id else ""
    return "-".join(filter(None, [plain + year, of]))
