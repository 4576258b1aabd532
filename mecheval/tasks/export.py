"""A task as a Hugging Face ``DatasetDict``: typed features, and the card in its info."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval.seeding import stream
from mecheval.tasks.batch import UNDEFINED, UNSCORED
from mecheval.tasks.splits import Split, draw

if TYPE_CHECKING:
    import datasets

    from mecheval.tasks.batch import Batch
    from mecheval.tasks.contract import Task


def to_datasets(
    task: Task, *, n_train: int = 4096, n_test: int = 1024, seed: int = 0
) -> datasets.DatasetDict:
    """Draw a task's splits as data sets that can be saved or pushed.

    Every row holds ``tokens`` and ``targets`` (class labels named after the symbols),
    ``variables`` (whole numbers, by name) and ``roles`` (positions, by name). Position 0 is BOS. A
    target that is not scored is -100, and a variable where it has no value is -1. Rows of ``train``
    have all lengths that training may have, each equally often; all others have one.

    Args:
        task: The configured task.
        n_train: Rows of ``train``.
        n_test: Rows of ``validation``, ``test`` and the longer tests ``test_2x``, ``test_4x``.
        seed: Decides the examples.

    Raises:
        ContractError: The task has too few different sequences for a split.
    """
    import datasets

    info = datasets.DatasetInfo(
        description=_description(task, seed),
        citation=task.card.reference,
        license="apache-2.0",
        features=_features(task),
        version=f"{task.card.version}.0.0",
    )
    found: dict[str, datasets.Dataset] = {}
    for name, (split, n, lengths) in _plan(task, n_train, n_test).items():
        rng = stream(seed, "datasets", name)
        found[name] = datasets.Dataset.from_list(
            _drawn(task, rng, n, lengths, split),
            info=info.copy(),
            split=datasets.NamedSplit(name),
        )
    return datasets.DatasetDict(found)  # pyright: ignore[reportArgumentType, reportCallIssue]


def _plan(task: Task, n_train: int, n_test: int) -> dict[str, tuple[Split, int, range]]:
    """Return split, number of rows and numbers of symbols by the name of the data set."""

    def only(length: int) -> range:
        return range(length, length + 1)

    plan: dict[str, tuple[Split, int, range]] = {
        "train": ("train", n_train, range(task.min_length, task.max_length + 1)),
        "validation": ("validation", n_test, only(task.max_length)),
    }
    for factor, length in task.test_lengths.items():
        plan["test" if factor == "1x" else f"test_{factor}"] = ("test", n_test, only(length))
    return plan


def _drawn(
    task: Task, rng: np.random.Generator, n: int, lengths: range, split: Split
) -> list[dict[str, Any]]:
    """Draw rows of all lengths, in random order where there are several."""
    if len(lengths) == 1:
        return _rows(draw(task, rng, n, length=lengths[0], split=split))
    counts = rng.multinomial(n, np.full(len(lengths), 1 / len(lengths)))
    rows = [
        row
        for length, count in zip(lengths, counts.tolist(), strict=True)
        for row in _rows(draw(task, rng, count, length=length, split=split))
    ]
    return [rows[place] for place in rng.permutation(n)]


def _features(task: Task) -> datasets.Features:
    import datasets

    def per_position(feature: Any) -> Any:
        return datasets.Sequence(feature)

    whole = datasets.Value("int32")
    symbols = datasets.ClassLabel(names=list(task.symbols))
    roles = task.sample(stream(0, "datasets"), 1, task.max_length).roles
    return datasets.Features(
        {
            "tokens": per_position(symbols),
            "targets": per_position(symbols),
            "variables": {name: per_position(whole) for name in task.variables},
            "roles": dict.fromkeys(roles, whole),
        }
    )


def _rows(batch: Batch) -> list[dict[str, Any]]:
    return [
        {
            "tokens": batch.tokens_BT[row].tolist(),
            "targets": batch.targets_BT[row].tolist(),
            "variables": {name: values[row].tolist() for name, values in batch.variables.items()},
            "roles": {name: int(values[row]) for name, values in batch.roles.items()},
        }
        for row in range(len(batch))
    ]


def _description(task: Task, seed: int) -> str:
    params = json.dumps(task.params, sort_keys=True)
    answers = ", ".join(task.symbols[answer] for answer in task.answers)
    return (
        f"{task.card.summary}\n\nmecheval task {task.card.name}, version {task.card.version}, "
        f"parameters {params}, seed {seed}. Answers: {answers}. A uniform guess is right "
        f"{task.chance:.4f} of the time. Targets of {UNSCORED} are not scored; variables of "
        f"{UNDEFINED} have no value."
    )
