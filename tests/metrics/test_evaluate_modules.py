"""The accuracies as evaluate modules: offline, combined, ragged."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mecheval.errors import UsageError
from mecheval.metrics import accuracy

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [[1, 2, 3], [1, 2], [4]]
RIGHT = [[-100, 2, 3], [1, 3], [4]]


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import evaluate

    from mecheval.metrics import evaluate_modules

    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path)
    return evaluate_modules


def test_modules_agree_with_the_arrays(modules) -> None:
    rng = np.random.default_rng(0)
    predictions = rng.integers(0, 3, (20, 6))
    references = np.where(rng.random((20, 6)) < 0.2, -100, rng.integers(0, 3, (20, 6)))
    for name in modules.MODULES:
        given = {"predictions": predictions.tolist(), "references": references.tolist()}
        expected = getattr(accuracy, name)(predictions, references)
        assert modules.load(name).compute(**given) == {name: pytest.approx(expected)}


def test_modules_combine_and_take_batches(modules) -> None:
    import evaluate

    combined = evaluate.combine([modules.load(name) for name in modules.MODULES])
    values = combined.compute(predictions=ROWS, references=RIGHT)
    assert values == {
        "token_accuracy": pytest.approx(4 / 5),
        "last_accuracy": pytest.approx(2 / 3),
        "sequence_accuracy": pytest.approx(2 / 3),
    }
    module = modules.load("token_accuracy")
    for row, right in zip(ROWS, RIGHT, strict=True):
        module.add_batch(predictions=[row], references=[right])
    assert module.compute() == {"token_accuracy": pytest.approx(4 / 5)}


def test_wrong_use_is_one_sentence(modules) -> None:
    with pytest.raises(UsageError, match="Did you mean 'token_accuracy'"):
        modules.load("token_acuracy")
    with pytest.raises(UsageError, match="differ in length"):
        modules.load("token_accuracy").compute(predictions=[[1, 2]], references=[[1]])


def test_metrics_are_light_to_import() -> None:
    heavy = "{'torch', 'transformers', 'sklearn', 'evaluate', 'datasets', 'scipy'}"
    code = f"import sys, mecheval.metrics; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
