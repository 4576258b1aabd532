"""Reports of others: whatever a file holds, every command that reads it says so in a sentence."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import commands
import hostile
import pytest
from commands import fuzzed
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from synthetic_pairs import synthetic_pair
from synthetic_reports import retrieval, snapshots, synthetic, write

from mecheval.leaderboard.tables import SCHEMA
from mecheval.reports.canonical import digest_of
from mecheval.reports.files import cell_key, dumps, report_path, sealed
from mecheval.reports.levels import with_levels
from mecheval.reports.schema import Identity

if TYPE_CHECKING:
    from collections.abc import Sequence

GOOD = [
    json.loads(dumps(report))
    for report in (synthetic(), synthetic(task="dyck", learned=False), snapshots(retrieval()))
]
CELLS = [synthetic("gru"), synthetic("lstm"), synthetic("gru", seed=1)]
PAIRS = [
    json.loads(dumps(sealed(report)))
    for report in with_levels(
        [synthetic_pair(CELLS[0], CELLS[1]), synthetic_pair(CELLS[0], CELLS[2], 0.9)]
    )
]
STRUCTURE = ("table", "thead", "tbody", "tr", "th", "td", "h1", "h2", "p", "ul", "li", "em",
             "code")  # fmt: skip
"""Tags that a leaderboard's own Markdown becomes."""


@st.composite
def changed(draw: st.DrawFn, good: Sequence[dict[str, Any]] = GOOD) -> dict[str, Any]:
    """Return a report in which some places hold something else, or are gone, or are new."""
    content = json.loads(json.dumps(draw(st.sampled_from(good))))
    for _ in range(draw(st.integers(1, 3))):
        part: Any = content
        while True:
            keys = sorted(part) if isinstance(part, dict) else list(range(len(part)))
            key = draw(st.sampled_from(keys))
            inner = part[key]
            if not (isinstance(inner, dict | list) and inner) or draw(st.integers(0, 4)) == 0:
                break
            part = inner
        what = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
        if what == "replace":
            part[key] = draw(hostile.value)
        elif what == "add" and isinstance(part, dict):
            part[draw(hostile.text)] = inner
        else:
            del part[key]
        if not content:
            break
    return content


@st.composite
def dressed(draw: st.DrawFn) -> dict[str, Any]:
    """Return a report that counts, whose texts are as hostile as the schema lets them be."""
    content = json.loads(json.dumps(draw(st.sampled_from(GOOD))))
    content["digest"] = None
    content["identity"]["model"]["name"] = f"hf:{draw(hostile.seen) or 'x'}"
    content["identity"]["task"]["params"] = {draw(hostile.text): draw(hostile.text)}
    for metric in draw(st.lists(st.sampled_from(content["metrics"]), max_size=3)):
        for field in draw(st.sets(st.sampled_from(["title", "verdict", "unit"]), max_size=2)):
            metric[field] = draw(hostile.seen)
        metric["id"] += draw(hostile.seen)[:50]
        metric["warnings"] = [draw(hostile.text)]
        metric["scalars"] |= {draw(hostile.seen): 0.5}
        if draw(st.booleans()):
            metric |= {"value": None, "reason": draw(hostile.text) or "x", "n_scored": 0}
    content["plugin"] = {"task": draw(hostile.text)}
    with suppress(ValidationError, ValueError):
        content["key"] = cell_key(Identity.model_validate(content["identity"]))
    return content


def text_of(content: Any) -> bytes:
    return json.dumps(content).encode()


contents = (
    changed().map(text_of)
    | dressed().map(text_of)
    | dressed().map(text_of)
    | st.sampled_from(GOOD).map(json.dumps).flatmap(hostile.edited).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )
    | st.binary(max_size=40)
    | hostile.value.map(text_of)
)  # fmt: skip


def read_by_all(data: bytes, folder: Path) -> None:
    """Let every command read a report, alone and beside a good one."""
    path = place_of(data, folder / "results")
    good = folder / "results" / "gru" / "parity@1" / "seed1.json"
    for file in (path, good):
        file.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    good.write_text(dumps(synthetic(seed=1)))
    found = commands.run("validate", str(path))
    shown = commands.run("show", "report", str(path))
    assert commands.run("show", "report", str(path), "--json").code == shown.code
    assert shown.code == 0 or found.code == 1, "what cannot be shown is not valid"
    assert (
        commands.run("leaderboard", "build", str(folder / "results"), "-o", str(folder)).code == 0
    )
    check_tables(folder)
    other = folder / "other.json"
    other.write_text(dumps(synthetic("lstm")))
    compared = commands.run("compare", str(path), str(other))
    assert commands.run("compare", str(path), str(other), "--json").code == compared.code


