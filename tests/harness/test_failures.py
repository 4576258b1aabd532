"""What fails ends its own cell, in one line that a person can read."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

import mecheval
from mecheval.cli import main
from mecheval.errors import UsageError
from mecheval.escape import MOST_OF_OTHERS, MOST_SAID, cause
from mecheval.harness.failure import failure_of
from mecheval.metrics import configured_metric
from mecheval.own_code.explaining import in_words
from mecheval.recipe import Recipe
from mecheval.registry import Registry
from mecheval.spec import Spec, parse_spec

if TYPE_CHECKING:
    from pathlib import Path

METRIC = '''
from dataclasses import dataclass
from mecheval.metrics import Column, Estimate, Layout, Metric, metric

class Own(BaseException):
    pass

@metric(name="own", version=1, family="counting", headline=(Column("a number"),))
@dataclass(frozen=True, kw_only=True)
class Raising(Metric):
    """A number that does not come."""

    def measure(self, subject):
        raise ERROR
'''
STACK = (
    'empty(): argument "size" failed with "Overflow when unpacking long long\n'
    "Exception raised from THPUtils_unpackLong at numbers.h:79 (most recent call first):\n"
    "frame #0: c10::Error::Error(c10::SourceLocation) + 0x9d (0x7f in libc10.so)\n"
    'frame #1: _start + 0x21 (0x56 in python3)\n"'
)
CLEAN = 'empty(): argument "size" failed with "Overflow when unpacking long long'
ERRORS = {
    "KeyboardInterrupt()": "KeyboardInterrupt",
    "SystemExit(0)": "SystemExit",
    "GeneratorExit()": "GeneratorExit",
    "Own('mine')": "Own",
    f"RuntimeError({STACK!r})": "RuntimeError",
    f"ValueError({'word ' * 2000!r})": "ValueError",
}


def test_whatever_a_metric_raises_ends_its_cell(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every seed meets another error, in one worker that goes on."""
    listed = f"[{', '.join(ERRORS)}][subject.seed]"
    (tmp_path / "own.py").write_text(METRIC.replace("ERROR", listed))
    words = ["run", "-m", "lstm", "-t", "parity", "--metrics", "local/own", "-I", str(tmp_path)]
    words += ["-j", "1", "-s", f"0-{len(ERRORS) - 1}", "--recipe", "steps=0,gate=0", "--limit", "8"]
    assert main([*words, "-o", str(tmp_path / "out")]) == 1
    out, err = capfd.readouterr()
    failed = [line for line in err.splitlines() if "FAILED" in line]
    assert len(failed) == len(ERRORS)
    for name in ERRORS.values():
        assert sum(f"FAILED in local/own: {name}" in line for line in failed) == 1
    for line in (*out.splitlines(), *err.splitlines()):
        assert not line.startswith(("Traceback", "  File", "Process "))
        assert "frame #" not in line
    remarks = [line for line in out.splitlines() if line.startswith("- error")]
    assert len(remarks) == len(ERRORS)
    assert max(map(len, [*remarks, *failed])) < 600


