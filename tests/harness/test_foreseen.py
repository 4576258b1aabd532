"""What would fail in the middle of a cell is refused, or noted, before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hf_families import build

import mecheval
from mecheval.cli import main
from mecheval.errors import UsageError
from mecheval.harness.plan import plan
from mecheval.harness.request import Request
from mecheval.models.module_source import ModuleSource
from mecheval.spec import parse_spec, split_list

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mecheval.models.contract import ModelSource
    from mecheval.tasks import Task

LEARNED = "transformer[layers=1,width=8,heads=1,positions=learned,context={}]"
HYBRID = "hybrid[layers=1,width=8,pattern=gru,positions=learned,context={}]"


def request(model: str | ModelSource = "lstm", task: str = "parity", **changes: Any) -> Request:
    chosen = changes.pop("metrics", None)
    return Request(
        models=(parse_spec(model) if isinstance(model, str) else model,),
        tasks=(parse_spec(task),),
        metrics=None if chosen is None else tuple(map(parse_spec, split_list(chosen))),
        **changes,
    )


def refusal(*given: Any, **changes: Any) -> str:
    with pytest.raises(UsageError) as caught:
        plan(request(*given, **changes))
    assert caught.value.exit_code == 2
    return str(caught.value)


def notes(*given: Any, **changes: Any) -> str:
    return " ".join(plan(request(*given, **changes))[0].notes)


def in_memory(positions: int) -> ModelSource:
    """Return a module of transformers in memory that takes so many positions."""
    return ModuleSource(mecheval.wrap(build("gpt2", n_positions=positions)))


@pytest.mark.parametrize(
    "of_context", [LEARNED.format, HYBRID.format, in_memory], ids=["learned", "hybrid", "module"]
)
def test_a_context_that_is_shorter_than_the_task(of_context: Any) -> None:
    assert plan(request(of_context(17)))
    said = refusal(of_context(16))
    assert "takes at most 16 positions, and task 'parity' needs 17" in said


def test_the_context_of_a_checkpoint_is_that_of_its_configuration() -> None:
    model = "pythia-70m[weights=random]"
    untrained = {"recipe": {"steps": 0}, "metrics": "behaviour"}
    assert plan(request(model, "parity[min_length=2047,max_length=2047,longer=[]]", **untrained))
    said = refusal(model, "parity[min_length=2048,max_length=2048,longer=[]]", **untrained)
    assert "takes at most 2048 positions, and task 'parity' needs 2049" in said


def test_validation_at_longer_words_than_the_context_allows() -> None:
    model = LEARNED.format(32)
    said = refusal(model, recipe={"stop_length": 2})
    assert "stop_length=2, so validation needs 33 positions" in said
    assert plan(request(model, recipe={"stop_length": 2, "steps": 0}))
    assert plan(request(LEARNED.format(33), recipe={"stop_length": 2}))


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ("parity[min_length=4,max_length=4]",
         "too few sequences of 4 symbols for its test split. Raise max_length."),
        ("parity[noop_rate=0]", "too few sequences of 16 symbols for its test split"),
        ("flipflop[min_length=2,max_length=2,read_rate=0.3]", "too few sequences of 2 symbols"),
        ("dyck[min_length=3,max_length=3]", "yields too few pairs of 3 symbols"),
        ("brackets[kilobytes=1]", "Give it more kilobytes"),
    ],
)  # fmt: skip
def test_a_length_without_examples(task: str, sentence: str) -> None:
    assert sentence in refusal(task=task)


@pytest.mark.parametrize(
    ("length", "split", "recipe", "is_asked"),
    [
        (5, "train", {}, True),
        (2, "train", {}, False),
        (8, "validation", {}, True),
        (16, "validation", {"stop_length": 2}, True),
        (16, "validation", {}, False),
        (2, "train", {"curriculum": [0.25, 1]}, True),
        (2, "validation", {"curriculum": [0.25, 1]}, True),
        (5, "train", {"steps": 0}, False),
        (16, "test", {}, True),
        (32, "test", {"steps": 0}, True),
    ],
)
def test_every_length_that_a_cell_may_draw_is_looked_for(
    length: int, split: str, recipe: dict[str, Any], is_asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_a_gap(task: Task, rng: Any, n: int, *, length: int, split: str) -> None:
        if (length, split) == gap:
            raise UsageError(f"no {split} of {length}. Raise it.")

    gap = (length, split)
    monkeypatch.setattr("mecheval.harness.foreseen.draw", with_a_gap)
    given = request(task="parity[min_length=3,max_length=8]", recipe=recipe)
    if is_asked:
        with pytest.raises(UsageError, match=f"no {split} of {length}"):
            plan(given)
    else:
        assert plan(given)


def test_rare_examples_are_found_by_drawing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def seldom(task: Task, rng: Any, n: int, *, length: int, split: str) -> None:
        drawn.append(n)
        if n == 1:
            raise UsageError("none.")

    monkeypatch.setattr("mecheval.harness.foreseen.draw", seldom)
    assert plan(request(task="parity[longer=[]]", recipe={"steps": 0}))
    assert drawn == [1, 128]


def test_every_recipe_of_a_sweep_is_looked_at() -> None:
    assert plan(request(sweep={"lr": [1e-3, 3e-3]}))
    said = refusal(sweep={"curriculum": [[1.0], [0.1, 1.0]]})
    assert "2 symbols" in said
    assert said.endswith("stage with 0.1 of the task's length. Give it larger shares.")


@pytest.mark.parametrize(("task", "shortest"), [("ar", 7), ("atr", 8), ("induction", 4)])
def test_a_stage_below_the_shortest_sequences(task: str, shortest: int) -> None:
    said = refusal(task=task, recipe={"curriculum": [0.01, 1.0]})
    assert f"no sequences of 1 symbols: the shortest have {shortest}, and" in said


def test_pairs_of_the_kinds_that_metrics_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def keep(task: Task, rng: Any, n: int, *, length: int, kind: str) -> None:
        asked.append(kind)

    monkeypatch.setattr("mecheval.harness.foreseen.draw_pairs", keep)
    for metrics, kinds in (("behaviour", ["value"]), ("mechanism", ["value", "key"])):
        asked.clear()
        assert plan(request(task="induction", metrics=metrics))
        assert asked == kinds


def test_more_symbols_than_token_ids() -> None:
    said = refusal("pythia-70m[weights=random]", "ar[keys=60000,values=60000]")
    assert "has 120002 symbols" in said
    assert "only 50304 token ids" in said


@pytest.mark.parametrize(
    ("metrics", "limit", "noted"),
    [
        ("recovery", None, ""),
        ("recovery", 8, ""),
        ("recovery", 7, "null, there are 7 of the 8 pairs that are needed: a higher limit on"),
        ("recovery[n_pairs=1]", 8,
         "null, there is 1 of the 8 pairs that are needed: n_pairs gives more"),
        ("readability,bottleneck", 19,
         "readability, bottleneck of lstm on parity: null, there are 19 of the 20 training"),
        ("horizon[n_fit=4]", None, "n_fit gives more"),
        ("readability,bottleneck,horizon", 20, ""),
    ],
)  # fmt: skip
def test_too_few_examples_are_noted(metrics: str, limit: int | None, noted: str) -> None:
    said = notes(metrics=metrics, limit=limit)
    assert noted in said
    assert bool(said) == bool(noted)


def test_a_context_too_short_for_the_length_of_a_metric_is_noted() -> None:
    asked = "bottleneck[length=2],exchange[length=4],readability"
    assert not notes(LEARNED.format(65), metrics=asked)
    said = notes(LEARNED.format(33), metrics=asked)
    assert "exchange[length=4] of transformer on parity: null, the model takes at most 33" in said
    assert "bottleneck" not in said


@pytest.mark.parametrize(
    "given",
    [
        ["-m", LEARNED.format(9), "-t", "parity"],
        ["-m", "gru", "-t", "dyck[min_length=3,max_length=3]"],
        ["-m", "gru", "-t", "parity", "-r", "curriculum=[0.1,1]"],
    ],
)
def test_nothing_is_begun(
    given: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for more in ([], ["--dry-run"]):
        assert main(["run", *given, "--device", "cpu", "--jobs", "1", *more]) == 2
        said = capsys.readouterr().err
        assert said.startswith("mecheval: ")
        assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_dry_run_says_what_will_be_null(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["-m", "gru", "-t", "parity", "--metrics", "recovery", "--limit", "4"]
    assert main(["run", *asked, "--device", "cpu", "--dry-run"]) == 0
    note, counted = capsys.readouterr().err.splitlines()
    assert note.startswith("Note: recovery of gru on parity: null, there are 4 of the 8 pairs")
    assert counted == "0 cells are already there, 1 to do"
