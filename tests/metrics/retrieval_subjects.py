"""Models on tasks of retrieval: planted, random, and trained for a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from measured import measured
from torch.nn import functional

import mecheval
from mecheval.metrics import Subject
from mecheval.models.load import resolve
from mecheval.registry import Registry
from mecheval.spec import parse_spec
from mecheval.tasks.batch import UNSCORED

if TYPE_CHECKING:
    from mecheval.reports.schema import MetricResult

RECALL = "ar[keys=12,values=12,pairs=6]"


def planted(model: str, task: str, **fields: Any) -> Subject:
    """Build a model by its name, with planted or random weights."""
    loaded, source = mecheval.load_task(task), resolve(parse_spec(model), Registry())
    encoding = source.encode(loaded)
    built = source.build(encoding, seed=0).eval()
    given = {
        "model": built, "task": loaded, "encoding": encoding, "seed": 0, "learned": True,
        "limit": 64, "batch_size": 128, "untrained": lambda: built,
    }  # fmt: skip
    return Subject(**{**given, **fields})


def trained(model: str, task: str, *, steps: int, rate: float = 1e-2) -> Subject:
    """Train a model by AdamW on batches of 32, all from the training split."""
    subject = planted(model, task, learned=None)
    net, rng = subject.model.train(), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    length, code_C = subject.task.max_length, subject.encoding.code_C
    for _ in range(steps):
        batch = subject.task.sample_split(rng, 32, length, "train").recoded(code_C)
        logits_BTC = net(torch.as_tensor(batch.tokens_BT))
        targets_BT = torch.as_tensor(batch.targets_BT)
        loss = functional.cross_entropy(
            logits_BTC.flatten(0, 1), targets_BT.flatten(), ignore_index=UNSCORED
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    net.eval()
    return subject


def results(subject: Subject, metric: str, **params: Any) -> dict[str, MetricResult]:
    """Measure a metric; the results by id."""
    return {result.id: result for result in measured(metric, subject, **params)}
