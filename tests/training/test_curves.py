"""Curves of trainings in a tracker: a run for each, with its losses and accuracies."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import pytest
from training_runs import QUICK, silent, training_run

from mecheval.errors import UsageError
from mecheval.harness.plan import plan
from mecheval.harness.request import Request, Settings
from mecheval.spec import Spec
from mecheval.training import curves
from mecheval.training.curves import Curves, check_tracker
from mecheval.training.preparation import Workplace, train


class TrackerRun:
    def __init__(self, project: str, name: str, config: dict) -> None:
        self.project, self.name, self.config, self.ended = project, name, config, False
        self.points: list[tuple[int, dict]] = []

    def log(self, values: dict, step: int) -> None:
        self.points.append((step, values))

    def finish(self) -> None:
        self.ended = True


@pytest.fixture
def runs(monkeypatch) -> list[TrackerRun]:
    """Stand in for the package trackio, and return the runs that it was asked for."""
    opened: list[TrackerRun] = []

    def init(**given: object) -> TrackerRun:
        opened.append(TrackerRun(**given))
        return opened[-1]

    module = types.ModuleType("trackio")
    module.__dict__["init"] = init
    monkeypatch.setitem(sys.modules, "trackio", module)
    return opened


def test_every_training_is_a_run_and_its_numbers_stay(tmp_path, runs) -> None:
    trainings = [training_run(recipe=QUICK.replace({"lr": lr})) for lr in (1e-3, 1e-2)]
    plain = Workplace(tmp_path / "a", "cpu", 2)
    place = Curves("trackio", tmp_path / "curves", ("parity", "lstm"))
    told = train(trainings, replace(plain, cache=tmp_path / "b", curves=place), emit=silent)
    assert told == train(trainings, plain, emit=silent)
    assert [run.config["lr"] for run in runs] == [1e-3, 1e-2]
    assert len({run.name for run in runs}) == 2
    for run, record in zip(runs, told, strict=True):
        assert run.ended
        assert run.project == "mecheval"
        shown = {s: v["validation_accuracy"] for s, v in run.points if "validation_accuracy" in v}
        assert shown == {step: accuracy for step, _, accuracy in record.curve}
        assert [step for step, values in run.points if "loss" in values] == [10, 20]


def test_a_tracker_that_is_not_there_is_named(monkeypatch) -> None:
    monkeypatch.setattr(curves.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"needs the package tensorboardX. Run `pip install"):
        check_tracker("tensorboard")
    with pytest.raises(UsageError, match=r"Unknown tracker 'wandbb'. Did you mean 'wandb'"):
        check_tracker("wandbb")


def test_trackers_leave_keys_as_they_are(monkeypatch) -> None:
    monkeypatch.setattr(curves.importlib.util, "find_spec", lambda _: True)
    request = Request(models=(Spec("lstm"),), tasks=(Spec("parity"),))
    logged = replace(request, settings=Settings(log_with="wandb"))
    assert [cell.key for cell in plan(logged)] == [cell.key for cell in plan(request)]
