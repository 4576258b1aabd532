"""Brackets of Python source, against Python's own tokenizer and a stack."""

from __future__ import annotations

import io
import tokenize
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from source_files import write_source

from mecheval.errors import UsageError
from mecheval.registry import Registry
from mecheval.seeding import stream
from mecheval.tasks import UNDEFINED, UNSCORED, Task
from mecheval.tasks.corpus import corpus
from mecheval.tasks.python_source import (
    CLOSING,
    INDEX,
    NAMES,
    OPENING,
    SYMBOLS,
    cut,
    matched,
    source_of,
)
from mecheval.tasks.splits import draw, draw_pairs

if TYPE_CHECKING:
    from pathlib import Path

PAIRED = dict(zip(OPENING, CLOSING, strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_source(tmp_path_factory.mktemp("source"))


def brackets(folder: str, **params: Any) -> Task:
    return Registry().load("task", "brackets")(
        folder=folder, min_length=32, max_length=32, **params
    )


def tokenized(text: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [token.string for token in tokens if token.type == tokenize.OP]


def test_brackets_are_those_of_pythons_own_tokenizer() -> None:
    found = corpus("", ".py", 600)
    assert len(found.texts) > 10
    for name, text in zip(found.names, found.texts, strict=True):
        ours = [SYMBOLS[symbol] for symbol in cut(text)]
        expected = [token for token in tokenized(text) if token in OPENING + CLOSING]
        assert [symbol for symbol in ours if symbol in OPENING + CLOSING] == expected, name


def test_what_is_no_bracket_becomes_a_class() -> None:
    text = (
        "def f(x):  # (\n    return x != 'a(' + r'''[\n''' % 0x1F  \\\n  ** 2\n\n\ny = [\n1,\n]\n"
    )
    names = [SYMBOLS[symbol] for symbol in cut(text)]
    kept = " ".join("name" if name in set(NAMES) else name for name in names)
    assert kept == ('def name ( name ) : \n return name == "" + "" % 1 * 1 \n name = [ 1 , ] \n')


@pytest.mark.parametrize("end", ["# (", "\\\n", "  ", "x"])
def test_what_says_nothing_is_passed_over_also_at_the_end_of_a_text(end: str) -> None:
    symbols = [SYMBOLS[symbol] for symbol in cut(f"(\v1 # [\n)\\\n\u00a0+{end}")]
    assert symbols[:4] == ["(", "1", ")", "+"]
    assert len(symbols) == 4 + (end == "x")


def test_answers_are_those_of_a_stack(folder: str) -> None:
    task = brackets(folder, reach=3)
    batch = task.sample(stream(0, "stack"), 200, 32)
    n_scored = 0
    for row in range(len(batch)):
        stack: list[tuple[str, int]] = []
        for position, token in enumerate(batch.tokens_BT[row]):
            symbol = SYMBOLS[token]
            if symbol in OPENING:
                stack.append((symbol, position))
            elif symbol in CLOSING:
                assert PAIRED[stack.pop()[0]] == symbol
            depth, top = (batch.variables[name][row, position] for name in ("depth", "top"))
            target = batch.targets_BT[row, position]
            if position == 0:
                assert (depth, top, target) == (UNDEFINED, UNDEFINED, UNSCORED)
                continue
            assert depth == len(stack)
            assert top == (1 + OPENING.index(stack[-1][0]) if stack else 0)
            asked = bool(stack) and position - stack[-1][1] >= 3
            assert target == (INDEX[PAIRED[stack[-1][0]]] if asked else UNSCORED)
            n_scored += asked
        assert batch.roles["readout"][row] == 32
    assert n_scored > 1000


def test_the_counterfactual_changes_the_innermost_bracket_alone(folder: str) -> None:
    pairs = draw_pairs(brackets(folder), stream(0, "pairs"), 100, length=32)
    differs_PT = pairs.clean.tokens_BT != pairs.corrupted.tokens_BT
    assert (differs_PT.sum(1) == 1).all()
    assert (pairs.readout_P - differs_PT.argmax(1) >= 8).all()
    assert (pairs.clean.variables["depth"] == pairs.corrupted.variables["depth"]).all()
    changed = np.array(SYMBOLS)[pairs.clean.tokens_BT[differs_PT]]
    assert set(changed) == set(OPENING)


def test_whole_files_belong_to_a_split(folder: str) -> None:
    source = source_of(folder, 8000)
    files = {}
    for split, buckets in (("train", range(3, 16)), ("validation", [2]), ("test", [0, 1])):
        start_N = np.concatenate(source.passages(32, 6, 8, buckets))
        files[split] = set(source.file_X[start_N].tolist())
    assert all(files.values())
    assert not files["train"] & files["test"]
    assert not files["train"] & files["validation"]
    assert not files["validation"] & files["test"]
    task = brackets(folder)
    train, test = (
        draw(task, stream(0, split), 400, length=32, split=split) for split in ("train", "test")
    )
    rows = [set(map(bytes, batch.tokens_BT)) for batch in (train, test)]
    assert not rows[0] & rows[1]


def test_what_is_open_in_a_passage_is_what_is_open_there_in_its_file(folder: str) -> None:
    source = source_of(folder, 8000)
    start_N = np.concatenate(source.passages(32, 6, 8, range(16)))
    read = source.read(start_N, 32)
    again = matched(read.symbol, 6)
    open_NS = read.depth > 0
    assert open_NS.any()
    assert (read.depth == again.depth).all()
    assert (read.kind == again.kind).all()
    assert (read.age[open_NS] == again.age[open_NS]).all()


def test_another_text_is_another_identity(tmp_path: Path) -> None:
    first = brackets(write_source(tmp_path)).data_sha256
    assert brackets(str(tmp_path)).data_sha256 == first
    (tmp_path / "more.py").write_text("x = (1)\n")
    corpus.cache_clear()
    assert brackets(str(tmp_path)).data_sha256 != first


def test_text_that_will_not_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file '\*\.py' that can be read"):
        brackets(str(tmp_path)).sample(stream(0), 4, 32)
    (tmp_path / "odd.py").write_text("x = (1\n")
    corpus.cache_clear()
    with pytest.raises(UsageError, match="No file of the text has brackets that match"):
        brackets(str(tmp_path)).sample(stream(0), 4, 32)
    (tmp_path / "short.py").write_text("x = (1)\n")
    corpus.cache_clear()
    source_of.cache_clear()
    with pytest.raises(UsageError, match="too few passages of 32 symbols"):
        brackets(str(tmp_path)).sample(stream(0), 4, 32)
    with pytest.raises(UsageError, match="reach=0"):
        brackets("", reach=0)
