"""A training that a scheduler ends writes its progress between two steps, and goes on there."""

from __future__ import annotations

import signal

import pytest
from training_runs import QUICK, silent, training_run

from mecheval.training import stopping
from mecheval.training.preparation import Workplace, train
from mecheval.training.stopping import Stopped


def test_without_a_training_the_end_comes_at_once() -> None:
    with stopping.handled(*stopping.GENTLE), pytest.raises(Stopped) as stopped:
        signal.raise_signal(signal.SIGUSR2)
    assert stopped.value.exit_code == 143
    assert not stopping.is_asked()


@pytest.mark.parametrize("ensemble", [1, 2])
def test_a_training_ends_between_two_steps_and_goes_on(tmp_path, ensemble: int) -> None:
    runs = [training_run(recipe=QUICK.replace({"lr": lr})) for lr in (1e-3, 1e-2)]

    def emit(_: str, step: int, *__: object) -> None:
        if step >= 20:
            signal.raise_signal(signal.SIGTERM)

    with stopping.handled(*stopping.GENTLE), pytest.raises(Stopped):
        train(runs, Workplace(tmp_path / "a", "cpu", ensemble), emit=emit)
    kept = [run.checkpoint(tmp_path / "a").load_progress() for run in runs]
    steps = [found and found[1]["step"] for found in kept]
    assert steps == ([20, None] if ensemble == 1 else [10, 10])
    resumed, undisturbed = (
        train(runs, Workplace(tmp_path / name, "cpu", ensemble), emit=silent) for name in "ab"
    )
    assert [r.weights_sha256 for r in resumed] == [r.weights_sha256 for r in undisturbed]
    assert [r.curve for r in resumed] == [r.curve for r in undisturbed]


def test_ctrl_c_waits_for_nothing() -> None:
    with stopping.between_steps(), pytest.raises(Stopped) as stopped:
        stopping.ask(signal.SIGINT)
    assert stopped.value.exit_code == 130


def test_what_fails_after_it_was_asked_ends_as_asked() -> None:
    def training() -> None:
        with stopping.between_steps():
            stopping.ask(signal.SIGTERM)
            raise RuntimeError("out of memory")

    with pytest.raises(Stopped):
        training()
    assert not stopping.is_asked()
