"""The examples in the docstrings of what users call are run, and print what they say.

Everything that the engine exports has one.
"""

from __future__ import annotations

import doctest
import warnings
from types import ModuleType
from typing import Any

import pytest

import mecheval
from mecheval import interventions
from mecheval.likeness.representations import Moments

WITHOUT = {"Edit": "a type"}
"""What the engine exports without an example, and why."""

EXPORTED = [
    value for name, value in vars(interventions).items()
    if name[0] != "_" and name not in WITHOUT and not isinstance(value, ModuleType)
]  # fmt: skip
CALLED = [
    *EXPORTED,
    *(getattr(mecheval, name) for name in (
        "compare", "compare_features", "compare_representations", "evaluate", "load_model",
        "load_pairs", "load_results", "load_task", "similarity", "train_dictionary", "wrap",
    )),
    mecheval.Dictionary,
    Moments,
    mecheval.SequenceModel.state,
    mecheval.SequenceModel.continued,
]  # fmt: skip


def test_the_engine_is_what_users_are_shown() -> None:
    names = {called.__name__ for called in EXPORTED}
    assert {"recovery_grid", "ablation_grid", "gradient_guess", "trace", "naturalness"} <= names
    assert set(WITHOUT) <= set(vars(interventions))


@pytest.mark.parametrize("called", CALLED, ids=lambda called: called.__qualname__)
def test_the_example_works(called: Any) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    found = [
        test for test in doctest.DocTestFinder(recurse=False).find(called, globs={})
        if test.examples
    ]  # fmt: skip
    assert len(found) == 1, "it has no example"
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        failed, _ = runner.run(found[0], out=said.append)
    assert not failed, "".join(said)
