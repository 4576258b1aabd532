"""Load tasks and models by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mecheval.harness.building import build_source, build_task
from mecheval.harness.request import Settings
from mecheval.harness.users_code import said_in_a_sentence
from mecheval.registry import Registry
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from mecheval.models.contract import SequenceModel
    from mecheval.tasks.contract import Task


def load_task(spec: str, *, include_path: Sequence[Path | str] = ()) -> Task:
    """Return a task by name, such as ``"dyck[k=3,m=6]"``.

    Raises:
        UsageError: The name or an argument is unknown.

    Examples:
        >>> import mecheval
        >>> mecheval.load_task("dyck[k=3,m=6]").params["k"]
        3
    """
    with said_in_a_sentence():
        return build_task(parse_spec(spec), Registry(tuple(map(Path, include_path))))


def load_model(
    spec: str | nn.Module,
    *,
    task: Task | str | None = None,
    vocab_size: int = 256,
    seed: int = 0,
    include_path: Sequence[Path | str] = (),
) -> SequenceModel:
    """Return a model by name before any training on a task, in float32 and evaluation mode.

    A checkpoint that is stored in float64 stays in it.

    Args:
        spec: A registered name, ``hf:REPO`` or ``hf:DIRECTORY``, with arguments; a module in memory
            becomes a model as by :func:`mecheval.wrap`, in its own type of number.
        task: Gives the vocabulary.
        vocab_size: Number of token ids without a task; checkpoints have their own.
        seed: Decides weights that are drawn.
        include_path: Files and folders of local models.

    Raises:
        UsageError: The name, an argument or a checkpoint is not there, or the model not causal.

    Examples:
        >>> import mecheval, torch
        >>> model = mecheval.load_model("deltanet[layers=2,width=16]", task="parity")
        >>> model.n_layers, model.vocab_size, model(torch.tensor([[0, 1, 2]])).shape
        (2, 3, torch.Size([1, 3, 3]))
    """
    from mecheval.models.admission import admit
    from mecheval.models.contract import Encoding
    from mecheval.models.wrapping import as_model

    if not isinstance(spec, str):
        return as_model(spec).eval()
    registry = Registry(tuple(map(Path, include_path)))
    with said_in_a_sentence():
        source = build_source(parse_spec(spec), registry, Settings())
        if task is not None:
            encoding = source.encode(load_task(task) if isinstance(task, str) else task)
        else:
            encoding = Encoding(np.arange(vocab_size), vocab_size)
        return admit(source.build(encoding, seed=seed), name=spec).eval()
