"""What modules note down beside weights and cache changes no later result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from plain_modules import VOCABULARY, Recurrent
from torch import Tensor, nn

from mecheval import recovery_grid
from mecheval.errors import UsageError
from mecheval.models.checks import CHECKS, check_model
from mecheval.models.drawing import drawing
from mecheval.models.wrapped.model import WrappedModel
from mecheval.models.wrapped.recording.module_state import left_as_found

if TYPE_CHECKING:
    from mecheval.interventions import Execution

FORGETS = "the same tokens give the same logits after a longer text"
LENGTHS = (9, 16, 20, 33)
"""Within 16 positions, which the checkpoints were trained for, and beyond."""

TINY = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
SCALED = {"factor": 4.0, "original_max_position_embeddings": 16}
ROTARY: dict[str, tuple[int, dict[str, Any]]] = {
    "dynamic": (16, {"rope_type": "dynamic", "factor": 2.0}),
    "yarn": (64, {"rope_type": "yarn", **SCALED}),
    "llama3": (64, {
        "rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, **SCALED,
    }),
    "linear": (64, {"rope_type": "linear", "factor": 4.0}),
}  # fmt: skip


def rotary(kind: str) -> nn.Module:
    """Build a tiny random checkpoint with scaled rotary positions, large enough to count."""
    from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

    with drawing(3):
        if kind == "longrope":
            factors = {"short_factor": [1.0] * 4, "long_factor": [1.5, 2.0, 3.0, 4.0]}
            config = Phi3Config(
                **TINY, max_position_embeddings=64, original_max_position_embeddings=16,
                rope_scaling={"type": "longrope", **factors},
            )  # fmt: skip
            module: nn.Module = Phi3ForCausalLM(config)
        else:
            longest, scaling = ROTARY[kind]
            given = {**TINY, "max_position_embeddings": longest, "rope_scaling": dict(scaling)}
            module = LlamaForCausalLM(LlamaConfig(**given))
        for parameter in module.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.3)
    return module.eval()


def pairs(length: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(length)
    clean_PT = rng.integers(3, 61, (3, length))
    corrupted_PT = clean_PT.copy()
    corrupted_PT[:, 2] = (corrupted_PT[:, 2] - 2) % 58 + 3
    return clean_PT, corrupted_PT, *rng.integers(3, 61, (2, 3)), np.full(3, length - 1)


@pytest.mark.parametrize("kind", [*ROTARY, "longrope"])
def test_a_grid_is_that_of_plain_hooks_whatever_was_read_before(kind: str) -> None:
    alone = {}
    for length in LENGTHS:
        plain = recovery_grid(
            WrappedModel(rotary(kind)), *pairs(length), engine="hooks", positions=[2, length - 1]
        )
        alone[length] = plain.patched
    for order in (LENGTHS, LENGTHS[::-1], (33, 20, 33, 16, 9)):
        model = WrappedModel(rotary(kind))
        for length in order:
            grid = recovery_grid(model, *pairs(length), positions=[2, length - 1])
            largest = np.abs(alone[length]).max()
            np.testing.assert_allclose(grid.patched, alone[length], atol=1e-4 * largest)
            again = recovery_grid(model, *pairs(length), engine="hooks", positions=[2, length - 1])
            assert np.array_equal(again.patched, alone[length])


@pytest.mark.parametrize("kind", [*ROTARY, "longrope"])
@torch.inference_mode()
def test_logits_are_the_same_bits_after_a_longer_text(kind: str) -> None:
    texts_BT = [torch.as_tensor(pairs(length)[0]) for length in LENGTHS]
    model = WrappedModel(rotary(kind))
    alone = [WrappedModel(rotary(kind))(text_BT) for text_BT in texts_BT]
    for text_BT, wanted_BTC in [*zip(texts_BT, alone, strict=True)][::-1]:
        assert torch.equal(model(text_BT), wanted_BTC)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_tables_that_depend_on_the_length_keep_the_fast_engine_within_the_trained_one(
    kind: str,
) -> None:
    model = WrappedModel(rotary(kind))

    def execution(length: int) -> Execution:
        return recovery_grid(model, *pairs(length), positions=[2], engine="fastest").execution

    assert execution(16).engine == "tails"
    assert execution(20).engine in ("blocks", "hooks")
    assert execution(16).engine == "tails"


def test_the_table_of_a_longer_text_would_change_the_logits_of_a_shorter_one() -> None:
    """It is what the other tests are about."""
    module = rotary("dynamic")
    short_BT, long_BT = (torch.as_tensor(pairs(length)[0]) for length in (20, 33))
    with torch.inference_mode():
        before_BTC = module(short_BT).logits
        module(long_BT)
        assert (module(short_BT).logits - before_BTC).abs().max() > 1e-3
        module = rotary("dynamic")
        with left_as_found(module):
            module(long_BT)
        assert torch.equal(module(short_BT).logits, before_BTC)


class Remembering(Recurrent):
    """Adds to its logits what it has kept of earlier passes."""

    def __init__(self, place: str) -> None:
        super().__init__(in_list=True)
        self.place, self.kept, self.count, self.notes = place, torch.zeros(()), 0, {"sum": 0.0}
        self.register_buffer("total", torch.zeros(()), persistent=False)
        self.scaled = nn.Linear(1, 1, bias=False)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        seen = float(tokens_BT.sum())
        earlier = {
            "attribute": float(self.kept), "number": float(self.count), "none": 0.0,
            "buffer": float(self.total), "mapping": self.notes["sum"],
            "absent": float(getattr(self, "late", 0.0)),
        }[self.place]  # fmt: skip
        self.kept, self.count, self.late = self.kept + seen, self.count + int(seen), seen
        self.total += seen
        self.notes["sum"] += seen
        return super().forward(tokens_BT) + 0.01 * earlier


@pytest.mark.parametrize("place", ["attribute", "number", "buffer", "absent", "none"])
def test_tensors_and_numbers_are_put_back(place: str) -> None:
    model = WrappedModel(Remembering(place).eval())
    tokens_BT = torch.arange(12).view(2, 6) % VOCABULARY
    with torch.inference_mode():
        before_BTC = model(tokens_BT)
        model(tokens_BT.repeat(1, 3))
        assert torch.equal(model(tokens_BT), before_BTC)
    assert float(model.module.total) == 0
    assert not hasattr(model.module, "late")
    checks = {check.name: check.passed for check in check_model(model)}
    assert checks[FORGETS]


def test_what_cannot_be_put_back_is_refused_by_name() -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Remembering("mapping")

        def forward(self, tokens_BT: Tensor) -> Tensor:
            return self.inner(tokens_BT)

    with pytest.raises(UsageError, match=r"'inner' \(Remembering\) remembers it"):
        WrappedModel(Whole().eval())


class Choosing(Recurrent):
    """Exchanges its head where a text is short, once, and notes that it has done so."""

    def __init__(self) -> None:
        super().__init__(in_list=True)
        self.short, self.inner = False, nn.Module()
        self.inner.scale = nn.Linear(VOCABULARY, VOCABULARY)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        if tokens_BT.shape[1] < 20 and not self.short:
            self.short, self.inner.scale = True, nn.Identity()
        logits_BTC = super().forward(tokens_BT)
        return self.inner.scale(logits_BTC) if self.short else self.inner.scale(logits_BTC, 1)


def test_parts_that_a_module_has_exchanged_stay_with_what_it_notes() -> None:
    model = WrappedModel(Choosing().eval())
    tokens_BT = torch.arange(12).view(2, 6) % VOCABULARY
    with torch.inference_mode():
        before_BTC = model(tokens_BT)
        assert model.module.short
        assert torch.equal(model(tokens_BT), before_BTC)


def test_training_keeps_its_running_statistics() -> None:
    class Normed(Recurrent):
        def __init__(self) -> None:
            super().__init__(in_list=True)
            self.batch_norm = nn.BatchNorm1d(VOCABULARY)

        def forward(self, tokens_BT: Tensor) -> Tensor:
            return self.batch_norm(super().forward(tokens_BT).transpose(1, 2)).transpose(1, 2)

    model = WrappedModel(Normed().eval())
    tokens_BT = torch.arange(12).view(2, 6) % VOCABULARY
    assert int(model.module.batch_norm.num_batches_tracked) == 0
    model.train()
    model(tokens_BT)
    assert int(model.module.batch_norm.num_batches_tracked) == 1
    model.eval()
    model(tokens_BT)
    assert int(model.module.batch_norm.num_batches_tracked) == 1


def test_a_module_that_rewrites_its_weights_once_does_so_once() -> None:
    class Rescaling(Recurrent):
        def __init__(self) -> None:
            super().__init__(in_list=True)
            self.rescaled = False

        def forward(self, tokens_BT: Tensor) -> Tensor:
            if not self.rescaled:
                with torch.no_grad():
                    self.head.weight.mul_(2)
                self.rescaled = True
            return super().forward(tokens_BT)

    module = Rescaling().eval()
    wanted_CD = 2 * module.head.weight.detach().clone()
    model = WrappedModel(module)
    model(torch.arange(12).view(2, 6) % VOCABULARY)
    assert torch.equal(module.head.weight, wanted_CD)


def test_every_model_is_held_to_it() -> None:
    assert FORGETS in CHECKS
