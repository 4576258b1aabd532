from __future__ import annotations

import numpy as np
import pytest

from mecheval.errors import UsageError
from mecheval.metrics.accuracy import last_accuracy, sequence_accuracy, token_accuracy

PREDICTIONS = np.array([[1, 2, 3], [1, 2, 3], [7, 7, 7], [1, 1, 1]])
TARGETS = np.array([[-100, 2, 3], [-100, 9, 3], [-100, -100, -100], [1, 2, -100]])


def test_accuracies_by_hand() -> None:
    assert token_accuracy(PREDICTIONS, TARGETS) == pytest.approx(4 / 6)
    assert last_accuracy(PREDICTIONS, TARGETS) == pytest.approx(2 / 3)
    assert sequence_accuracy(PREDICTIONS, TARGETS) == pytest.approx(1 / 3)


@pytest.mark.parametrize("accuracy", [token_accuracy, last_accuracy, sequence_accuracy])
def test_nothing_scored_is_one_sentence(accuracy) -> None:
    with pytest.raises(UsageError, match="No position is scored"):
        accuracy(PREDICTIONS[2:3], TARGETS[2:3])
