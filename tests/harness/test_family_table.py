"""The table of families: what it says of one, and what is outdated in it."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from mecheval.harness.families import Family, Measured, survey
from mecheval.harness.family_table import listed, made_with, outdated, page, row
from mecheval.models.families.building import names

TABLE = Path(__file__).parents[2] / "model_registry" / "FAMILIES.md"
SITES = {"block_in": [0, 1], "mixer_in": [0, 1], "q": [1], "mlp_out": [0], "block_out": [0, 1]}


def family(name: str = "llama", **changes: object) -> Family:
    fields: dict = {
        "engine": "tails", "difference": 2.4e-7, "memory": {"write": "tails", "cache": "tails"},
        "memory_difference": 3.1e-7, "keeps": False, "cut": 1e-8,
    }  # fmt: skip
    single = Measured(**{**fields, **changes})
    double = Measured(**{**fields, "difference": 1e-16, "memory_difference": None, **changes})
    measured = {"float32": single, "float64": double}
    return Family(name, "LlamaForCausalLM", 2, "sdpa", SITES, measured)


def test_a_row() -> None:
    assert row(family()) == [
        "llama", "LlamaForCausalLM", "tails", "mixer_in, q (1), mlp_out (0)", "write, cache",
        "3e-07", "1e-16", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reason": "tails: it is | odd."}, r"tails: it is \| odd"),
        ({"engine": None, "reason": "No blocks were found."}, "No blocks were found"),
        ({"keeps": True}, "a longer text that was read before changes the logits"),
        ({"cut": 0.0123}, "logits depend on the length of the input, by 1e-02"),
        ({"raised": {"a cut input": "ValueError: x"}}, "a cut input raises ValueError: x"),
    ],
)
def test_remarks(changes: dict, said: str) -> None:
    assert row(family(**changes))[-1] == said


def test_other_types_and_attention_are_remarked() -> None:
    found = family()
    found.measured["float64"].engine, found.measured["float64"].reason = None, "It does not run."
    assert row(found)[-1] == "in float64 none: It does not run"
    assert row(Family("x", "X", attention="eager", measured=family().measured))[-1] == (
        "attention: eager"
    )


def test_memory_token_by_token() -> None:
    stepped = {"state": "steps", "cache": "steps"}
    assert row(family(memory=stepped))[4] == "state, cache by steps"
    assert row(family(memory={}))[4] == ""


def test_hooks_are_not_held_against_themselves() -> None:
    changes = {"engine": "hooks", "difference": 0.0, "memory_difference": None}
    assert row(family(**changes))[5:7] == ["", ""]


def test_a_table_as_it_was_made_is_not_outdated() -> None:
    found = [family(), family("gpt-sw3"), family("llama[rope=dynamic]", reason="a; b | c")]
    text = page(found)
    assert listed(text) == ["gpt-sw3", "llama", "llama[rope=dynamic]"]
    assert made_with(text) == version("transformers")
    assert "Of 3 rows: 3 tails." in text
    assert not list(outdated(text, found, whole=True))


def test_rows_of_other_families_stay() -> None:
    old = page([family("phi"), family("llama", engine="blocks")])
    new = page([family("bert"), family("llama")], held=old)
    assert listed(new) == ["bert", "llama", "phi"]
    assert "Of 3 rows: 3 tails." in new
    older = old.replace(version("transformers"), "1.2.3")
    assert listed(page([family("bert")], held=older)) == ["bert"]


def test_rounding_is_not_outdated() -> None:
    text = page([family(cut=0.011)])
    assert not list(outdated(text, [family(cut=0.013, difference=7e-7)], whole=True))


def test_what_is_outdated_is_named() -> None:
    text = page([family(), family("bert")])
    assert list(outdated(text, [family(engine="blocks")], whole=True)) == [
        "llama: engine is 'blocks' now, and not 'tails'",
        "bert is no family any more",
    ]
    assert not list(outdated(text, [family()], whole=False))
    assert list(outdated(text, [family("phi")], whole=False)) == ["phi is not in it"]
    older = text.replace(version("transformers"), "1.2.3")
    now = version("transformers")
    assert list(outdated(older, [family()], whole=False)) == [
        f"it was made with transformers 1.2.3, and {now} is installed"
    ]


def test_the_table_has_every_family_of_its_version() -> None:
    text = TABLE.read_text(encoding="utf-8")
    if made_with(text) != version("transformers"):
        pytest.skip("the table was made with another version of transformers")
    assert listed(text) == list(names())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_table_is_not_outdated() -> None:
    text = TABLE.read_text(encoding="utf-8")
    if made_with(text) != version("transformers"):
        pytest.skip("the table was made with another version of transformers")
    assert not list(outdated(text, list(survey()), whole=True))
