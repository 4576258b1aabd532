"""What a user's file raises during planning is one sentence with the file and the line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import mecheval
from mecheval.cli import main
from mecheval.errors import ContractError

if TYPE_CHECKING:
    from pathlib import Path

TASK = '''
from dataclasses import dataclass
from mecheval.builtin.task_registry.parity import Parity
from mecheval.tasks import Metric, task

class Card(str):
    pass

@task(name="toy", version=1, reference="none", mechanisms=())
@dataclass(frozen=True, kw_only=True)
class Toy(Parity):
    """A task."""

    # BODY
'''
MODEL = '''
from dataclasses import dataclass
from mecheval.builtin.model_registry.gru import Gru
from mecheval.models.stack.architecture import model
from mecheval.recipe import Recipe

@model(
    name="toy", reference="none", architecture="recurrent",
    recipes={"tiny": Recipe()}, sizes={"tiny": {"layers": 1, "width": 8}},
)
@dataclass(frozen=True, kw_only=True)
class Toy(Gru):
    """A model."""

    # BODY
'''
LOUD = "raise ZeroDivisionError('first\\nsecond \\x1b[31m')"


def method(signature: str, body: str = LOUD) -> str:
    return f"def {signature}:\n        {body}\n"


TASKS = {
    "sample": method("sample(self, rng, n, length)"),
    "sample, deep": method("sample(self, rng, n, length)", "return super().sample(rng, -5, 'x')"),
    "counterfactual": method("counterfactual(self, batch, rng)"),
    "post_init": method("__post_init__(self)"),
    "symbols": "@property\n    " + method("symbols(self)"),
    "exit": method("sample(self, rng, n, length)", "raise SystemExit(0)"),
    "recursion": method("sample(self, rng, n, length)", "return self.sample(rng, n, length)"),
    "no batch": method("sample(self, rng, n, length)", "return None"),
    "params": "@property\n    " + method("params(self)", "return {'x': object()}"),
}
CARDS = {
    "version": ("version=1", "version='one'"),
    "negative version": ("version=1", "version=-1"),
    "mechanisms": ("mechanisms=()", "mechanisms=3"),
    "reference": ("class Toy(Parity)", "class Toy(Card)"),
}
MODELS = {
    "post_init": method("__post_init__(self)"),
    "identity": method("identity(self)"),
    "encode": method("encode(self, task)"),
    "recipe": "@property\n    " + method("recipe(self)"),
    "args": "@property\n    " + method("args(self)", "return 3"),
}


def said(folder: Path, capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Return the one sentence that a command ends with."""
    assert main([*argv, "--include-path", str(folder)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "\x1b" not in printed.err
    assert "Traceback" not in printed.err
    return printed.err


@pytest.mark.parametrize("name", TASKS)
def test_of_a_task(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = TASK.replace("# BODY", TASKS[name])
    (tmp_path / "toy.py").write_text(text)
    err = said(tmp_path, capsys, "run", "-m", "gru", "-t", "local/toy", "-j", "1", "--dry-run")
    assert re.search(r"toy\.py:\d+", err)
    if LOUD in TASKS[name]:
        line = text[: text.index(LOUD)].count("\n") + 1
        assert f"toy.py:{line} raised ZeroDivisionError: first second \\x1b[31m." in err


@pytest.mark.parametrize("name", CARDS)
def test_of_a_card(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "toy.py").write_text(TASK.replace(*CARDS[name]).replace("# BODY", ""))
    err = said(tmp_path, capsys, "run", "-m", "gru", "-t", "local/toy", "-j", "1", "--dry-run")
    assert re.search(r"toy\.py:\d+", err)


@pytest.mark.parametrize("name", MODELS)
def test_of_a_model(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = MODEL.replace("# BODY", MODELS[name])
    (tmp_path / "toy.py").write_text(text)
    err = said(tmp_path, capsys, "run", "-m", "local/toy", "-t", "parity", "-j", "1", "--dry-run")
    assert re.search(r"toy\.py:\d+", err)


@pytest.mark.parametrize(
    ("body", "argv"),
    [
        (method("mixer(self, layer)"), ("ls", "sites", "local/toy")),
        (method("__post_init__(self)"), ("show", "model", "local/toy")),
        (method("build(self, encoding, *, seed)"), ("validate", "local/toy")),
    ],
)
def test_of_other_commands(
    body: str, argv: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toy.py").write_text(MODEL.replace("# BODY", body))
    assert re.search(r"toy\.py:\d+ raised ZeroDivisionError", said(tmp_path, capsys, *argv))


def test_of_a_task_that_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "toy.py").write_text(TASK.replace("# BODY", TASKS["sample"]))
    err = said(tmp_path, capsys, "show", "task", "local/toy")
    assert re.search(r"toy\.py:\d+ raised ZeroDivisionError", err)


def test_of_a_task_that_ends_the_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toy.py").write_text(TASK.replace("# BODY", TASKS["exit"]))
    err = said(tmp_path, capsys, "show", "task", "local/toy")
    assert re.search(r"toy\.py:\d+ raised SystemExit: 0", err)


def test_of_a_contract_that_is_broken_without_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toy.py").write_text(
        MODEL.replace("# BODY", method("mixer(self, layer)", "return None"))
    )
    err = said(tmp_path, capsys, "ls", "sites", "local/toy")
    assert re.search(r"declared in \S*toy\.py cannot be used \(AttributeError.*\.py:\d+\)", err)


def test_from_python_the_cause_is_kept(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(TASK.replace("# BODY", TASKS["sample"]))
    with pytest.raises(ContractError, match=r"toy\.py:\d+ raised ZeroDivisionError") as caught:
        mecheval.evaluate("gru", "local/toy", include_path=[tmp_path])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_error_of_ours_is_not_put_down_to_a_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of this package keeps its traceback."""
    from mecheval.harness import plan

    def broken(*_: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(plan, "model_label", broken)
    with pytest.raises(ZeroDivisionError, match="ours"):
        main(["run", "-m", "gru", "-t", "parity", "-j", "1", "--dry-run"])


BEHAVIOUR = TASK.replace("mechanisms=()", 'mechanisms=(), behaviour=Metric("METRIC")')


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [("recovery", "of the family 'intervention' and cannot say whether"), ("nothing", "Unknown")],
)
def test_a_behaviour_that_is_none_is_refused_by_validate_and_run(
    metric: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toy.py").write_text(BEHAVIOUR.replace("METRIC", metric))
    err = said(tmp_path, capsys, "run", "-m", "gru", "-t", "local/toy", "-j", "1", "--dry-run")
    assert sentence in err
    assert main(["validate", "local/toy", "-I", str(tmp_path)]) == 1
    assert sentence in capsys.readouterr().out
