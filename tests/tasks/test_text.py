"""Windows of a text: split by document, in order, each token once; and what tables know of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hf_tokenizers import byte_tokenizer, word_tokenizer
from source_files import write_source

from mecheval.errors import UsageError
from mecheval.models.hub.tokens import encode
from mecheval.registry import Registry
from mecheval.seeding import stream
from mecheval.tasks import UNSCORED, Pairs
from mecheval.tasks.tokenized import FIRST, split_documents

Text = Registry().load("task", "text")
SMALL = {"min_length": 16, "max_length": 16, "vocabulary": 300}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory):
    return Text(folder=write_source(tmp_path_factory.mktemp("source")), **SMALL)


def read(task, tokens: np.ndarray) -> str:
    """Return tokens as text, written by an alphabet that is made here anew."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in visible]
    written = {chr(byte): byte for byte in visible}
    written |= {chr(256 + i): byte for i, byte in enumerate(rest)}
    characters = "".join(task.symbols[token] for token in tokens)
    return bytes(written[character] for character in characters).decode()


def test_documents_come_back_whole_and_in_one_split(task) -> None:
    files = {path.read_text() for path in Path(task.folder).iterdir()}
    found: list[str] = []
    for split in ("train", "validation", "test"):
        token_X = task.text.streams[split].token_X
        ends = np.flatnonzero(token_X == FIRST - 1)
        documents = [part[part >= FIRST] for part in np.split(token_X, ends)]
        found += [read(task, part) for part in documents if len(part)]
        n_documents = task.text.streams[split].document_X[-1] + 1
        assert n_documents == len(ends) == sum(len(part) > 0 for part in documents)
    assert sorted(found) == sorted(files)


def test_every_token_of_held_out_text_is_asked_for_once(task) -> None:
    token_X = task.text.streams["test"].token_X
    start_W = task.text.starts("test", 16)
    batch = task.text.windows("test", start_W, 16)
    asked_WT = batch.targets_BT != UNSCORED
    assert not asked_WT[:, 0].any(), "BOS does not say what comes first"
    whole = token_X[1 : 1 + 16 * len(start_W)]
    assert batch.targets_BT[asked_WT].tolist() == whole[whole >= FIRST].tolist()
    assert (batch.tokens_BT[:, 0] == 0).all()
    assert batch.tokens_BT[:, 1:].ravel().tolist() == token_X[: 16 * len(start_W)].tolist()
    bytes_asked = task.text.bytes_C[batch.targets_BT[asked_WT]].sum()
    assert bytes_asked == len(read(task, whole[whole >= FIRST]).encode())


def test_floors_stand_at_the_tokens_that_are_asked_for(task) -> None:
    start_W = task.text.spread("test", 20, 16)
    assert len(start_W) == 20
    batch = task.text.windows("test", start_W, 16)
    bigram_CC = task.text.bigrams()
    floors = task.text.floors("test", start_W, 16)
    asked_WT = batch.targets_BT != UNSCORED
    for nats_WT in floors.values():
        assert (np.isnan(nats_WT) == ~asked_WT).all()
    expected = bigram_CC[batch.tokens_BT[asked_WT], batch.targets_BT[asked_WT]]
    np.testing.assert_allclose(floors["bigram"][asked_WT], expected, rtol=1e-12)
    shares = np.exp(-bigram_CC[FIRST - 1 :, FIRST:]).sum(1)
    np.testing.assert_allclose(shares, 1.0, rtol=1e-9)


def test_examples_are_of_their_split_and_tests_of_the_windows_in_order(task) -> None:
    for split in ("train", "validation", "test"):
        text = " ".join(map(str, task.text.streams[split].token_X))
        rows = task.sample_split(stream(0, "t"), 8, 16, split).tokens_BT[:, 1:]
        assert all(" ".join(map(str, row)) in text for row in rows)
    n = len(task.text.starts("test", 16))
    drawn = task.sample_split(stream(0, "t"), n, 16, "test").tokens_BT
    windows = task.text.windows("test", task.text.starts("test", 16), 16).tokens_BT
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, windows))


def test_pairs_end_alike_and_go_on_otherwise(task) -> None:
    clean = task.sample_split(stream(0, "t"), 200, 16, "test")
    pairs = Pairs(clean, task.counterfactual(clean, stream(1, "t")))
    row = np.arange(200)
    ends = [b.tokens_BT[row, b.roles["readout"]] for b in (pairs.clean, pairs.corrupted)]
    assert (ends[0] == ends[1]).all()
    changed = (pairs.clean.tokens_BT != pairs.corrupted.tokens_BT).any(1)
    assert ((pairs.answers_P != pairs.foils_P) == changed).all()
    assert changed.mean() > 0.3


