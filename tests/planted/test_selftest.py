"""Every metric returns what is known on every planted model; and the selftest says when not."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import known_table
import pytest
from crossings import mostly_slow

from mecheval.cli import main
from mecheval.errors import ContractError, UsageError
from mecheval.harness import known_values, selftest
from mecheval.harness.known_values import Case, Known, known_cases, metric_names
from mecheval.harness.selftest import run_case, shown
from mecheval.registry import Registry
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from pathlib import Path

CASES = known_cases()
BY_MODEL = {case.model: case for case in CASES}

ALWAYS = (
    "planted/induction[carrier=convolution]", "planted/mamba-recall[shift=1]", "planted/lstm-votes",
    "planted/parity-at-block[block=4]", "planted/parity-spread", "planted/transformer-dyck",
    "planted/sign-scan", "planted/bigram",
    "planted/mamba-recall and planted/mamba-recall[shift=1]",
)  # fmt: skip
"""One of every kind: how a key is bound, where a state is held, what else answers."""


def only(case: Case, *metrics: str) -> Case:
    """Leave out all metrics but some, and what is known of the others."""
    params = {name: case.params[name] for name in metrics}
    names = {"behaviour": ("token", "last", "sequence")}
    starts = tuple(start for name in metrics for start in names.get(name, (name,)))
    known = tuple(known for known in case.known if known.at.startswith(starts))
    return dataclasses.replace(case, params=params, known=known)


LSTM = only(BY_MODEL["planted/lstm-parity"], "behaviour", "recovery")


@pytest.mark.parametrize(
    "case", mostly_slow(CASES, always=[BY_MODEL[name] for name in ALWAYS]), ids=lambda c: c.model
)
def test_every_metric_returns_its_known_value(case: Case) -> None:
    outcomes = run_case(case)
    assert not [str(outcome) for outcome in outcomes if not outcome.passed]
    names = set(metric_names("pair" if case.pairs else "model"))
    measured = {outcome.metric for outcome in outcomes}
    assert measured == (names if case.pairs else set(case.params))
    assert measured >= names - {"dictionary"}


def test_dictionaries_have_known_values_too() -> None:
    assert any(known.at.startswith("dictionary") for case in CASES for known in case.known)


def test_every_planted_model_has_known_values() -> None:
    names = {entry.name for entry in Registry().entries("model")}
    planted = {name for name in names if name.startswith("planted/")}
    assert {parse_spec(model).name for case in CASES for model in case.models} == planted


def test_the_table_of_the_documentation_is_current() -> None:
    expected = [(case.model, case.task, known) for case in CASES for known in case.known]
    rows = known_table.committed()
    advice = "Run `python tests/planted/known_table.py`, which writes it."
    assert [row[:4] for row in rows] == [
        [f"`{model}`", f"`{task}`", f"`{known.at}`", str(known)] for model, task, known in expected
    ], advice
    for row, (_, _, known) in zip(rows, expected, strict=True):
        assert known.holds(parsed(row[4])), advice


def parsed(cell: str) -> float | str:
    if cell.startswith((known_values.SAID, "null")):
        return cell.removeprefix("null: ")
    return float(cell)


def off(case: Case) -> list[str]:
    return [outcome.at for outcome in run_case(case) if not outcome.passed]


@pytest.mark.parametrize(
    ("model", "another", "numbers"),
    [
        # The twin with the weights of the direct network.
        (
            "planted/mamba-recall[shift=1]", "planted/mamba-recall",
            ["recovery/write layer=0 role=changed", "write_offset/value", "write_offset/key"],
        ),
        # The memory that nothing reads, read.
        (
            "planted/parity-distractor", "planted/parity-distractor[reads=memory]",
            ["recovery/mixer_out layer=0 role=readout", "bottleneck/parity"],
        ),
        # A state written one block later.
        (
            "planted/parity-at-block", "planted/parity-at-block[block=3]",
            ["readability/parity com", "bottleneck/parity layer", "write_offset layer"],
        ),
    ],
)  # fmt: skip
def test_another_network_in_the_place_of_one_is_noticed(
    model: str, another: str, numbers: list[str]
) -> None:
    metrics = {number.split("/")[0].split()[0] for number in numbers}
    case = only(BY_MODEL[model], *sorted(metrics))
    assert set(numbers) <= set(off(dataclasses.replace(case, models=(another,))))


def test_a_grid_that_is_off_by_one_position_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from mecheval.interventions.results import RecoveryGrid

    def shifted(self: RecoveryGrid, name: str):
        grid_LTP = self.patched[self.axes["component"].index(name)]
        return grid_LTP[:, [grid_LTP.shape[1] - 1, *range(grid_LTP.shape[1] - 1)]]

    monkeypatch.setattr(RecoveryGrid, "component", shifted)
    assert "recovery/block_in layer=0 role=changed" in off(LSTM)


def test_a_metric_that_fails_is_off_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(*_):
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr("mecheval.metrics.intervention.recovery.Recovery.measure", failing)
    outcomes = run_case(LSTM)
    wrong = [outcome for outcome in outcomes if not outcome.passed]
    assert wrong
    assert {outcome.at.split("/")[0] for outcome in wrong} == {"recovery"}
    assert "recovery failed: ZeroDivisionError: no luck" in str(wrong[0])
    assert [outcome for outcome in outcomes if outcome.metric == "behaviour"]


@pytest.mark.parametrize(
    ("known", "right", "wrong"),
    [
        (Known("x", equal=0.5), 0.5009, 0.502),
        (Known("x", equal=0.5, within=0.1), 0.41, 0.39),
        (Known("x", least=0.2, most=0.3), 0.25, 0.31),
        (Known("x", least=0.2), 0.2, None),
        (Known("x", null="no gap"), "no gap: 0 pairs", "no middle"),
        (Known("x", null="no gap"), "no gap", 0.0),
        (Known("x", equal=0.0), 0.0, "no gap"),
    ],
)
def test_what_is_known_holds_or_does_not(known: Known, right, wrong) -> None:
    assert known.holds(right)
    assert not known.holds(wrong)


@pytest.mark.parametrize(
    ("known", "text"),
    [
        (Known("x", equal=1.0), "1"),
        (Known("x", equal=1 / 3, within=0.1), "0.3333 +- 0.1"),
        (Known("x", least=0.5, most=0.9), "at least 0.5, at most 0.9"),
        (Known("x", null="no gap"), "null: no gap"),
    ],
)
def test_what_is_known_in_words(known: Known, text: str) -> None:
    assert str(known) == text


def test_numbers_that_are_not_there_are_off() -> None:
    paths = [
        "recovery/conv_out", "recovery/block_in scalar", "recovery/block_in layer=7 role=changed",
        "recovery/block_in layer=0", "recovery/block_in series=none layer=0",
        "recovery/block_in profile=none layer=0",
    ]  # fmt: skip
    known = tuple(Known(at, equal=0.0) for at in paths)
    outcomes = run_case(dataclasses.replace(LSTM, known=known))
    assert not [outcome for outcome in outcomes if outcome.passed]
    assert all("there is no" in str(outcome.measured) for outcome in outcomes)
    assert shown(None) == "null: None"


def test_the_command_prints_a_table_and_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "planted/transformer-count", "--jobs", "1"]) == 0
    head, *lines, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["MODEL", "TASK", "NUMBER", "KNOWN", "MEASURED"]
    assert len(lines) == len(BY_MODEL["planted/transformer-count"].known)
    assert last.startswith(f"{len(lines)} numbers are as known, on 1 planted networks, in ")


def test_an_instrument_that_is_off_is_one_clear_line_and_exit_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = (Known("token_accuracy/1x", equal=0.5), Known("recovery/block_in", equal=0.0))
    case = dataclasses.replace(LSTM, known=wrong)
    monkeypatch.setattr(known_values, "known_cases", lambda: [case])
    assert main(["selftest", "--jobs", "1", "--quiet"]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first == (
        "OFF: token_accuracy/1x of planted/lstm-parity on parity is 1.000, and must be 0.5."
    )
    assert last.startswith("1 of 2 numbers are not as known, on 1 planted networks, in ")
    assert main(["selftest", "--jobs", "1", "--json"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["passed"] for row in rows] == [False, True]
    assert rows[0]["metric"] == "behaviour"


@pytest.mark.slow
def test_processes_give_the_same_numbers() -> None:
    blocks = [f"planted/parity-at-block[block={block}]" for block in (1, 2)]
    cases = [dataclasses.replace(LSTM, models=(model,)) for model in blocks]
    assert list(selftest.run(cases, jobs=2)) == list(selftest.run(cases))


def test_wrong_use_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "planted/lstm-parit"]) == 2
    assert "Did you mean 'planted/lstm-parity'?" in capsys.readouterr().err
    assert main(["selftest", "--jobs", "0"]) == 2
    file = tmp_path / "known.toml"
    file.write_text('[metrics]\n[[case]]\nmodel = "planted/lstm-parity"\ntask = "parity"\n')
    with pytest.raises(ContractError, match=r"known\.toml is not a file of known values"):
        known_cases(file)
    with pytest.raises(UsageError, match="set by hand for parity"):
        selftest.subject_of("planted/lstm-parity", "dyck")
