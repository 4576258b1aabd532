"""What tells one state of a user's file from another: hashes in a cell's identity.

A file can change between the plan and the measurement. Its cell would be measured with the new file
under the name of the old one, so it is not measured.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mecheval import seeding
from mecheval.errors import UsageError
from mecheval.harness.measures import identity_of
from mecheval.own_code.importing import source_of
from mecheval.own_code.sources import source_sha256
from mecheval.spec import Spec
from mecheval.text.quoting import HUB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mecheval.harness.request import Cell
    from mecheval.metrics import Metric
    from mecheval.models.contract import ModelIdentity, ModelSource
    from mecheval.registry import Registry
    from mecheval.reports.schema import ModelPart
    from mecheval.tasks.contract import Task


def sample_sha256(task: Task) -> str | None:
    """Hash what a task is, so that one under construction is another task after each change.

    Its file is hashed, where it came from one, and what it declares and draws.

    Returns:
        The hash; for a built-in task that of the files it reads, and None where its version says
        it all.
    """
    if type(task).__module__.startswith("mecheval.builtin."):
        return task.data_sha256
    declared = (task.symbols, task.answers, dict(task.variables), task.strings, task.chance)
    declared += () if task.data_sha256 is None else (task.data_sha256,)
    digest = hashlib.sha256(f"{source_of(type(task).__module__)} {declared}".encode())
    rng = seeding.stream(0, "sample_hash")
    batch = task.sample(rng, 16, task.max_length)
    pairs = (task.counterfactual_of(kind, batch, rng) for kind in task.counterfactuals)
    for part in (batch, *pairs):
        for values in (part.tokens_BT, part.targets_BT, *part.variables.values()):
            digest.update(values.astype("int64").tobytes())
    return digest.hexdigest()


def file_sha256(spec: Spec, registry: Registry) -> str | None:
    """Hash the file of a model with the files that it imports beside it; None for built-in ones."""
    if spec.name.startswith(HUB):
        return None
    entry = registry.get("model", spec.name)
    builtin = entry.module.startswith("mecheval.")
    return None if builtin else source_sha256(entry.path, entry.module)


def check_unchanged(
    cell: Cell, source: ModelSource, task: Task, metrics: Iterable[Metric], registry: Registry
) -> None:
    """Check that the files of a cell's task, model and metrics are those that it was planned with.

    Args:
        cell: The cell.
        source: Its model, as it was found now.
        task: Its task, as it was loaded now.
        metrics: Its metrics, as they were loaded now.
        registry: Where its model is looked up.

    Raises:
        UsageError: One of them is another one.
    """
    identity = cell.identity
    model = (
        file_sha256(cell.model, registry)
        if isinstance(cell.model, Spec)
        else cell.model.identity().file_sha256
    )
    same = {
        f"task '{identity.task.name}'": sample_sha256(task) == identity.task.sample_sha256,
        f"model '{identity.model.name}'": model == identity.model.file_sha256
        and _content(source.identity()) == _content(identity.model),
    }
    # What is given as an object is not loaded again, and constants of its module may have moved on.
    given = {type(metric) for metric in cell.metrics or () if not isinstance(metric, Spec)}
    for metric, planned in zip(metrics, identity.metrics, strict=True):
        unmoved = type(metric) in given or identity_of(metric) == planned
        same[f"metric '{planned.name}'"] = unmoved
    for what, holds in same.items():
        if not holds:
            raise UsageError(
                f"The file of {what} changed after this run was planned. Run the same command "
                "again."
            )


def _content(model: ModelIdentity | ModelPart) -> tuple[str | None, str | None]:
    """Return what tells a model's files; a revision that was asked for is a commit by now."""
    return model.commit, model.weights_sha256
