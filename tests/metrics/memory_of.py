"""Prints how many bytes each measurement takes above what stood before it, as JSON.

``python memory_of.py KIND MEASUREMENT ...``: a process of its own, whose peak the system counts.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import mecheval
from mecheval.harness.parts import fidelity
from mecheval.metrics import Subject
from mecheval.metrics.intervention.shares import Restored
from mecheval.metrics.measuring import configured_metric, measure
from mecheval.models.checks import check_model
from mecheval.models.contract import Encoding
from mecheval.models.wrapped.model import WrappedModel
from mecheval.recipe import Recipe
from mecheval.registry import Registry
from mecheval.spec import Spec
from mecheval.training.loop import Trainer
from mecheval.training.validation import share_right

if TYPE_CHECKING:
    from mecheval.models.contract import SequenceModel

VOCABULARY, BATCH = 262_144, 128
RECALL, PARITY = "ar[keys=44,values=44,pairs=21,longer=[]]", "parity[max_length=64,longer=[]]"
"""Tasks with examples of 65 positions."""

PAIRS = {"n_pairs": BATCH}
PROBED = {"n_train": BATCH, "n_validation": BATCH, "n_test": BATCH}
METRICS: dict[str, tuple[str, dict[str, Any]]] = {
    "behaviour": (PARITY, {"n": BATCH}),
    "recovery": (PARITY, {**PAIRS, "components": ["block_in"]}),
    "readability": (PARITY, {**PROBED, "n_controls": 1}),
    "bottleneck": (PARITY, {**PROBED, "n_fit": BATCH, "n_erase": 32, "n_per_null": 2}),
    "exchange": (PARITY, {"n_pool": BATCH, "n_sequences": BATCH}),
    "interchange": (RECALL, PAIRS),
    "mechanism": (RECALL, PAIRS),
    "write_offset": (RECALL, PAIRS),
    "induction_circuit": (RECALL, PAIRS),
    "convolution": (RECALL, {"n": BATCH, **PAIRS}),
}


OTHERS = (
    "grid/hooks", "grid/blocks", "grid/tails", "grid/steps", "fidelity", "checks", "validation",
)  # fmt: skip


def measurements(kind: str) -> list[str]:
    """Return what can be measured of a kind of model."""
    without = {"llama": ["convolution"], "attention": ["convolution", "grid/blocks"]}
    names = [*METRICS, *OTHERS]
    return [name for name in names if name not in without.get(kind, ["grid/blocks"])]


def built(kind: str, vocabulary: int = VOCABULARY) -> SequenceModel:
    """Return a model of two layers of 32 with a large vocabulary."""
    if kind != "llama":
        return mecheval.load_model(f"{kind}[layers=2,width=32]", vocab_size=vocabulary, seed=0)
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
    )  # fmt: skip
    torch.manual_seed(0)
    return WrappedModel(LlamaForCausalLM(config).eval())


def subject_of(model: SequenceModel, spec: str) -> Subject:
    task = mecheval.load_task(spec)
    encoding = Encoding(np.arange(len(task.symbols)), model.vocab_size)
    return Subject(
        model=model, task=task, encoding=encoding, seed=0, learned=True, limit=None,
        batch_size=BATCH, untrained=lambda: model,
    )  # fmt: skip


def take(model: SequenceModel, measurement: str) -> None:
    """Take one measurement."""
    name, *how = measurement.split("/")
    if name in METRICS:
        task, params = METRICS[name]
        measure(configured_metric(Spec(name), Registry(), params), subject_of(model, task))
    elif name == "grid":
        length = subject_of(model, RECALL).length
        pairs = subject_of(model, RECALL).pairs(BATCH, length)
        mecheval.recovery_grid(
            model, pairs.clean.tokens_BT, pairs.corrupted.tokens_BT, pairs.answers_P,
            pairs.foils_P, pairs.readout_P, engine=how[0],  # type: ignore[arg-type]
            readout="log_prob", layers=[0],
            positions=[int(pairs.changed_P.min())],
            components=["cache"] if how == ["steps"] else ["block_in", "mixer_out"],
        )  # fmt: skip
    elif name == "fidelity":
        fidelity(subject_of(model, PARITY))
    elif name == "checks":
        check_model(model)
    elif name == "validation":
        subject = subject_of(model, PARITY)
        trainer = Trainer(
            model, subject.task, subject.encoding, Recipe(gate_on="token"), seed=0, device="cpu",
            emit=lambda *_: None,
        )  # fmt: skip
        share_right(trainer, trainer.data.validation(1.0).take(slice(2 * BATCH)))
    else:
        raise LookupError(name)


def in_use(what: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise LookupError(what)


if __name__ == "__main__":
    torch.set_num_threads(1)
    Restored.no_gap = lambda self, least: None  # pyright: ignore - go on with any model
    chosen = built(sys.argv[1])
    for each in sys.argv[2:]:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
        before = in_use("VmRSS")
        take(chosen, each)
        print(json.dumps({each: in_use("VmHWM") - before}), flush=True)
