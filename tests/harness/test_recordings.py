"""Activations in the cache: recorded once, made again where lost, apart where anything differs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mecheval
from mecheval.harness import recordings
from mecheval.harness.execute import planned_cells
from mecheval.harness.recordings import FOLDER, Recordings
from mecheval.harness.request import Request, Settings
from mecheval.metrics.pairs.places import draw_places
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from pathlib import Path

TASK = mecheval.load_task("parity[max_length=12,min_length=12]")


def network(cache: Path, *, model: str = "lstm[layers=2,width=8]", **fields) -> Recordings:
    request = Request(
        models=(parse_spec(model),), tasks=(parse_spec("parity[max_length=12,min_length=12]"),),
        recipe={"steps": 2}, settings=Settings(cache=cache), **fields,
    )  # fmt: skip
    (cell,) = planned_cells([request])
    return Recordings(cell, 2)


def files(cache: Path) -> list[Path]:
    return sorted((cache / FOLDER).rglob("*.npy"))


@pytest.fixture
def places():
    return draw_places(TASK, 8, 3)


def test_a_network_is_run_once(tmp_path, places, monkeypatch) -> None:
    first = network(tmp_path).streams(places, [1, 2])
    assert len(files(tmp_path)) == 2
    assert first[0].shape == (24, 8)
    monkeypatch.setattr(recordings, "record", None)  # is not called any more
    again = network(tmp_path).streams(places, [2, 1])
    np.testing.assert_array_equal(again[::-1], first)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"x"),
        lambda path: path.write_bytes(path.read_bytes()[:200]),
    ],
)
def test_what_is_lost_is_made_again(tmp_path, places, damage) -> None:
    first = network(tmp_path).streams(places, [1, 2])
    before = files(tmp_path)
    damage(before[0])
    np.testing.assert_array_equal(network(tmp_path).streams(places, [1, 2]), first)
    assert files(tmp_path) == before


def test_whatever_decides_them_is_in_the_key(tmp_path, places) -> None:
    asked = [
        (network(tmp_path), places, 1, True),
        (network(tmp_path), places, 2, True),
        (network(tmp_path), places, 1, False),
        (network(tmp_path), draw_places(TASK, 8, 4), 1, True),
        (network(tmp_path, seeds=(1,)), places, 1, True),
        (network(tmp_path, model="gru[layers=2,width=8]"), places, 1, True),
        (network(tmp_path, dtype="float64"), places, 1, True),
    ]
    for n, (of, where, layer, trained) in enumerate(asked, 1):
        of.streams(where, [layer], trained=trained)
        assert len(files(tmp_path)) == n


def test_metrics_and_limits_have_no_say(tmp_path, places) -> None:
    network(tmp_path).streams(places, [1])
    cell = network(tmp_path, metrics=(parse_spec("recovery"),), limit=16).cell
    Recordings(replace(cell, metrics=(parse_spec("recovery"),)), 2).streams(places, [1])
    assert len(files(tmp_path)) == 1
