"""Text from data sets: saved on this machine, or refused where there is no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mecheval.errors import UsageError
from mecheval.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

Text = Registry().load("task", "text")
SMALL: dict[str, Any] = {"min_length": 16, "max_length": 16, "vocabulary": 256}
ROWS = [f"row {i} of {i * i % 97} words, {i % 7} of them long\n" * 4 for i in range(40)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a data set in the ways that there are; a row is empty, and a column holds numbers."""
    import datasets

    root = tmp_path_factory.mktemp("saved")
    rows = datasets.Dataset.from_dict({
        "text": [*ROWS, ""], "other": [row.upper() for row in [*ROWS, "x"]], "n": [*range(41)],
    })  # fmt: skip
    rows.save_to_disk(str(root / "one"))
    parts = {"train": rows, "test": rows.select(range(20, 40))}
    datasets.DatasetDict(parts).save_to_disk(str(root / "several"))  # type: ignore[arg-type]
    (root / "files").mkdir()
    rows.to_parquet(str(root / "files" / "train.parquet"))
    rows.to_json(str(root / "rows.jsonl"))
    return root


def hash_of(place: Path, **fields: Any) -> str:
    return Text(**SMALL, dataset=str(place), **fields).text.documents_sha256


def test_rows_are_documents_however_they_are_stored(saved: Path) -> None:
    task = Text(**SMALL, dataset=str(saved / "one"))
    streams = task.text.streams.values()
    assert sum(stream.document_X[-1] + 1 for stream in streams) == len(ROWS)
    n_bytes = sum(task.text.bytes_C[stream.token_X].sum() for stream in streams)
    assert n_bytes == sum(map(len, ROWS))
    hashes = {hash_of(saved / place) for place in ("one", "several", "files", "rows.jsonl")}
    assert len(hashes) == 1
    others = [
        hash_of(saved / "one", column="other"),
        hash_of(saved / "several", part="test"),
        hash_of(saved / "one", kilobytes=2),
    ]
    assert len({*hashes, *others}) == 4


def test_what_is_no_text_is_refused(saved: Path, tmp_path: Path) -> None:
    for fields, sentence in (
        ({"column": "words"}, r"no column 'words'\. Give one of 'text', 'other', 'n'"),
        ({"column": "n"}, "holds int, and a text is asked for"),
        ({"part": "dev"}, r"no split 'dev'\. Give one of 'train', 'test'"),
    ):
        with pytest.raises(UsageError, match=sentence):
            hash_of(saved / "several", **fields)
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(UsageError, match=r"bad.parquet' cannot be loaded \("):
        hash_of(tmp_path / "bad.parquet")


def test_without_a_network_a_name_is_refused_in_a_sentence(monkeypatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"'owner/nothing' cannot be loaded \(.*save_to_disk"):
        Text(**SMALL, dataset="owner/nothing").data_sha256  # noqa: B018


def test_the_revision_that_is_given_is_asked_for(monkeypatch) -> None:
    import datasets

    asked: dict[str, Any] = {}

    def load(**given: Any) -> Any:
        asked.update(given)
        return {"train": datasets.Dataset.from_dict({"text": ROWS})}

    monkeypatch.setattr(datasets, "load_dataset", load)
    task = Text(**SMALL, dataset="owner/name", revision="abc123", subset="en")
    assert task.data_sha256
    assert (asked["path"], asked["name"]) == ("owner/name", "en")
    assert (asked["revision"], asked["streaming"]) == ("abc123", True)
    assert task.params["revision"] == "abc123"
    assert task.data_sha256 == Text(**SMALL, dataset="owner/name").data_sha256


def test_two_texts_are_one_too_many() -> None:
    assert not {"dataset", "revision", "part"} & Text(**SMALL).params.keys()
    with pytest.raises(UsageError, match="from a folder or from a data set"):
        Text(folder="x", dataset="y")
    with pytest.raises(UsageError, match="There is a revision, and no dataset"):
        Text(revision="abc")