def place_of(data: bytes, root: Path) -> Path:
    """Return where a report says that it belongs, if it can be read so far."""
    try:
        identity = Identity.model_validate(json.loads(data)["identity"])
        return report_path(root, identity)
    except (ValueError, TypeError, LookupError, RecursionError):
        return root / "gru" / "parity@1" / "seed0.json"


def check_markdown(markdown: str, allowed: Sequence[str]) -> None:
    """Check that nothing in Markdown is anything but text, in tags that are allowed."""
    from markdown_it import MarkdownIt

    assert not commands.acting(markdown)
    renderer = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = renderer.parse(markdown)
    inner = [child for token in tokens for child in token.children or ()]
    tags = {token.tag for token in [*tokens, *inner] if token.tag and token.type != "softbreak"}
    assert tags <= set(allowed), tags
    assert not [token for token in [*tokens, *inner] if token.type.startswith("html")]


def check_tables(folder: Path) -> None:
    """Check that nothing in the tables is anything but text."""
    markdown, table, content = (
        (folder / f"leaderboard.{suffix}").read_text() for suffix in ("md", "csv", "json")
    )
    assert not commands.acting(table + content)
    check_markdown(markdown, STRUCTURE)
    for row in csv.reader(io.StringIO(table)):
        assert not [cell for cell in row if cell[:1] in tuple("=+@\t\r")]
    assert json.loads(content)["schema"] == SCHEMA


@fuzzed(30)
@given(contents)
def test_any_report(data: bytes) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        read_by_all(data, folder)
    finally:
        shutil.rmtree(folder)


@st.composite
def dressed_pair(draw: st.DrawFn) -> dict[str, Any]:
    """Return the report of a pair that counts, with texts as hostile as the schema lets them be."""
    content = json.loads(json.dumps(draw(st.sampled_from(PAIRS))))
    for side in content["sides"]:
        side["title"] = side["model"]["name"] + draw(hostile.seen)
    content["task_title"] = content["task"]["name"] + draw(hostile.seen)
    content["captions"] = {"likeness": draw(hostile.text)}
    for level in content["levels"]:
        level |= {"no_null": draw(hostile.text), "no_skyline": draw(hostile.text)}
    for metric in content["metrics"]:
        for column in metric["headline"]:
            column["title"] = draw(hostile.seen) or "x"
    return content | {"digest": digest_of(content)}


@pytest.mark.filterwarnings("ignore:.*Glyph")
@fuzzed(12)
@given(
    changed(PAIRS).map(text_of)
    | dressed_pair().map(text_of)
    | st.sampled_from(PAIRS).map(json.dumps).flatmap(hostile.edited).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )
)  # fmt: skip
def test_any_report_of_a_pair(data: bytes) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / "results" / "pairs" / "mine.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        write(folder / "results", synthetic())
        found = commands.run("validate", str(path))
        shown = commands.run("show", "report", str(path))
        assert commands.run("show", "report", str(path), "--json").code == shown.code
        assert shown.code == 0 or found.code == 1, "what cannot be shown is not valid"
        commands.run("show", str(folder / "results"))
        built = commands.run("leaderboard", "build", str(folder / "results"), "-o", str(folder))
        assert built.code == 0
        similarity = folder / "similarity.md"
        if similarity.exists():
            check_markdown(similarity.read_text(), (*STRUCTURE, "img"))
    finally:
        shutil.rmtree(folder)


@pytest.mark.filterwarnings("ignore:.*Glyph")
@fuzzed(2)
@given(dressed())
def test_any_report_is_drawn(content: dict[str, Any]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / "seed0.json"
        path.write_bytes(text_of(content))
        done = commands.run("report", str(path), "-o", str(folder / "a.svg"))
        assert done.code in (0, 2)
    finally:
        shutil.rmtree(folder)
