"""What is shown of text from outside: the same words, and nothing that acts."""

from __future__ import annotations

import csv
import html
import io
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mecheval import escape

HOSTILE = [
    "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "![x](http://a/b)", "a|b", "\\|",
    "`<b>`", "**b** _i_ ~~s~~", "$\\frac{$", "&lt;b&gt; &#60;", "<!--", "\\", "\\\\|", "](", "|",
    "=HYPERLINK(1)", "@SUM(1)", "-1+1", "+1", "  =1", "\t=1", "\uff1d1", "\x1b[31m", "a\x00b",
    "\u202eabc", "\u2066x\u2069", "\ud800", "\u2028", "\r\n", "\x9b31m", "\ufeff", "[a]: http://b",
]  # fmt: skip
texts = (
    st.text(max_size=30)
    | st.text("<>[]()`*_~$\\|&;#!=+-@ab1 \n", max_size=20)
    | st.sampled_from(HOSTILE)
)
thorough = settings(max_examples=200, deadline=None, derandomize=True)


def acts(text: str) -> list[str]:
    """Return what a terminal or an editor would obey instead of showing it."""
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return [c for c in text if unicodedata.category(c) in kinds and c not in "\n\t"]


@thorough
@given(st.text(st.characters(), max_size=40) | texts)
def test_nothing_acts_on_a_terminal(text: str) -> None:
    shown_in = (escape.terminal, escape.sentence, escape.quoted, escape.shortened)
    for shown in (show(text) for show in shown_in):
        assert not acts(shown)
        shown.encode()  # no half of a pair is left, which no stream could write
    assert "\n" not in escape.line(text) + escape.sentence(text) + escape.quoted(text)
    assert len(escape.shortened(text * 99)) <= escape.MOST_NAMED


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gr\u00fcn \u4e2d 1", "gr\u00fcn \u4e2d 1"),
        ("a\x1b[31m", "a\\x1b[31m"),
        ("\u202ecod", "\\u202ecod"),
        ("a\x00", "a\\x00"),
        ("\udcff", "\\udcff"),
        ("two\n\tlines", "two\n\tlines"),
    ],
)
def test_what_acts_is_seen(text: str, shown: str) -> None:
    assert escape.terminal(text) == shown


@thorough
@given(st.text(max_size=3000))
def test_a_sentence_is_short_and_said_twice_it_is_the_same(text: str) -> None:
    said = escape.sentence(text)
    assert len(said) <= escape.MOST_SAID
    assert escape.sentence(said) == said


def test_quoted_input_is_cut_in_its_middle() -> None:
    assert escape.quoted("gru") == "'gru'"
    cut = escape.quoted("a" * 5000 + "/end.json")
    assert len(cut) == escape.MOST_QUOTED + 2
    assert cut.startswith("'aaa")
    assert cut.endswith("/end.json'")
    assert "..." in cut
    assert escape.quoted([1, "\x1b"]) == "[1, '\\x1b']"
    assert len(escape.quoted(list(range(5000)))) == escape.MOST_QUOTED


def test_a_value_that_cannot_be_written_is_named_by_its_type() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert escape.quoted(Shy()) == "a Shy"


class _Reader(HTMLParser):
    """Collects tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_comment(self, data: str) -> None:
        self.tags.append("comment")

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader


@thorough
@given(texts)
def test_markdown_shows_the_text_and_nothing_else(text: str) -> None:
    """Held against a renderer of CommonMark with tables and strikethrough."""
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    page = renderer.render(f"| a | b |\n| --- | --- |\n| x {escape.markdown(text)} x | y |\n")
    found = read(page)
    assert sorted(set(found.tags)) == ["table", "tbody", "td", "th", "thead", "tr"]
    assert len([tag for tag in found.tags if tag == "td"]) == 2
    cell = read(page.partition("<td>")[2].partition("</td>")[0]).text
    assert cell == f"x {escape.line(text)} x"


@thorough
@given(texts.filter(str.strip))
def test_code_shows_the_text_and_nothing_else(text: str) -> None:
    from markdown_it import MarkdownIt

    found = read(MarkdownIt("commonmark").render(f"- {escape.code(text)}: x"))
    assert sorted(found.tags) == ["code", "li", "ul"]
    assert found.text.replace(" ", "").strip() == f"{escape.line(text)}: x".replace(" ", "")


@thorough
@given(texts.filter(str.strip))
@example("a[b")
@example("](x) <b>")
@example("\\[")
def test_an_image_is_one_picture_with_its_title(text: str) -> None:
    from markdown_it import MarkdownIt

    (paragraph,) = [
        token for token in MarkdownIt("commonmark").parse(f"{escape.image(text, 'a b.png')}\n")
        if token.type == "inline"
    ]  # fmt: skip
    (found,) = paragraph.children or ()
    assert (found.type, found.attrs["src"]) == ("image", "a%20b.png")
    assert found.content.replace(" ", "") or not escape.line(text).strip()
    assert {child.type for child in found.children or ()} <= {"text", "text_special"}


def test_markdown_leaves_common_names_as_they_are() -> None:
    for name in ("lstm[layers=2]", "token_accuracy/1x", "pythia-160m@step1000", "L0 -> L1H0",
                 "bottleneck[eraser=class_mean]/parity", "0.5 [0.4, 0.6]"):  # fmt: skip
        assert escape.markdown(name) == name
    assert escape.markdown(escape.Markdown("*floor*")) == "*floor*"


@thorough
@given(texts)
def test_a_spreadsheet_computes_nothing(text: str) -> None:
    file = io.StringIO()
    csv.writer(file).writerow([escape.csv(text), "b"])
    (row,) = csv.reader(io.StringIO(file.getvalue()))
    assert len(row) == 2
    assert not row[0].strip()[:1] or row[0].strip()[0] not in "=+-@\uff1d\uff0b\uff0d\uff20"
    assert not acts(row[0])


def test_numbers_stay_numbers_in_a_spreadsheet() -> None:
    assert escape.csv(-1.5) == -1.5
    assert escape.csv(None) is None
    assert escape.csv("a-b=c") == "a-b=c"
    assert escape.csv("=1") == "'=1"


@thorough
@given(texts)
def test_html_shows_the_text_and_nothing_else(text: str) -> None:
    found = read(f'<p title="{escape.html(text)}">{escape.html(text)}</p>')
    assert found.tags == ["p"]
    assert found.text == escape.terminal(text)
    assert html.unescape(escape.html(text)) == escape.terminal(text)
