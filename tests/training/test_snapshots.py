"""Weights along training: evenly spaced, up to the trained ones, also after an interruption."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import torch
from training_runs import QUICK, silent, training_run

from mecheval.errors import StorageError
from mecheval.training import loop
from mecheval.training.checkpoints import Checkpoint
from mecheval.training.preparation import Workplace, prepare_best
from mecheval.training.snapshots import Snapshots, evenly

if TYPE_CHECKING:
    from pathlib import Path

OFTEN = QUICK.replace({"check_every": 1, "stop_at": 1.5})


def steps(run, cache: Path) -> list[int]:
    snapshots = run.snapshots_in(cache)
    return [snapshots.load(index)[1]["step"] for index in snapshots.chosen()]


@pytest.mark.parametrize(
    ("check_every", "n", "expected"),
    [
        (8, 8, [0, 8, 16, 24]),  # fewer validations than were asked for
        (8, 2, [0, 24]),
        (1, 4, [0, 8, 16, 24]),
        (1, 3, [0, 12, 24]),
        (5, 6, [0, 5, 10, 15, 20, 24]),
    ],
)
def test_snapshots_are_evenly_spaced(check_every, n, expected, tmp_path) -> None:
    run = training_run(recipe=OFTEN.replace({"check_every": check_every}), snapshots=n)
    trained = prepare_best([run], {}, Workplace(tmp_path, "cpu"), emit=silent)
    assert steps(run, tmp_path) == expected
    snapshots = run.snapshots_in(tmp_path)
    assert snapshots is not None
    first, last = (snapshots.load(index) for index in (0, snapshots.chosen()[-1]))
    for name, value in run.build().state_dict().items():
        assert torch.equal(first[0][name], value)
    for name, value in trained.model.state_dict().items():
        assert torch.equal(last[0][name], value)
    assert last[1]["accuracy"] == pytest.approx(trained.record.validation_accuracy)


def test_no_more_than_twice_as_many_are_ever_kept(tmp_path) -> None:
    snapshots = Snapshots(Checkpoint(tmp_path), 3)
    model = torch.nn.Linear(1, 1)
    for index in range(100):
        snapshots.keep(model, index=index, step=10 * index, accuracy=0.5)
        kept = snapshots.chosen()
        assert len(kept) <= 2 * 3 + 1
        assert kept[0] == 0
        gaps = {after - before for before, after in itertools.pairwise(kept)}
        assert len(gaps) <= 1
    snapshots.close(model, index=99, step=990, accuracy=0.6)
    assert snapshots.chosen() == [0, 48, 99]
    (tmp_path / "snapshot-48.safetensors").unlink()
    with pytest.raises(StorageError, match="Snapshot 48"):
        snapshots.load(48)


def test_evenly() -> None:
    assert evenly([0, 1, 2, 3, 4], 3) == [0, 2, 4]
    assert evenly([0, 5], 8) == [0, 5]
    assert evenly([0, 4, 8, 9], 3) == [0, 4, 9]


class KilledError(Exception):
    pass


def test_a_killed_training_leaves_the_snapshots_of_an_undisturbed_one(
    tmp_path, monkeypatch
) -> None:
    run = training_run(recipe=OFTEN, snapshots=3)
    undisturbed = prepare_best([run], {}, Workplace(tmp_path / "a", "cpu"), emit=silent)
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(loop, "SHARE_FOR_CHECKPOINTS", float("inf"))
    monkeypatch.setattr(loop, "STEPS_BETWEEN_EVENTS", 1)

    def killer(stage: str, step: int, *_: object) -> None:
        if step == 13:
            raise KilledError

    place = Workplace(tmp_path / "b", "cpu")
    with pytest.raises(KilledError):
        prepare_best([run], {}, place, emit=killer)
    resumed = prepare_best([run], {}, place, emit=silent)
    assert resumed.record == undisturbed.record
    found = [run.snapshots_in(tmp_path / name) for name in "ab"]
    assert found[0].chosen() == found[1].chosen()
    for index in found[0].chosen():
        one, other = (snapshots.load(index) for snapshots in found)
        assert one[1] == other[1]
        assert all(torch.equal(one[0][name], other[0][name]) for name in one[0])


def test_snapshots_are_another_training_and_leave_older_keys_alone() -> None:
    plain, kept = training_run(), training_run(snapshots=8)
    assert plain.key != kept.key
    assert "snapshots" not in plain.content
