"""The adapter keeps the contract of a model on tiny models of many families."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from crossings import mostly_slow
from hf_families import ALWAYS, FAMILIES, build, is_new, known_here, reads_long_texts
from plain_modules import Attention, Nested, Recurrent
from torch import Tensor, nn

from mecheval.interventions import answer_logits
from mecheval.models.checks import check_model
from mecheval.models.sites import Site
from mecheval.models.wrapped.model import WrappedModel

TOKENS_BT = torch.randint(3, 61, (3, 9), generator=torch.Generator().manual_seed(0))


STATE_SPACE = {"mamba", "mamba2", "jamba"}
"""Families whose cache can be driven by the output alone since transformers 5."""


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("family", mostly_slow(FAMILIES, always=ALWAYS))
def test_contract_of_a_family(family: str) -> None:
    known_here(family)
    model = WrappedModel(build(family))
    failed = [check.name for check in check_model(model) if check.passed is False]
    longer = "the same tokens give the same logits after a longer text"
    assert failed == ([] if reads_long_texts(family) else [longer])
    assert {site.component for site in model.taps()} >= {"block_in", "block_out"}


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "mamba", "mamba2", "jamba"])
def test_logits_are_those_of_the_bare_module(family: str) -> None:
    module = build(family)
    model = WrappedModel(module)
    assert torch.equal(model(TOKENS_BT), module(input_ids=TOKENS_BT).logits)
    # Without gradients state-space mixers run on the kernels of this package.
    assert model.native_difference(TOKENS_BT) <= (1e-6 if family in STATE_SPACE else 0)
    assert model.streams or (family in STATE_SPACE and not is_new())


def test_a_wrong_wrapper_would_be_seen() -> None:
    class Shifted(WrappedModel):
        def forward(self, tokens_BT: Tensor) -> Tensor:
            return super().forward(tokens_BT) + 0.25

    assert Shifted(build("gpt2")).native_difference(TOKENS_BT) == pytest.approx(0.25, abs=1e-5)


def test_the_cache_is_never_given_more_than_one_token() -> None:
    """The Mamba of transformers would restart its scan, without an error."""
    if not is_new():
        pytest.skip("its cache cannot be driven by the output alone before transformers 5")
    model, lengths = WrappedModel(build("mamba")), []

    def look(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        if kwargs["use_cache"]:
            lengths.append(args[0].shape[1])

    model.module.register_forward_pre_hook(look, with_kwargs=True)
    assert model.streams
    assert set(lengths) == {1}


def test_a_state_stays_valid_after_a_step() -> None:
    model = WrappedModel(build("gpt_neox"))
    _, state = model.step(TOKENS_BT[:, 0], model.start(3))
    once_BC, _ = model.step(TOKENS_BT[:, 1], state)
    again_BC, later = model.step(TOKENS_BT[:, 1], state)
    assert torch.equal(once_BC, again_BC)
    assert later.length == 2


def test_a_module_without_cache_does_not_stream() -> None:
    model = WrappedModel(Recurrent(in_list=True))
    assert not model.streams
    with pytest.raises(NotImplementedError, match="no cache"):
        model.step(TOKENS_BT[:, 0], model.start(3))


@pytest.mark.parametrize(
    ("module", "limit", "kernels"),
    [
        (lambda: build("gpt2"), 64, ("attention: sdpa",)),
        (lambda: build("mamba"), None, ()),
        (lambda: Attention(norm_first=True), 40, ()),
        (lambda: Recurrent(in_list=True), None, ()),
    ],
)
def test_limits_and_kernels(module: Any, limit: int | None, kernels: tuple[str, ...]) -> None:
    model = WrappedModel(module())
    assert (model.context_limit, model.kernels) == (limit, kernels)


@pytest.mark.parametrize(
    "module",
    [
        Recurrent(in_list=True),
        Recurrent(in_list=False),
        Attention(norm_first=True),
        Attention(norm_first=False),
        Nested(),
    ],
)
def test_contract_of_plain_modules(module: nn.Module) -> None:
    model = WrappedModel(module.eval())
    assert [str(check) for check in check_model(model) if check.passed is False] == []


def test_an_encoder_of_torch_takes_one_path_with_and_without_hooks() -> None:
    model = WrappedModel(Attention(norm_first=True).eval())
    tokens_BT = TOKENS_BT % model.vocab_size
    with torch.inference_mode():
        plain_BTC = model(tokens_BT)
        handle = model.blocks[0].register_forward_hook(lambda *_: None)
        hooked_BTC = model(tokens_BT)
        handle.remove()
    assert torch.equal(plain_BTC, hooked_BTC)
    assert torch.backends.mha.get_fastpath_enabled()
    assert model.native_difference(tokens_BT) < 1e-5


def test_edits_reach_the_right_place() -> None:
    """Without what its MLP writes, a layer of attention and MLP is attention alone."""
    model = WrappedModel(build("gpt_neox"))
    edited = answer_logits(
        model, TOKENS_BT, range(61), edits={Site(0, "mlp_out"): torch.zeros_like}
    )
    module: Any = copy.deepcopy(model.module)
    for parameter in module.gpt_neox.layers[0].mlp.parameters():
        parameter.data.zero_()
    with torch.no_grad():
        expected = module(TOKENS_BT).logits.numpy()
    np.testing.assert_allclose(edited, expected, atol=1e-6)


def test_training_reaches_the_wrapped_weights() -> None:
    model = WrappedModel(build("gpt2")).train()
    model(TOKENS_BT).logsumexp(-1).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.module.training


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "gemma2", "mamba", "jamba"])
@torch.no_grad()
def test_logits_at_one_position_are_those_of_all_positions(family: str) -> None:
    known_here(family)
    model = WrappedModel(build(family))
    shapes = []
    assert model.structure.head is not None
    handle = model.structure.head.register_forward_hook(
        lambda module, args, output: shapes.append(output.shape[:2])
    )
    position_B = torch.arange(len(TOKENS_BT)) + 1
    logits_BC = model.logits_at(TOKENS_BT, position_B[:, None])[:, 0]
    handle.remove()
    assert shapes[-1] == (len(TOKENS_BT), 1)
    wanted_BC = model(TOKENS_BT)[torch.arange(len(TOKENS_BT)), position_B]
    torch.testing.assert_close(logits_BC, wanted_BC, rtol=1e-5, atol=1e-6)