def test_bytes_are_the_smallest_vocabulary(task) -> None:
    bytes_ = Text(**{**SMALL, "vocabulary": 256}, folder=task.folder)
    assert len(bytes_.symbols) == FIRST + 256
    assert (bytes_.text.bytes_C[FIRST:] == 1).all()
    for vocabulary in (255, 8193):
        with pytest.raises(UsageError, match=r"give at least 1 of the first, and 256 \(bytes\) to"):
            Text(vocabulary=vocabulary)


def test_a_tokenizer_gives_its_ids(task, tmp_path: Path) -> None:
    files = [path.read_text() for path in sorted(Path(task.folder).iterdir())]
    tokenizer = byte_tokenizer(files[:8])
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    cut = Text(**SMALL, folder=task.folder, tokenizer=str(tmp_path / "tokenizer"))
    token_X = cut.text.streams["test"].token_X
    first = token_X[: np.flatnonzero(token_X == FIRST - 1)[0]]
    ids = [cut.text.ids[token - FIRST] for token in first]
    assert tokenizer.decode(ids) in files
    assert cut.text.bytes_C[first].sum() == len(tokenizer.decode(ids).encode())
    assert cut.data_sha256 != task.data_sha256
    encoding = encode(cut, tokenizer, symbols="text", vocab_size=len(tokenizer), name="own")
    assert encoding.code_C[first].tolist() == ids
    assert encoding.code_C[0] == encoding.code_C[1] == tokenizer.bos_token_id
    for other in (task, Text(**SMALL, folder=task.folder, tokenizer=str(tmp_path / "tokenizer"))):
        if other is not task:
            tokenizer = byte_tokenizer(["other words"])
        with pytest.raises(UsageError, match=r"not in the tokens of 'own'\. Cut it by that"):
            encode(other, tokenizer, symbols="text", vocab_size=2000, name="own")


def test_a_tokenizer_of_other_than_bytes_is_refused(task, tmp_path: Path) -> None:
    word_tokenizer(["alpha"]).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"None of 64 documents comes back from the tokens"):
        _ = Text(**SMALL, folder=task.folder, tokenizer=str(tmp_path)).text
    with pytest.raises(UsageError, match=r"nothing' cannot be loaded .* Give a folder with its"):
        _ = Text(**SMALL, folder=task.folder, tokenizer=str(tmp_path / "nothing")).text


def test_a_single_file_is_cut_into_pieces(tmp_path: Path) -> None:
    lines = [f"line {i} of {i * i % 97} words\n" for i in range(4000)]
    (tmp_path / "one.txt").write_text("".join(lines))
    task = Text(folder=str(tmp_path / "one.txt"), **SMALL)
    pieces = sum(s.document_X[-1] + 1 for s in task.text.streams.values())
    assert pieces > 15
    total = sum(task.text.bytes_C[s.token_X].sum() for s in task.text.streams.values())
    assert total == len("".join(lines))
    (tmp_path / "one.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not text in UTF-8"):
        _ = Text(folder=str(tmp_path / "one.txt"), kilobytes=7).text


def test_the_hash_is_of_text_and_vocabulary(task, tmp_path: Path) -> None:
    other = Text(**{**SMALL, "vocabulary": 280}, folder=task.folder)
    again = Text(folder=write_source(tmp_path), **SMALL)
    assert again.data_sha256 == task.data_sha256 != other.data_sha256
    (tmp_path / "file0.py").write_text("other = text\n")
    assert Text(folder=str(tmp_path), **SMALL, kilobytes=500).data_sha256 != task.data_sha256


def test_too_little_text_is_said(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.py").write_text(f"{name} = 1\n")
    with pytest.raises(UsageError, match=r"2 different documents.* Give it three at least"):
        _ = Text(folder=str(tmp_path), **SMALL).text
    (tmp_path / "c.py").write_text("c = 1\n")
    short = Text(folder=str(tmp_path), **SMALL, kilobytes=1)
    with pytest.raises(UsageError, match="tokens in its test split, and sequences of 16"):
        short.sample_split(stream(0, "t"), 4, 16, "test")


def test_every_split_has_a_document_and_held_out_ones_are_few() -> None:
    found = split_documents(["a" * 10] * 32)
    assert {split: len(texts) for split, texts in found.items()} == {
        "test": 4, "validation": 2, "train": 26,
    }  # fmt: skip
    found = split_documents(["a", "b", "c" * 100])
    assert {split: len(texts) for split, texts in found.items()} == {
        "test": 1, "validation": 1, "train": 1,
    }  # fmt: skip
