"""What all tasks of state tracking share: ranges of lengths, and states that are shown."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from crossings import mostly_slow

import mecheval
from mecheval.errors import UsageError
from mecheval.harness.building import task_label
from mecheval.seeding import stream
from mecheval.spec import parse_spec
from mecheval.tasks import UNDEFINED, UNSCORED, Task
from mecheval.tasks.checks import check_task
from mecheval.tasks.floors import task_floors
from mecheval.tasks.splits import draw, draw_pairs
from mecheval.tasks.words import Words

TRACKING = ("parity", "dyck", "s3", "z6", "group", "flipflop")
SHOWING = ("parity", "s3", "z6", "group[name=s4]", "flipflop[values=3]")


def showing(spec: str, rate: float) -> Task:
    return dataclasses.replace(mecheval.load_task(spec), reveal_rate=rate)


@pytest.mark.parametrize("name", TRACKING)
def test_the_preset_range_keeps_the_contract(name: str) -> None:
    task = mecheval.load_task(f"{name}[range]")
    assert (task.min_length, task.max_length) == (3, 40)
    assert not [str(check) for check in check_task(task) if not check.passed]
    for length in range(3, 41):
        batch = draw(task, stream(0, length), 16, length=length, split="train")
        assert batch.tokens_BT.shape == (16, length + 1)
        assert (batch.target_at("readout") != UNSCORED).all()


@pytest.mark.parametrize("spec", SHOWING)
@pytest.mark.parametrize("rate", mostly_slow([0.1, 0.6], always=[0.1]))
def test_tasks_that_show_states_keep_the_contract(spec: str, rate: float) -> None:
    task = showing(spec, rate)
    assert not [str(check) for check in check_task(task) if not check.passed]


@pytest.mark.parametrize("spec", SHOWING)
def test_what_is_shown_is_the_state_behind_a_letter_and_asks_for_nothing(spec: str) -> None:
    task = showing(spec, 0.3)
    batch = task.sample(stream(0, "words"), 300, 40)
    symbols_BT = np.array(task.symbols)[batch.tokens_BT]
    shown_BT = np.char.startswith(symbols_BT, "=")
    letters_BT = ~shown_BT
    letters_BT[:, 0] = False
    # Behind a letter, never behind another state, and never last.
    assert letters_BT[:, :-1][shown_BT[:, 1:]].all()
    assert not shown_BT[:, -1].any()
    before_BT = np.roll(batch.targets_BT, 1, axis=1)
    for shown, target in zip(symbols_BT[shown_BT], before_BT[shown_BT], strict=True):
        assert shown == f"={task.symbols[target]}"
    assert (batch.targets_BT[shown_BT] == UNSCORED).all()
    assert (batch.targets_BT[letters_BT] != UNSCORED).all()
    for values_BT in batch.variables.values():
        assert (values_BT[shown_BT] == UNDEFINED).all()
        assert (values_BT[letters_BT] != UNDEFINED).all()
    followed_BT = letters_BT[:, 1:-2]  # the first letter is at 1, the last but one is at T - 2
    assert shown_BT[:, 2:-1][followed_BT].mean() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("spec", SHOWING)
def test_without_what_is_shown_the_labels_are_those_of_the_letters(spec: str) -> None:
    plain, task = mecheval.load_task(spec), showing(spec, 0.3)
    assert isinstance(plain, Words)
    batch = task.sample(stream(0, "words"), 50, 40)
    for token_T, target_T in zip(batch.tokens_BT, batch.targets_BT, strict=True):
        letter_T = token_T <= len(plain.letters)
        alone = plain._batch(token_T[letter_T][None, 1:] - 1)
        assert np.array_equal(alone.targets_BT[0], target_T[letter_T])


@pytest.mark.parametrize("spec", SHOWING)
def test_pairs_differ_in_one_letter_behind_the_last_state_that_is_shown(spec: str) -> None:
    task = showing(spec, 0.3)
    assert isinstance(task, Words)
    pairs = draw_pairs(task, stream(0, "pairs"), 200, length=32)
    differs_PT = pairs.clean.tokens_BT != pairs.corrupted.tokens_BT
    assert (differs_PT.sum(1) == 1).all()
    shown_PT = pairs.clean.tokens_BT > len(task.letters)
    assert shown_PT.any(1).mean() > 0.5
    last_P = np.where(shown_PT, np.arange(33), 0).max(1)
    assert (pairs.changed_P > last_P).all()


def test_floors_say_how_much_what_is_shown_gives_away() -> None:
    silent, task = mecheval.load_task("s3"), showing("s3", 0.3)
    before, after = (task_floors(t, 0, 8192).answer for t in (silent, task))
    assert before.best < 0.25
    assert after.accuracy["last4"] > 0.6
    assert after.accuracy["shown"] > before.best
    guess_BT = task.guesses(task.sample(stream(0), 1, 16))["shown"]["answer"]
    assert guess_BT.shape == (1, 17)


def test_the_rule_says_the_state_that_was_shown_last() -> None:
    task = showing("s3", 0.3)
    batch = task.sample(stream(0, "words"), 40, 24)
    said = task.guesses(batch)["shown"]
    for token_T, guess_T in zip(batch.tokens_BT, said["answer"], strict=True):
        state = 0
        for token, guess in zip(token_T, guess_T, strict=True):
            state = token - 7 if token >= 7 else state
            assert guess == state
    assert np.array_equal(said["sign"], said["answer"] // 3)


def test_a_rate_of_nought_is_no_parameter_of_what_was_measured_without_it() -> None:
    for name in TRACKING:
        assert "reveal_rate" not in mecheval.load_task(name).params
    task = mecheval.load_task("parity[reveal_rate=0.2]")
    assert task.params["reveal_rate"] == 0.2
    assert task_label(parse_spec("parity[reveal_rate=0.2]"), task) == {"reveal_rate": 0.2}
    assert mecheval.load_task("parity[reveal_rate=0.0]") == mecheval.load_task("parity")
    with pytest.raises(UsageError, match="0 <= reveal_rate < 1"):
        mecheval.load_task("s3[reveal_rate=1.0]")
    with pytest.raises(UsageError, match="reveal_rate"):
        mecheval.load_task("dyck[reveal_rate=0.2]")
