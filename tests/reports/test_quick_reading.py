"""What is quicker says the same: the digest from a file, and that there is nothing to look for."""

from __future__ import annotations

import json

import pytest
from synthetic_reports import synthetic

from mecheval.reports.canonical import digest_of, digest_of_normalised
from mecheval.reports.files import dumps, sealed
from mecheval.reports.json_files import DEEPEST, _is_plain, content_of


def test_a_digest_is_that_of_what_the_file_holds() -> None:
    text = dumps(sealed(synthetic()))
    content = json.loads(text)
    quickly = content_of(text.encode(), normalise=True)
    assert digest_of_normalised(quickly) == digest_of(content) == content["digest"]
    for number in ("1.0", "-0.0", "1e3", "1.5e-7", "123456789012345678.0"):
        text = f'{{"a": [{number}], "created": 1.5}}'
        quickly = content_of(text.encode(), normalise=True)
        assert digest_of_normalised(quickly) == digest_of(json.loads(text))


def test_a_report_is_plain() -> None:
    assert _is_plain(dumps(sealed(synthetic())).encode())


@pytest.mark.parametrize(
    "text",
    ["[1e999]", "[-1e400]", f"[{2**64 + 1}]", "1e999", '["\\ud800"]', '["\u00e9"]',
     (DEEPEST + 6) * "[" + (DEEPEST + 6) * "]"],
)  # fmt: skip
def test_what_may_be_refused_is_looked_at(text: str) -> None:
    assert not _is_plain(text.encode())


@pytest.mark.parametrize("text", ['b"', "\\", '\\"', '\\\\"', '"\\"\\\\', "\n"])
def test_brackets_in_texts_are_no_depth(text: str) -> None:
    text = json.dumps({"a": 100 * "[{", text + 100 * "[": [1, 2.5], "b": text})
    assert _is_plain(text.encode())
    assert content_of(text.encode()) == json.loads(text)
