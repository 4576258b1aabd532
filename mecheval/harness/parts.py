"""The parts of a report that describe what was measured, rather than how well it did.

Shape suffixes: ``B`` examples, ``T`` positions, ``C`` vocabulary or symbols.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from mecheval.harness.ceilings import ceiling_of
from mecheval.interventions import Execution, Interchange, engine_of
from mecheval.interventions.base_runs import checked_runs
from mecheval.models import logits
from mecheval.models.hooks import visiting
from mecheval.reports.schema import DataPart, Fidelity, ModelCardPart, TaskCardPart
from mecheval.tasks.floors import task_floors
from mecheval.tasks.splits import in_split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from torch import Tensor

    from mecheval.metrics import Subject
    from mecheval.models.contract import Encoding, ModelCard, SequenceModel
    from mecheval.registry import Entry
    from mecheval.tasks import Batch, Task

N_FIDELITY = 8
"""Test examples on which the wrapped model is compared with the unwrapped one."""


def task_card(task: Task, seed: int, *, cache: Path) -> TaskCardPart:
    """Return the task in words and numbers, with its floors, and its ceiling if it has one."""
    ceiling = ceiling_of(task, cache)
    return TaskCardPart(
        summary=task.card.summary,
        reference=task.card.reference,
        chance=task.chance,
        vocab_size=len(task.symbols),
        test_lengths=task.test_lengths,
        variables=dict(task.variables),
        floors=dict(task_floors(task, seed).answer.accuracy),
        ceiling=ceiling and ceiling[0],
        ceiling_interval=ceiling and ceiling[1:],
    )


def model_card(card: ModelCard, model: SequenceModel) -> ModelCardPart:
    """Return the model in words and numbers."""
    return ModelCardPart(
        summary=card.summary,
        architecture=card.architecture,
        reference=card.reference,
        license=card.license,
        n_params=sum(parameter.numel() for parameter in model.parameters()),
        n_layers=model.n_layers,
        d_model=model.d_model,
        context_limit=model.context_limit,
        kernels=list(model.kernels),
    )


def data(subject: Subject, *, n_test: int, n_pairs: int) -> DataPart:
    """Hash the test examples and pairs as the task's symbols, so that models can be compared."""
    test = subject.test(subject.task.max_length, n_test)
    pairs = subject.pairs(n_pairs, subject.task.max_length)
    test_BT = _symbols(test.tokens_BT, subject.encoding)
    return DataPart(
        test_sha256=_sha256([test], subject.encoding),
        pairs_sha256=_sha256([pairs.clean, pairs.corrupted], subject.encoding),
        n_test=len(test),
        n_pairs=len(pairs),
        disjoint=_disjoint(subject.task, test_BT),
    )


def _disjoint(task: Task, test_BT: np.ndarray) -> bool:
    """Say whether no test example can be one of training: by its files, or by its hash."""
    return task.separate or not in_split(task.split_key(test_BT), "train").any()


def _sha256(batches: Iterable[Batch], encoding: Encoding) -> str:
    digest = hashlib.sha256()
    for batch in batches:
        scored_BT = batch.targets_BT >= 0
        targets_BT = np.where(scored_BT, batch.targets_BT, encoding.code_C[0])
        for values_BT in (batch.tokens_BT, targets_BT):
            digest.update(_symbols(values_BT, encoding).astype(np.int64).tobytes())
    return digest.hexdigest()


def _symbols(tokens_BT: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Turn token ids back into the task's symbols."""
    order_C = np.argsort(encoding.code_C)
    return order_C[np.searchsorted(encoding.code_C, tokens_BT, sorter=order_C)]


@torch.inference_mode()
def fidelity(subject: Subject) -> Fidelity:
    """Compare logits with idle hooks on and off, wrapped and unwrapped, and twice the same."""
    model = subject.model
    tokens = subject.test(subject.task.max_length, N_FIDELITY).tokens_BT
    tokens_BT = torch.as_tensor(tokens, device=model.device)
    hooks, repeat_equal = 0.0, True
    for plain_BPC, again_BPC, hooked_BPC in _logits(model, tokens_BT):
        hooks = max(hooks, _largest_difference(hooked_BPC, plain_BPC))
        repeat_equal &= torch.equal(plain_BPC, again_BPC)
    native = getattr(model, "native_difference", None)
    engine = _engine(subject)
    return Fidelity(
        engine=engine.engine,
        engine_reason=engine.reason,
        engine_difference=engine.difference,
        hooks=hooks,
        native=float(native(tokens_BT)) if native else 0.0,
        repeat_equal=repeat_equal,
    )


def _logits(model: SequenceModel, tokens_BT: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield logits as they are, a second time, and with idle hooks; at some positions at once."""
    plain, again, hooked = (logits.of_run(model, tokens_BT) for _ in range(3))
    for plain_BPC, again_BPC in zip(plain, again, strict=True):
        with visiting(dict.fromkeys(model.taps().values(), _look)):
            hooked_BPC = next(hooked)
        yield plain_BPC, again_BPC, hooked_BPC


def _engine(subject: Subject) -> Execution:
    """Say by which engine the model is patched, and how exactly."""
    if subject.model.no_blocks is not None:
        return Execution("hooks", subject.model.no_blocks, None, 0, 0, 0)
    pairs = subject.pairs(N_FIDELITY, subject.length)
    corrupted, clean = checked_runs(
        subject.model, [pairs.corrupted.tokens_BT, pairs.clean.tokens_BT],
        pairs.answers_P, pairs.foils_P, pairs.readout_P, kind="logit_difference",
    )  # fmt: skip
    return engine_of(corrupted, Interchange(clean.tokens_PT))


def _look(stream_BTD: Tensor) -> None:
    """Visit an activation and leave it as it is."""


def _largest_difference(left: Tensor, right: Tensor) -> float:
    return float((left.double() - right.double()).abs().max())


def plugin(entries: Iterable[Entry]) -> dict[str, str] | None:
    """Say where what is not built in comes from: tasks, models, metrics; None if all are."""
    from importlib.metadata import version

    found = {}
    for entry in entries:
        # A cell has one task and one model, but may have several metrics.
        name = f"metric {entry.name}" if entry.kind == "metric" else entry.kind
        if entry.distribution is not None:
            found[name] = f"{entry.distribution} {version(entry.distribution)}"
        elif not entry.module.startswith("mecheval."):
            found[name] = entry.origin
    return found or None
