"""Values that nobody means well with, and texts near to good ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from mecheval.text.naming import SEEN

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

TEXTS = [
    "", " ", "\x1b[31mred", "\x00", "\x9b31m", "\u202eevil", "\u2066x", "\u2028", "\ufeff", "\r\n",
    "a\nb", "\ud800", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "=HYPERLINK(1)",
    "@SUM(1)", "-1+1", "|", "`", "$\\frac{$", "$$", "\\", "%s", "{0}", "{x}", "../../etc/passwd",
    "/", ".", "..", "~", "~nobody_of_this_name", "a" * 300, "a" * 5000, "hf:", "hf:/", "hf:.",
    "hf:'", "'", '"', "[", "]", "[[[[", "@", "a@", "@a", "a[b", "a]b", ",", "=", "a=b", "local/x",
    "planted/", "nan", "inf", "-inf", "1e999", "true", "None", "null", "0", "-1", "1.5", "9" * 40,
    "9" * 5000, "\u0661", "\uff11", "gru", "parity", "--help", "-", "--", "\t", "caf\u00e9",
]  # fmt: skip

text: SearchStrategy[str] = (
    st.sampled_from(TEXTS) | st.text(max_size=20) | st.text(st.characters(), max_size=8)
)
argument = text.filter(lambda word: "\x00" not in word)
"""What a shell can give: anything but NUL."""

seen = text.filter(lambda word: re.fullmatch(SEEN, word) is not None and len(word) <= 300)
"""What reports take: one line of visible text, however it is meant."""

number: SearchStrategy[Any] = st.sampled_from(
    [0, -1, 1, 2, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 10**400, 0.5, -0.0, 1e-320, 1e101, 1e308,
     float("nan"), float("inf"), True, None]
)  # fmt: skip
leaf = text | number
value: SearchStrategy[Any] = st.recursive(
    leaf,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def edited(draw: st.DrawFn, good: str) -> str:
    """Return a good text after some slips: parts cut out, doubled, or replaced."""
    found = good
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(found)))
        end = min(len(found), start + draw(st.integers(0, 12)))
        put = draw(st.sampled_from(["", found[start:end] * 2]) | argument)
        found = found[:start] + put + found[end:]
    return found


@st.composite
def mostly(draw: st.DrawFn, good: list[str]) -> str:
    """Return one of the good texts, or now and then one with slips, or anything."""
    which = draw(st.integers(0, 9))
    if which < 6:
        return draw(st.sampled_from(good))
    return draw(edited(draw(st.sampled_from(good))) if which < 8 else argument)
