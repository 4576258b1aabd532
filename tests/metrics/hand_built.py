"""Networks built by hand, whose mechanism is known, and subjects made of them.

Shape suffixes: ``B`` sequences, ``T`` positions, ``D`` residual width, ``C`` vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from measured import measured
from torch import Tensor, nn

from mecheval.metrics import Subject
from mecheval.models.contract import Encoding, SequenceModel, Tap
from mecheval.models.sites import Site
from mecheval.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mecheval.reports.schema import MetricResult
    from mecheval.tasks import Task

WIDTH = 24
ONE = 2  # token of the bit 1, and the feature that says so
STATE = 8  # first of two features that hold the parity bit as one-hot
DISTRACTION = 10  # first of the features that hold nothing of interest


class Mixer(nn.Module):
    """Computes the parity of the bits before each position, and writes it at some positions."""

    def __init__(self, writes: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.writes = writes

    def forward(self, stream_BTD: Tensor) -> Tensor:
        bit_BT = (stream_BTD[..., ONE] > 0.5).long()
        return written(bit_BT.cumsum(1) % 2, self.writes(torch.arange(bit_BT.shape[1])))


class Relay(nn.Module):
    """Goes on from the parity written at one position, and reads no bit before it."""

    def __init__(self, position: int) -> None:
        super().__init__()
        self.position = position

    def forward(self, stream_BTD: Tensor) -> Tensor:
        p = self.position
        held_BT = stream_BTD[..., STATE + 1] > stream_BTD[..., STATE]
        bit_BT = (stream_BTD[..., ONE] > 0.5).long()
        tail_BT = held_BT[:, p : p + 1].long() + bit_BT[:, p + 1 :].cumsum(1)
        new_BT = torch.cat([held_BT[:, : p + 1].long(), tail_BT % 2], 1)
        # Replaces what is there: the old state is taken away.
        return written(new_BT, torch.ones(new_BT.shape[1])) - kept_state(stream_BTD)


class Block(nn.Module):
    def __init__(self, mixer: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer

    def forward(self, stream_BTD: Tensor) -> Tensor:
        return stream_BTD + self.mixer(stream_BTD)


class HandBuilt(SequenceModel):
    """A residual stack on parity's tokens: one-hot tokens, distractions, and the given mixers."""

    def __init__(self, mixers: Sequence[nn.Module], *, gain: float = 5.0) -> None:
        super().__init__()
        self.n_layers, self.d_model, self.vocab_size = len(mixers), WIDTH, 3
        self.stack = nn.ModuleList(Block(mixer) for mixer in mixers)
        self.gain = nn.Parameter(torch.tensor(gain))
        generator = torch.Generator().manual_seed(0)
        self.phase_D = 50 * torch.randn(WIDTH - DISTRACTION, generator=generator)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return list(self.stack)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        stream_BTD = torch.zeros(*tokens_BT.shape, WIDTH)
        stream_BTD[..., :3] = nn.functional.one_hot(tokens_BT, 3).float()
        # A chaotic function of the whole prefix: no variable can be read off it linearly.
        weight_T = 1.3 ** torch.arange(tokens_BT.shape[1]) % 7
        mixed_BT1 = (tokens_BT * weight_T).cumsum(1)[..., None]
        stream_BTD[..., DISTRACTION:] = torch.sin(mixed_BT1 * self.phase_D)
        for block in self.stack:
            stream_BTD = block(stream_BTD)
        logits_BTC = torch.zeros(*tokens_BT.shape, 3)
        logits_BTC[..., 1:] = self.gain * stream_BTD[..., STATE : STATE + 2]
        return logits_BTC

    def taps(self) -> Mapping[Site, Tap]:
        found = {}
        for layer, block in enumerate(self.stack):
            for component, module, side in (
                ("block_in", block, "input"),
                ("mixer_out", block.mixer, "output"),
                ("block_out", block, "output"),
            ):
                found[Site(layer, component)] = Tap(module, side, f"stack.{layer}", WIDTH)
        return found


def written(state_BT: Tensor, where_T: Tensor) -> Tensor:
    """Return the state as one-hot in its features, at some positions."""
    out_BTD = torch.zeros(*state_BT.shape, WIDTH)
    onehot_BTS = nn.functional.one_hot(state_BT, 2).float()
    out_BTD[..., STATE : STATE + 2] = onehot_BTS * where_T[None, :, None]
    return out_BTD


def kept_state(stream_BTD: Tensor) -> Tensor:
    out_BTD = torch.zeros_like(stream_BTD)
    out_BTD[..., STATE : STATE + 2] = stream_BTD[..., STATE : STATE + 2]
    return out_BTD


def never(position_T: Tensor) -> Tensor:
    return torch.zeros(len(position_T))


def always(position_T: Tensor) -> Tensor:
    return torch.ones(len(position_T))


def written_at_block(block: int, n_layers: int = 4) -> HandBuilt:
    """Return a network that writes the state at one block (from 1), and nowhere else."""
    return HandBuilt([Mixer(always if i + 1 == block else never) for i in range(n_layers)])


def spread_over_blocks(n_layers: int = 4) -> HandBuilt:
    """Return a network each of whose blocks writes the state at its share of the positions."""

    def share(i: int) -> Callable[[Tensor], Tensor]:
        return lambda position_T: (position_T % n_layers == i).float()

    return HandBuilt([Mixer(share(i)) for i in range(n_layers)])


def load_task(name: str, **params: Any) -> Task:
    return Registry().load("task", name)(**params)


def subject_of(model: SequenceModel, task: Task, **fields: Any) -> Subject:
    encoding = Encoding(np.arange(len(task.symbols)), len(task.symbols))
    given = {
        "model": model,
        "task": task,
        "encoding": encoding,
        "seed": 0,
        "learned": True,
        "limit": None,
        "batch_size": 128,
        "untrained": lambda: HandBuilt([Mixer(never) for _ in range(model.n_layers)]),
    }
    return Subject(**{**given, **fields})


def results_of(subject: Subject, metric: str, **params: Any) -> dict[str, MetricResult]:
    """Return the results by id; parameters do not become part of it."""
    return {result.id: result for result in measured(metric, subject, **params)}


SMALL_PROBES = {"n_train": 600, "n_validation": 300, "n_test": 300}
SMALL_ERASURE = {**SMALL_PROBES, "n_fit": 500, "n_erase": 64, "n_per_null": 16}
