"""References as BibTeX: what is declared, escaped, and nothing else."""

from __future__ import annotations

import json
import re

import pytest

from mecheval.cli import main
from mecheval.text.bibtex import entries


def fields(reference: str) -> dict[str, str]:
    (entry,) = entries([reference])
    return dict(entry.fields)


def test_authors_year_and_arxiv() -> None:
    assert fields("Chung, Choi and Kim 2026, arXiv:2605.07755") == {
        "author": "Chung and Choi and Kim", "year": "2026", "eprint": "2605.07755",
        "archiveprefix": "arXiv", "url": "https://arxiv.org/abs/2605.07755",
    }  # fmt: skip
    assert fields("Arora et al. 2025, arXiv:2505.15105")["author"] == "Arora and others"


def test_doi_title_version_and_note() -> None:
    found = fields("Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735")
    assert found["doi"] == "10.1162/neco.1997.9.8.1735"
    assert found["url"] == "https://doi.org/10.1162/neco.1997.9.8.1735"
    assert fields("Dao and Gu 2024, Transformers are SSMs, arXiv:2405.21060")["title"] == (
        "{Transformers are SSMs}"
    )
    found = fields("Jiang 2026, arXiv:2606.00926 v2 (brackets of real Python)")
    assert (found["eprint"], found["note"]) == ("2606.00926v2", "brackets of real Python")
    assert "title" not in found


def test_text_alone_is_a_note_and_is_escaped() -> None:
    assert fields(r"50% of {a_b} \input{x}") == {
        "note": r"50\% of \{a\_b\} \textbackslash{}input\{x\}"
    }
    assert fields("https://huggingface.co/a/b_c") == {"url": "https://huggingface.co/a/b_c"}
    assert entries(["none", "", "None"]) == []


def test_a_paper_stands_once_and_two_of_one_name_stand_twice() -> None:
    twice = ["A 2026, arXiv:2606.00926; B et al. 2020, One", "A 2026, arXiv:2606.00926 v2 (x)"]
    assert [entry.key for entry in entries([*twice, "B et al. 2020, Other"])] == [
        "a2026-2606.00926", "b2020", "b2020+2"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["task", "ar"], ["2505.15105", "2312.04927"]),
        (["lstm"], ["10.1162/neco.1997.9.8.1735"]),
        (["metric", "horizon"], ["2605.07755"]),
        (["suite", "demo@1"], ["2505.15105", "2405.21060", "2406.06484"]),
        (["gpt2"], ["Language Models are Unsupervised Multitask Learners"]),
    ],
)
def test_the_command(words: list[str], ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", *words, "--bibtex"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("@software{mecheval,")
    assert all(id in out for id in ids)
    keys = re.findall(r"^@\w+\{(.*),$", out, re.MULTILINE)
    assert len(keys) == len(set(keys))
    assert out.count("{") == out.count("}")


def test_json_and_what_has_no_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "metric", "behaviour", "--bibtex"]) == 0
    assert "'behaviour' declares no paper." in capsys.readouterr().err
    assert main(["show", "task", "ar", "--bibtex", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["references"][0].startswith("Arora et al. 2025")
    assert main(["show", "report", "x.json", "--bibtex"]) == 2
    assert "A report has no reference." in capsys.readouterr().err
