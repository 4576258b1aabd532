"""Logits exist only where they are read, whatever the size of the vocabulary.

Shape suffixes: none; sizes are bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import memory_of
import pytest
import torch
from crossings import mostly_slow
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mecheval.metrics.intervention.shares import Restored
from mecheval.models import logits

KINDS = ("attention", "mamba", "llama")
VOCABULARY, BATCH = 2003, 64  # a number of logits that nothing else has
ROWS = 2 * logits.FEWEST
"""Rows of logits that may exist at once, here."""

CHECKED = 2 * 65
"""Rows of the two examples that causality is checked on before anything is patched."""

MORE = {
    "behaviour": ROWS,
    "exchange": ROWS,
    "validation": ROWS,
    "checks": 4 * 12,
    "fidelity": CHECKED,
}
"""Most rows of logits: all of a few tokens are compared where a model's contract is checked."""

NONE = ("readability", "bottleneck")
"""What reads no logits, or only those of answers."""

CASES = [
    *(("llama", name) for name in memory_of.measurements("llama")),
    *(("mamba", name) for name in ("convolution", "mechanism", "write_offset")),
    *(("attention", name) for name in ("behaviour", "induction_circuit", "grid/tails")),
]
LONG = [("mamba", "mechanism"), ("llama", "mechanism"), ("mamba", "convolution")]
QUICK = [case for case in CASES if case not in LONG]
"""Without what puts several of the others together."""


class Largest(TorchDispatchMode):
    """Notes the most rows of logits in one tensor, whatever its type."""

    rows = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if isinstance(output, Tensor) and output.shape[-1:] == (VOCABULARY,):
            self.rows = max(self.rows, output.numel() // VOCABULARY)
        return output


@pytest.mark.parametrize(("kind", "measurement"), mostly_slow(CASES, always=QUICK))
def test_no_measurement_makes_logits_that_it_does_not_read(
    kind: str, measurement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logits, "BYTES", ROWS * VOCABULARY * 4)
    monkeypatch.setattr(memory_of, "BATCH", BATCH)
    monkeypatch.setattr(Restored, "no_gap", lambda self, least: None)
    for name, (task, params) in memory_of.METRICS.items():
        fewer = {key: min(BATCH, n) if isinstance(n, int) else n for key, n in params.items()}
        monkeypatch.setitem(memory_of.METRICS, name, (task, fewer))
    model = memory_of.built(kind, VOCABULARY)
    with Largest() as largest:
        memory_of.take(model, measurement)
    assert largest.rows <= MORE.get(measurement, CHECKED)
    assert largest.rows or measurement in NONE


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_the_same_bits_in_blocks(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = memory_of.built(kind, VOCABULARY).eval()
    tokens_BT = torch.arange(8 * 9).view(8, 9) % VOCABULARY
    answers_A, read_BT = torch.tensor([5, 0, 1999]), tokens_BT % 3 > 0
    with torch.inference_mode():
        wanted_BTC = model(tokens_BT)
        monkeypatch.setattr(logits, "BYTES", 0)
        made_BTA = model.answer_logits(tokens_BT, answers_A)
        some_BTA = model.answer_logits(tokens_BT, answers_A, read_BT)
        at_BPC = model.logits_at(tokens_BT, torch.tensor([[8, 0, 3]]).expand(8, -1))
        none_BPC = model.logits_at(tokens_BT, tokens_BT[:, :0])
        parts = list(logits.of_run(model, tokens_BT))
    assert torch.equal(made_BTA, wanted_BTC[..., answers_A])
    assert torch.equal(some_BTA[read_BT], wanted_BTC[..., answers_A][read_BT])
    assert torch.equal(at_BPC, wanted_BTC[:, [8, 0, 3]])
    assert none_BPC.shape == (8, 0, VOCABULARY)
    assert len(parts) == 9
    assert torch.equal(torch.cat(parts, 1), wanted_BTC)


def test_blocks_cover_all_rows_and_none_is_small() -> None:
    for n_rows in (1, 16, 33, 1000, 4097):
        found = list(logits.blocks(n_rows, vocab_size=1 << 20, element_size=4))
        assert [row for block in found for row in range(n_rows)[block]] == list(range(n_rows))
        assert all(block.stop - block.start >= min(n_rows, logits.FEWEST) for block in found)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="it is Linux that counts")
@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_of_262144_stays_below_a_gigabyte(kind: str) -> None:
    names = memory_of.measurements(kind)
    done = subprocess.run(
        [sys.executable, memory_of.__file__, kind, *names],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    taken = {}
    for line in done.stdout.splitlines():
        taken |= json.loads(line)
    assert list(taken) == names
    assert {name: size for name, size in taken.items() if size > 1e9} == {}
