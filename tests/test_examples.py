"""The examples in the docstrings of what users call are run, and print what they say."""

from __future__ import annotations

import doctest
import warnings
from typing import Any

import pytest

import mecheval
from mecheval import interventions

CALLED = [
    *(getattr(mecheval, name) for name in (
        "ablation_grid", "compare", "evaluate", "gradient_guess", "load_model", "load_results",
        "load_task", "recovery_grid", "trace", "wrap",
    )),
    *(getattr(interventions, name) for name in (
        "Added", "Interchange", "Mean", "Subspace", "Zero", "answer_logits",
    )),
    mecheval.SequenceModel.state,
]  # fmt: skip


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