def test_the_report_keeps_the_whole_of_it(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(METRIC.replace("ERROR", f"RuntimeError({STACK!r})"))
    (report,) = mecheval.evaluate(
        "lstm", "parity", metrics=["local/own"], include_path=[tmp_path], device="cpu",
        recipe={"steps": 0, "gate": 0}, limit=8,
    )  # fmt: skip
    assert report.error is not None
    assert report.error.message == CLEAN
    assert "frame #1: _start" in report.error.traceback
    assert "own.py" in report.error.traceback


def test_an_interruption_of_this_process_is_one(tmp_path: Path, monkeypatch) -> None:
    """Where signals are not ignored, an interruption is no failure of the cell."""
    handler = signal.default_int_handler  # a shell starts what runs beside it without one
    monkeypatch.setattr(signal, "getsignal", lambda number: handler)
    (tmp_path / "own.py").write_text(METRIC.replace("ERROR", "KeyboardInterrupt()"))
    with pytest.raises(KeyboardInterrupt):
        mecheval.evaluate(
            "lstm", "parity", metrics=["local/own"], include_path=[tmp_path], device="cpu",
            recipe={"steps": 0, "gate": 0}, limit=8,
        )  # fmt: skip


def test_validate_goes_on_after_an_exit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.py").write_text(METRIC.replace("ERROR", "SystemExit(0)"))
    assert main(["validate", "local/own", "-I", str(tmp_path)]) == 1
    assert "deterministic: FAILED: SystemExit: 0" in capsys.readouterr().out


def test_a_message_is_one_line_without_a_stack() -> None:
    assert cause(STACK) == CLEAN
    assert cause("first\nsecond\x1b") == "first second\\x1b"
    assert cause("Caught it\nOriginal Traceback (most recent call last):\n  File") == "Caught it"
    assert len(cause("x" * 5000)) == MOST_SAID
    assert len(in_words(ValueError("x" * 5000))) == MOST_OF_OTHERS + len("ValueError: ")
    advice = UsageError(f"Wrong {'x' * 500}. Do this.")
    assert failure_of(advice, "load").message == str(advice)


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "lstm[width=99999999999999999999]", "-t", "parity"),
        ("-m", "lstm", "-t", "parity[max_length=99999999999999999999]"),
        ("-m", "lstm", "-t", "parity[longer=[2,99999999999999999999]]"),
        ("-m", "lstm", "-t", "parity", "--metrics", "recovery[n_pairs=99999999999999999999]"),
        ("-m", "lstm", "-t", "parity", "--recipe", "batch=99999999999999999999"),
        ("-m", "lstm", "-t", "parity", "--recipe", "warmup=-99999999999999999999"),
        ("-m", "lstm", "-t", "parity", "--sweep", "steps=1,99999999999999999999"),
    ],
)
def test_numbers_that_can_be_no_size_are_refused_at_once(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *words, "-j", "1", "--dry-run"]) == 2
    assert "is out of range: whole numbers are at most 2147483647." in capsys.readouterr().err


@pytest.mark.parametrize(
    "flag", ["--limit", "--snapshots", "--ensemble", "--batch-size", "--threads"]
)
def test_flags_that_can_be_no_number_of_anything(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["run", "-m", "lstm", "-t", "parity", "--dry-run", "-j", "1", flag, "9" * 20]
    assert main(argv) == 2
    assert f"{flag} cannot be {'9' * 20}; give it 1 to 2147483647." in capsys.readouterr().err


def test_large_numbers_are_none_of_them() -> None:
    assert configured_metric(Spec("recovery", {"n_pairs": 10**9}), Registry()).params["n_pairs"]
    assert parse_spec("x[y=99999999999999999999]").args["y"] > 2**64
    assert Recipe().replace({"steps": 2**31 - 1, "clip": 10**12}).clip == 1e12


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gate", 2.0), ("gate", -0.1), ("gate", float("nan")), ("stop_at", -1.0), ("lr", 0.0),
        ("lr", float("nan")), ("lr_vectors", 0.0), ("lr_vectors", -1.0), ("weight_decay", -0.1),
        ("warmup", -1), ("clip", 0.0), ("batch", 0), ("steps", -1), ("check_every", 0),
        ("betas", (0.9, 1.0)), ("curriculum", ()), ("optimizer", "sgd"),
    ],
)  # fmt: skip
def test_a_recipe_out_of_range_is_refused(field: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"^Recipe has {field}="):
        Recipe(**{field: value})  # type: ignore[arg-type]


def test_the_ends_of_ranges_are_in_them() -> None:
    Recipe(gate=1.0, stop_at=1.5, weight_decay=0.0, warmup=0, steps=0, batch=1, check_every=1)
    Recipe(gate=0.0, stop_at=0.0)


def test_every_number_of_a_recipe_has_a_range(capsys: pytest.CaptureFixture[str]) -> None:
    from mecheval.recipe import _RANGES

    numbers = {name for name, value in vars(Recipe()).items() if type(value) in (int, float)}
    assert numbers == set(_RANGES)
    assert main(["run", "-m", "lstm", "-t", "parity", "--recipe", "gate=2", "--dry-run"]) == 2
    assert "Recipe has gate=2.0; give an accuracy from 0 to 1" in capsys.readouterr().err
