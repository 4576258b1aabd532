"""Text from outside, made fit for the place where it is shown: one function per kind of output.

Names, titles and reasons come from reports, files and command lines of others. What a terminal
would obey, a browser run, a spreadsheet compute or a typesetter expand is written so that it is
seen instead. Everything printed or written for a person goes through here.
"""

from __future__ import annotations

import html as _html
import re
from typing import Any
from urllib.parse import quote

MOST_QUOTED = 80
"""Most characters of input that a message repeats."""
MOST_NAMED = 300
"""Most characters of a name that a sentence or a line holds."""
MOST_SAID = 1000
"""Most characters of a message."""
MOST_OF_OTHERS = 300
"""Most characters of what an error of others says."""

LONGEST_WORD = 255
"""Most characters of a word of a message that is shown whole."""

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but for tab and line feed
    "\u00ad\u061c\u180e\u200b-\u200f\u2060-\u206f\ufeff\ufff9-\ufffb"  # no width, or a direction
    "\u2028-\u202e"  # line and paragraph separators, and overrides of direction
    "\ud800-\udfff"  # halves of a pair, which no encoding can write
    "\U000e0000-\U000e0fff]"  # tags
)
_MARKUP = re.compile(
    r"\\(?=[!-/:-@\[-`{-~])"  # a backslash that would escape what follows
    r"|[|`*$]"
    r"|(?<=\])\("  # [text](target)
    r"|(?<![^\W_])_|_(?![^\W_])"  # at the edge of a word; within one it marks nothing
    r"|~(?=~)"
)
_STACK = re.compile(r"Exception raised from |(Original )?Traceback \(most recent|\bframe #\d+: ")
"""Where a stack begins in the message of an error, as those of torch have one."""
_ENTITY = re.compile(r"&(?=#?\w+;)")
_FORMULA = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


class Markdown(str):
    """Text that is Markdown already, so that :func:`markdown` leaves it as it is."""

    __slots__ = ()


def terminal(text: str) -> str:
    r"""Show control characters, overrides of direction and the like as ``\x1b`` or ``\u202e``.

    Tabs and line feeds stay, for text that has several lines.
    """
    return _UNSEEN.sub(_shown, text)


def line(text: str) -> str:
    """Do as :func:`terminal`, and show tabs and line feeds as well: the text stays on its line."""
    return terminal(text).replace("\n", "\\n").replace("\t", "\\t")


def sentence(text: str) -> str:
    """Return a message on one line, cut in its middle where it is long; twice is as once.

    So are words that are longer than any name of a file.
    """
    words = [
        word if len(word) <= LONGEST_WORD else _cut(word, MOST_QUOTED) for word in text.split()
    ]
    return _cut(terminal(" ".join(words)), MOST_SAID)


def shortened(text: str, *, most: int = MOST_NAMED) -> str:
    """Return a name as a line repeats it: as :func:`line`, cut in its middle where it is long."""
    return _cut(line(text), most)


def cause(text: str, *, most: int = MOST_SAID) -> str:
    """Return what an error says on one line, cut, and without a stack that it brings along."""
    return _cut(terminal(" ".join(_STACK.split(text, maxsplit=1)[0].split())), most)


def quoted(value: Any, *, most: int = MOST_QUOTED) -> str:
    """Return input as a message repeats it: in quotes, on one line, cut in its middle.

    Args:
        value: A string, or any other value, which is then written as Python writes it, unquoted.
        most: Most characters between the quotes.
    """
    if isinstance(value, str):
        return f"'{_cut(line(value), most)}'"
    try:
        text = repr(value)
    except Exception:  # a value that cannot even be written is still no reason to fail here
        text = f"a {type(value).__name__}"
    return _cut(line(text), most)


def markdown(text: str) -> Markdown:
    """Escape what would become markup, a link, an image, mathematics or HTML in a line or cell."""
    if isinstance(text, Markdown):
        return text
    plain = _ENTITY.sub("&amp;", line(text)).replace("<", "&lt;")
    return Markdown(_MARKUP.sub(lambda found: "\\" + found[0], plain))


def image(title: str, file: str) -> Markdown:
    """Return Markdown that shows a picture; nothing in its title begins or ends a link."""
    # markdown() looks at what follows a backslash: behind the last one comes the bracket from here.
    plain = markdown(f"{title}]").removesuffix("]")
    plain = re.sub(r"[\[\]]", r"\\\g<0>", plain)
    return Markdown(f"![{plain}]({quote(file)})")


def code(text: str) -> Markdown:
    """Return Markdown that shows a line of text as code; not for cells of tables."""
    shown = line(text)
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest else ""
    return Markdown(f"{fence}{space}{shown}{space}{fence}")


def csv(value: Any) -> Any:
    """Return a cell that a spreadsheet does not compute; numbers stay numbers.

    A text that begins as a formula gets an apostrophe, as OWASP advises against CSV injection.
    """
    if not isinstance(value, str):
        return value
    shown = line(value)
    starts = _FORMULA.match(value.lstrip(" ") or " ")
    return f"'{shown}" if starts else shown


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "`": r"\`{}",
}  # fmt: skip


class Latex(str):
    """Text that is LaTeX already, so that :func:`latex` leaves it as it is."""

    __slots__ = ()


def latex(text: str) -> Latex:
    """Return a line of text as LaTeX that typesets it, with nothing in it that is obeyed."""
    if isinstance(text, Latex):
        return text
    return Latex("".join(_LATEX.get(each, each) for each in line(text)))


def html(text: str) -> str:
    """Escape for HTML, in text and in quoted attributes."""
    return _html.escape(terminal(text), quote=True)


def _shown(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    tail = (most - 3) // 3
    return f"{text[: most - 3 - tail]}...{text[len(text) - tail :]}"
