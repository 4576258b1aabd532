"""A task as data sets: typed, disjoint, the same examples every time, and able to be saved."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mecheval
from mecheval.registry import Registry
from mecheval.tasks import UNDEFINED, UNSCORED, Task
from mecheval.tasks.splits import in_split

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

datasets = pytest.importorskip("datasets", reason="the package datasets is an ordinary dependency")
Dyck: type[Task] = Registry().load("task", "dyck")
NAMES = ["train", "validation", "test", "test_2x", "test_4x"]


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def dyck():
    return Dyck().to_datasets(n_train=300, n_test=60, seed=1)


def test_splits_and_sizes(dyck) -> None:
    assert {name: len(rows) for name, rows in dyck.items()} == {
        name: 300 if name == "train" else 60 for name in NAMES
    }
    lengths = [len(dyck[name][0]["tokens"]) for name in NAMES]
    assert lengths == [33, 33, 33, 65, 129]


def test_features_are_typed(dyck) -> None:
    features = dyck["train"].features
    symbols = features["tokens"].feature
    assert symbols.names == list(Dyck().symbols)
    assert features["targets"].feature == symbols
    assert set(features["variables"]) == {"depth", "top"}
    assert features["roles"]["readout"].dtype == "int32"
    row = dyck["test"][0]
    assert symbols.int2str(row["tokens"][0]) == "<bos>"


def test_rows_are_the_examples_of_the_task(dyck) -> None:
    rows = dyck["test"].with_format("numpy")[:]
    tokens_BT, targets_BT = rows["tokens"], rows["targets"]
    depth_BT = np.stack([row["depth"] for row in dyck["test"]["variables"]])
    assert (tokens_BT[:, 0] == 0).all()
    assert (targets_BT[:, 0] == UNSCORED).all()
    assert (depth_BT[:, 0] == UNDEFINED).all()
    again = Dyck()._batch(tokens_BT[:, 1:])  # type: ignore[attr-defined]
    assert np.array_equal(again.targets_BT, targets_BT)
    assert np.array_equal(again.variables["depth"], depth_BT)


def test_no_sequence_is_in_two_splits(dyck) -> None:
    seen = {name: set(map(tuple, dyck[name]["tokens"])) for name in NAMES[:3]}
    for one, other in itertools.combinations(seen, 2):
        assert not seen[one] & seen[other]
    for name, split in (("train", "train"), ("validation", "validation"), ("test_2x", "test")):
        assert in_split(np.array(dyck[name]["tokens"]), split).all()


def test_the_card_is_in_the_info(dyck) -> None:
    info = dyck["train"].info
    assert info.description.startswith(Dyck.card.summary)
    assert '"k": 2' in info.description
    assert info.citation == Dyck.card.reference
    assert str(info.version) == f"{Dyck.card.version}.0.0"


def test_the_seed_decides_the_examples(dyck) -> None:
    again = Dyck().to_datasets(n_train=300, n_test=60, seed=1)
    other = Dyck().to_datasets(n_train=300, n_test=60, seed=2)
    assert again["train"]["tokens"][:] == dyck["train"]["tokens"][:]
    assert other["train"]["tokens"][:] != dyck["train"]["tokens"][:]


def test_they_can_be_saved_and_loaded(dyck, tmp_path: Path) -> None:
    dyck.save_to_disk(tmp_path / "dyck")
    loaded = datasets.load_from_disk(tmp_path / "dyck")
    assert loaded["test_2x"].features == dyck["test_2x"].features
    assert loaded["test_2x"][5] == dyck["test_2x"][5]
    assert loaded["test_2x"].info.description == dyck["test_2x"].info.description


def test_a_task_without_longer_tests_has_three_splits() -> None:
    assert set(Dyck(longer=()).to_datasets(n_train=8, n_test=8)) == set(NAMES[:3])


def test_rows_of_training_have_every_length_that_training_has() -> None:
    parity = mecheval.load_task("parity[min_length=3,max_length=9]")
    found = parity.to_datasets(n_train=700, n_test=20)
    lengths = [len(row) - 1 for row in found["train"]["tokens"]]
    counts = np.bincount(lengths, minlength=10)[3:]
    assert counts.sum() == 700
    assert counts.min() > 60
    assert lengths != sorted(lengths)
    for row in found["train"]:
        word = np.array(row["tokens"][1:]) - 1
        assert row["targets"][1:] == (1 + word.cumsum() % 2).tolist()
        assert row["roles"]["readout"] == len(word)
    assert {len(row) for row in found["validation"]["tokens"]} == {10}
    assert {len(row) for row in found["test_2x"]["tokens"]} == {19}
