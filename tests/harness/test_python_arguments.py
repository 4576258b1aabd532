"""Arguments of the wrong kind get one sentence, before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mecheval
from mecheval.errors import UsageError
from mecheval.harness.python_arguments import Arguments, checked_arguments

if TYPE_CHECKING:
    from pathlib import Path

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"cache": 3}, "cache is 3; it should be a path"),
    ({"cache": True}, "cache is True; it should be a path"),
    ({"output": 3}, "output is 3; it should be a path"),
    ({"seeds": 3}, "seeds is 3; it should be a list"),
    ({"seeds": "12"}, "seeds is '12'; it should be a list"),
    ({"seeds": [0, "a"]}, r"seeds\[1\] is 'a'; it should be a whole number"),
    ({"seeds": [-1]}, r"seeds\[0\] is -1; it should be at least 0"),
    ({"seeds": [True]}, r"seeds\[0\] is True; it should be a whole number"),
    ({"threads": "2"}, "threads is '2'; it should be a whole number"),
    ({"threads": True}, "threads is True; it should be a whole number"),
    ({"batch_size": None}, "batch_size is None; it should be a whole number"),
    ({"ensemble": "auto"}, "ensemble is 'auto'; it should be a whole number"),
    ({"overwrite": "no"}, "overwrite is 'no'; it should be true or false"),
    ({"trust_remote_code": 1}, "trust_remote_code is 1; it should be true or false"),
    ({"progress": None}, "progress is None; it should be true or false"),
    ({"jobs": 0}, "jobs is 0; it should be at least 1"),
    ({"device": None}, "device is None; it should be text"),
    ({"command": "x"}, "command is 'x'; it should be a list"),
    ({"include_paths": ["a"]}, "Unknown argument 'include_paths'.*Did you mean 'include_path'"),
    ({"casche": "a"}, "Unknown argument 'casche'.*Did you mean 'cache'"),
]
OF_EVALUATE: list[tuple[dict[str, Any], str]] = [
    ({"recipe": 3}, "recipe is 3; it should be a dictionary"),
    ({"sweep": ["lr"]}, r"sweep is \['lr'\]; it should be a dictionary"),
    ({"limit": "x"}, "limit is 'x'; it should be a whole number"),
    ({"snapshots": [1]}, r"snapshots is \[1\]; it should be a whole number"),
    ({"dtype": 3}, "dtype is 3; it should be text"),
    ({"size": 1}, "size is 1; it should be text"),
    ({"include_path": 3}, "include_path is 3; it should be a list"),
    ({"metrics": 3}, "3 is no metric"),
    ({"metrics": [None]}, "None is no metric"),
    ({"tasks": 3}, "3 is not a task"),
    ({"models": None}, "A NoneType is not a model"),
    ({"models": ("gru", 3)}, "A tuple is not a model"),
    ({"sweep": {"lr": 1e-3}}, "lr"),
    ({"recipe": {"steps": "x"}}, "steps"),
    ({"recipe": {3: 4}}, "3"),
]


@pytest.mark.parametrize(("given", "said"), [*WRONG, *OF_EVALUATE])
def test_evaluate_says_what_is_wrong(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        mecheval.evaluate(**{"models": "gru", "tasks": "parity", "limit": 16, **given})


@pytest.mark.parametrize(("given", "said"), [*WRONG, ({"name": 3}, "3 is not the name of a suite")])
def test_evaluate_suite_says_what_is_wrong(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        mecheval.evaluate_suite(**{"name": "demo", **given})


def test_texts_and_numbers_of_other_libraries_are_taken(tmp_path: Path) -> None:
    checked = checked_arguments(
        "f", {"seeds": np.arange(2), "limit": np.int64(3), "include_path": "a", "cache": "~/b"}
    )
    assert checked.seeds == (0, 1)
    assert checked.limit == 3
    assert [str(path) for path in checked.include_path] == ["a"]
    assert checked.cache is not None
    assert checked.cache.is_absolute()
    (report,) = mecheval.evaluate(
        "gru[width=16]", ("parity",), seeds=range(1), limit=16, recipe={"steps": 2},
        metrics=["behaviour"], cache=str(tmp_path / "cache"), output=str(tmp_path / "out"),
    )  # fmt: skip
    assert report.status == "success"
    assert (tmp_path / "cache" / "checkpoints").is_dir()


def test_every_setting_is_an_argument() -> None:
    from mecheval.harness.request import Settings

    known = set(Arguments.model_fields) | {"include_paths"}
    assert set(Settings.__dataclass_fields__) <= known


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (([], ["parity"]), "no model"),
        ((["gru"], []), "no task"),
        ((["gru"], ["parity"], []), "no seed"),
    ],
)
def test_nothing_to_measure_is_refused(given: tuple[list[Any], ...], said: str) -> None:
    with pytest.raises(UsageError, match=f"There is {said} to measure. Give at least one."):
        mecheval.evaluate(*given)
