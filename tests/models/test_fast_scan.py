"""State-space mixers of transformers on the kernels of this package, in the forward pass."""

from __future__ import annotations

import pytest
import torch

from mecheval.models.decomposition import Refusal
from mecheval.models.hooks import visiting
from mecheval.models.kernels.c.compile import library
from mecheval.models.sites import Site
from mecheval.models.wrapped.decomposition.state_space import Selective
from mecheval.models.wrapped.model import WrappedModel
from tests.hf_families import build

TOKENS_BT = torch.arange(3, 43).reshape(2, 20) % 61

pytestmark = pytest.mark.skipif(library().functions is None, reason="there is no C compiler")


def wrapped(family: str) -> WrappedModel:
    return WrappedModel(build(family)).eval()


@pytest.mark.parametrize(
    ("family", "kernel"),
    [("mamba", "selective_scan:c"), ("mamba2", "dual_scan:c"), ("jamba", "selective_scan:c")],
)
@torch.no_grad()
def test_logits_are_the_same_and_the_kernel_is_named(family: str, kernel: str) -> None:
    model = wrapped(family)
    if isinstance(model.decomposition(), Refusal):
        pytest.skip("its attention does not come apart in this transformers")
    with torch.enable_grad():
        own_BTC = model(TOKENS_BT)
        assert kernel not in model.kernels
    torch.testing.assert_close(model(TOKENS_BT), own_BTC, rtol=1e-5, atol=1e-6)
    assert kernel in model.kernels


@torch.no_grad()
def test_the_mixers_own_code_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    model = wrapped("mamba")
    model(TOKENS_BT)

    def fails(*args: object, **kwargs: object) -> None:
        raise AssertionError("called")

    for block in model.blocks:
        monkeypatch.setattr(block.mixer, "forward", fails)
    assert model(TOKENS_BT).isfinite().all()
    with pytest.raises(AssertionError, match="called"), torch.enable_grad():
        model(TOKENS_BT)


@torch.no_grad()
def test_a_convolution_that_is_looked_at_is_shown_and_can_be_replaced() -> None:
    model = wrapped("mamba")
    tap, seen = model.taps()[Site(1, "conv_out")], []
    plain_BTC = model(TOKENS_BT)
    with visiting({tap: lambda value: seen.append(value.clone())}):
        assert torch.equal(model(TOKENS_BT), plain_BTC)
    with torch.enable_grad(), visiting({tap: lambda value: seen.append(value.detach().clone())}):
        model(TOKENS_BT)
    torch.testing.assert_close(*seen, rtol=1e-5, atol=1e-6)
    with visiting({tap: torch.zeros_like}):
        made_BTC = model(TOKENS_BT)
        with torch.enable_grad():
            wanted_BTC = model(TOKENS_BT)
    torch.testing.assert_close(made_BTC, wanted_BTC, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(made_BTC, plain_BTC)


@torch.no_grad()
def test_mixers_that_do_something_else_keep_their_own_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = wrapped("mamba")
    decomposition = model.decomposition()
    assert decomposition is not None
    right = Selective.output

    def wrong(*args, **kwargs):
        return right(*args, **kwargs) * 1.01

    with torch.enable_grad():
        own_BTC = model(TOKENS_BT)
    monkeypatch.setattr(Selective, "output", wrong)
    assert torch.equal(model(TOKENS_BT), own_BTC)
    assert model.kernels == ()


@torch.no_grad()
def test_a_mask_or_a_cache_is_left_to_the_mixer() -> None:
    model = wrapped("mamba")
    if not model.streams:
        pytest.skip("its cache cannot be driven by the output alone before transformers 5")
    wanted_BTC = model(TOKENS_BT)
    logits_BC, state = None, model.start(len(TOKENS_BT))
    for tokens_B in TOKENS_BT.T:
        logits_BC, state = model.step(tokens_B, state)
    torch.testing.assert_close(logits_BC, wanted_BTC[:, -1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_visits_do_not_see_the_comparison() -> None:
    model, seen = wrapped("mamba"), []
    with visiting({model.taps()[Site(0, "block_in")]: lambda value: seen.append(value.shape)}):
        model(TOKENS_BT)
    assert seen == [(*TOKENS_BT.shape, model.d_model)]
