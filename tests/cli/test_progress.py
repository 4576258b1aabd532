"""What is shown of a run: names as they are, and nothing that a terminal would obey."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console
from synthetic_reports import synthetic

from mecheval.cli.progress import LiveBars, _bars, line_of, redone_line
from mecheval.harness.events import Outcome
from mecheval.reports.schema import Failure

FAILURE = Failure(type="ValueError", message="a\nb\x1b[31m", stage="train", traceback="")


def cell(title: str) -> Any:
    return SimpleNamespace(
        key="0" * 64,
        model_title=title,
        task_title="ar[small]",
        identity=SimpleNamespace(seed=0),
        title=f"ar[small]  {title}  seed 0",
    )


def test_bars_show_arguments_and_no_markup() -> None:
    bars = _bars()
    file = io.StringIO()
    bars.live.console = Console(file=file, width=200, force_terminal=False)
    live = LiveBars(bars)
    live.planned(1, 0)
    live.started(cell("gru[layers=2,width=64][/bold]\x1b[31m"))
    bars.live.console.print(bars.get_renderable())
    shown = file.getvalue()
    assert "ar[small] gru[layers=2,width=64][/bold]\\x1b[31m seed 0" in shown
    assert "\x1b" not in shown


def test_a_failure_is_one_line() -> None:
    report = synthetic(status="error", learned=None, metrics=[], error=FAILURE)
    line = line_of(Outcome(cell("gru"), report))
    assert line.endswith("FAILED in train: ValueError: a b\\x1b[31m")


def test_resources_of_others_need_not_make_sense() -> None:
    for resources in ({}, {"seconds": 3}, {"seconds": {"train": "x", "load": 2.0}}):
        line = line_of(Outcome(cell("gru"), synthetic(resources=resources)))
        assert line.endswith((" 0.0 s", " 2.0 s"))


def test_a_warning_is_one_line() -> None:
    said = redone_line(Path("a\nb"), "is not whole JSON (\x1b)")
    assert said == (
        "Warning: a b is not whole JSON (\\x1b). It is set aside, and its cell measured again."
    )


def test_the_gate_stands_beside_what_was_learned() -> None:
    recipe = {"optimizer": "adamw", "gate": 0.5}
    for learned, said in ((True, "learned (gate 0.5)"), (False, "not learned (gate 0.5)")):
        outcome = Outcome(cell("gru"), synthetic(learned=learned, recipe=recipe))
        assert f"seed 0  {said}  acc 0." in line_of(outcome)


def test_what_passed_no_gate_is_not_called_learned() -> None:
    outcome = Outcome(cell("gru"), synthetic(recipe={"optimizer": "adamw", "gate": 0.0}))
    assert "seed 0  no gate  acc 0." in line_of(outcome)
    assert "learned" not in line_of(outcome)
