"""Several trainings at once: cached one by one, locked against others, divergence recorded."""

from __future__ import annotations

import filelock
import pytest
from training_runs import QUICK, silent, training_run

from mecheval.training import preparation
from mecheval.training.checkpoints import state_sha256
from mecheval.training.preparation import Workplace, prepare_best, train

RUNS = [training_run(recipe=QUICK.replace({"lr": lr})) for lr in (1e-3, 1e-2, 3e-3)]


def trained_in(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """Note the learning rates of every ensemble that is trained."""
    seen: list[list[float]] = []

    class Noted(preparation.Ensemble):
        def __init__(self, trainers):
            seen.append([trainer.recipe.lr for trainer in trainers])
            super().__init__(trainers)

    monkeypatch.setattr(preparation, "Ensemble", Noted)
    return seen


def test_a_sweep_resumes_member_by_member(tmp_path, monkeypatch) -> None:
    seen = trained_in(monkeypatch)
    place = Workplace(tmp_path, "cpu", ensemble=8)
    first = train(RUNS[1:2], place, emit=silent)[0]
    records = train(RUNS, place, emit=silent)
    assert records[1] == first
    assert seen == [[1e-2], [1e-3, 3e-3]]
    assert [record.together for record in records] == [2, 1, 2]
    assert train(RUNS, place, emit=silent) == records
    assert len(seen) == 2


@pytest.mark.parametrize(("ensemble", "sizes"), [(1, [1, 1, 1]), (2, [2, 1]), (None, [3])])
def test_how_many_are_trained_as_one(ensemble, sizes, tmp_path, monkeypatch) -> None:
    seen = trained_in(monkeypatch)
    train(RUNS, Workplace(tmp_path, "cpu", ensemble), emit=silent)
    assert [len(rates) for rates in seen] == sizes


def test_the_best_is_loaded_with_all_runs_in_its_record(tmp_path) -> None:
    told = []
    best = prepare_best(
        RUNS, {"lr": [1e-3, 1e-2, 3e-3]}, Workplace(tmp_path, "cpu"),
        emit=lambda *event: told.append(event),
    )  # fmt: skip
    accuracies = [run.validation_accuracy for run in best.record.sweep]
    chosen = [run.chosen for run in best.record.sweep]
    assert chosen.count(True) == 1
    assert accuracies[chosen.index(True)] == max(accuracies) == best.record.validation_accuracy
    assert best.run is RUNS[chosen.index(True)]
    assert state_sha256(best.model) == best.record.weights_sha256
    assert told[-1] == ("train", 72, 72, pytest.approx(max(accuracies)))
    assert [event[1] for event in told] == sorted(event[1] for event in told)


def test_companions_are_trained_along_unless_others_are_at_work_on_them(
    tmp_path, monkeypatch
) -> None:
    seen = trained_in(monkeypatch)
    others = [training_run(seed=seed) for seed in (1, 2)]
    (tmp_path / "locks").mkdir(parents=True)
    with filelock.FileLock(tmp_path / "locks" / f"{others[0].key}.lock"):
        records = train(
            [training_run()], Workplace(tmp_path, "cpu"), emit=silent, companions=others
        )
    assert len(records) == 1
    assert len(seen[0]) == 2
    assert others[0].checkpoint(tmp_path).load_finished() is None
    assert others[1].checkpoint(tmp_path).load_finished() is not None


def test_a_single_run_that_diverges_stops_early_and_says_so(tmp_path) -> None:
    run = training_run(recipe=QUICK.replace({"lr": 1e38, "steps": 1000}))
    record = prepare_best([run], {}, Workplace(tmp_path, "cpu"), emit=silent).record
    assert record.stopped == "diverged"
    assert record.steps < 20
    assert record.reason == f"diverged: the loss is not finite from step {record.steps - 2} on"
    assert record.validation_accuracy is None
    assert record.sweep == []


def test_weights_that_the_last_step_spoilt_have_diverged(tmp_path) -> None:
    recipe = QUICK.replace({"lr": 1e300, "steps": 1, "warmup": 0, "stop_at": 0.0})
    trainer = training_run(recipe=recipe).trainer(tmp_path, device="cpu", emit=silent)
    progress = trainer.run(None)
    assert progress.not_finite == 0
    assert progress.diverged
    assert progress.diverged_from == 2
    assert not progress.passed


class KilledError(Exception):
    pass


def test_members_that_ended_are_kept_when_the_others_are_killed(tmp_path, monkeypatch) -> None:
    short, longer = RUNS[0], training_run(recipe=QUICK.replace({"lr": 1e-2, "steps": 40}))

    def killer(stage: str, step: int, *_: object) -> None:
        if step >= 54:  # 24 of the first, 30 of the second
            raise KilledError

    place = Workplace(tmp_path, "cpu", ensemble=2)
    with pytest.raises(KilledError):
        train([short, longer], place, emit=killer)
    assert short.checkpoint(tmp_path).load_finished() is not None
    assert longer.checkpoint(tmp_path).load_finished() is None
    seen = trained_in(monkeypatch)
    records = train([short, longer], place, emit=silent)
    assert seen == [[1e-2]]
    assert [record.steps for record in records] == [24, 40]
