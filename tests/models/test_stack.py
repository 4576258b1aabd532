"""The residual stack: its parts, its sites, its recurrent form, how its weights are drawn."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mecheval.errors import UsageError
from mecheval.models.hooks import visiting
from mecheval.models.layers.linear import Mlp, projection
from mecheval.models.layers.mixer import Mixer
from mecheval.models.sites import Site
from mecheval.models.stack.architecture import Architecture, model
from mecheval.models.stack.residual import ResidualStack
from mecheval.recipe import Recipe

EVERYWHERE = {"block_in", "mixer_in", "mixer_out", "mlp_out", "block_out"}


class RunningMean(Mixer):
    """The mean of all positions so far, without a memory of its own."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.out = projection(width, width, scale=scale)

    def forward(self, normed_BTD: Tensor) -> Tensor:
        counts_T1 = torch.arange(1, normed_BTD.shape[1] + 1, dtype=normed_BTD.dtype)[:, None]
        return self.out(normed_BTD.cumsum(1) / counts_T1)


class RunningSum(Mixer):
    """The sum of all positions so far, which is its memory."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.out = projection(width, width, scale=scale)

    def mix(self, signals, state):
        sum_BTD = signals["normed"].cumsum(1)
        if state:
            sum_BTD = sum_BTD + state[0][:, None]
        return sum_BTD, (sum_BTD[:, -1],)


@model(
    name="running",
    reference="none",
    architecture="test",
    sizes={"tiny": {"layers": 3, "width": 16}},
    recipes={"tiny": Recipe()},
)
@dataclass(frozen=True, kw_only=True)
class Running(Architecture):
    """A running sum or mean, for tests."""

    mean: bool = False
    fed: bool = True
    context: int = 0

    @property
    def context_limit(self) -> int | None:
        return self.context or None

    def mixer(self, layer: int) -> Mixer:
        kind = RunningMean if self.mean else RunningSum
        return kind(self.width, self.residual_scale)

    def mlp(self, layer: int) -> Mlp | None:
        return Mlp(self.width, 4 * self.width, scale=self.residual_scale) if self.fed else None


def build(seed: int = 0, vocab_size: int = 7, **args: Any) -> ResidualStack:
    architecture = Running(layers=3, width=16, **args)
    return architecture.build(architecture.vocabulary(vocab_size), seed=seed)


def tokens(n: int = 3, length: int = 9) -> Tensor:
    return torch.as_tensor(np.random.default_rng(0).integers(7, size=(n, length)))


def test_resuming_at_any_layer_gives_the_same_bits():
    stack, tokens_BT = build(), tokens()
    logits_BTC = stack(tokens_BT)
    entering = {}

    def keeper(site: Site):
        return lambda stream_BTD: entering.__setitem__(site.layer, stream_BTD)

    with visiting(
        {stack.taps()[Site(i, "block_in")]: keeper(Site(i, "block_in")) for i in range(3)}
    ):
        stack(tokens_BT)
    assert torch.equal(entering[0], stack.embed(tokens_BT))
    for layer, stream_BTD in entering.items():
        assert torch.equal(stack.resume(layer, stream_BTD), logits_BTC)
    last_BTD = stack.layers[2](entering[2])
    assert torch.equal(stack.resume(3, last_BTD), stack.readout(last_BTD))
    assert torch.equal(stack.readout(last_BTD), logits_BTC)


def test_block_adds_mixer_and_mlp_to_the_stream():
    stack, seen = build(), {}
    visits = {
        tap: lambda value, component=site.component: seen.update({component: value})
        for site, tap in stack.taps().items()
        if site.layer == 1
    }
    with visiting(visits):
        stack(tokens())
    block = stack.blocks[1]
    assert torch.equal(seen["mixer_in"], block.mixer_norm(seen["block_in"]))
    middle_BTD = seen["block_in"] + seen["mixer_out"]
    assert torch.equal(seen["mlp_out"], block.mlp(block.mlp_norm(middle_BTD)))
    assert torch.equal(seen["block_out"], middle_BTD + seen["mlp_out"])


def test_taps_name_real_modules_and_only_existing_components():
    stack = build()
    assert set(stack.taps()) == {Site(layer, c) for layer in range(3) for c in EVERYWHERE}
    for tap in stack.taps().values():
        assert stack.get_submodule(tap.path) is tap.module
        assert tap.width == stack.d_model
    assert {site.component for site in build(fed=False).taps()} == EVERYWHERE - {"mlp_out"}


def test_a_run_in_two_parts_equals_one():
    for stack in (build(context=9), build(mean=True)):
        tokens_BT = tokens()
        assert stack.streams
        logits_BTC, state = stack.run(tokens_BT[:, :5], stack.start(3))
        assert torch.equal(logits_BTC, stack(tokens_BT[:, :5]))
        stepped_BC, _ = stack.step(tokens_BT[:, 5], state)
        again_BC, _ = stack.step(tokens_BT[:, 5], state)
        assert torch.equal(stepped_BC, again_BC)
        assert torch.allclose(stepped_BC, stack(tokens_BT)[:, 5], atol=1e-6)
        rest_BTC, _ = stack.run(tokens_BT[:, 5:], state)
        assert torch.allclose(rest_BTC, stack(tokens_BT)[:, 5:], atol=1e-6)


def test_more_positions_than_learned_are_refused():
    stack = build(context=9)
    assert stack.context_limit == 9
    assert build().context_limit is None
    stack(tokens(length=9))
    with pytest.raises(UsageError, match=r"9 tokens, and was given 10\. Set context=10"):
        stack(tokens(length=10))
    state = stack.start(3)
    for token_B in tokens(length=9).unbind(1):
        _, state = stack.step(token_B, state)
    with pytest.raises(UsageError, match="was given 10"):
        stack.step(tokens()[:, 0], state)


def test_weights_follow_from_the_seed_and_leave_the_global_stream_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build(seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    for name, value in build(seed=3).state_dict().items():
        assert torch.equal(value, first[name])
    assert not torch.equal(build(seed=4).state_dict()["head.weight"], first["head.weight"])


def test_weights_have_the_documented_scale():
    architecture = Running(layers=8, width=256)
    stack = architecture.build(architecture.vocabulary(512), seed=0)
    block = stack.blocks[0]
    scale = 16**-0.5
    for weight, std in (
        (stack.embedding.weight, 1.0),
        (stack.head.weight, 256**-0.5),
        (block.mlp.up.weight, 256**-0.5),
        (block.mlp.down.weight, 1024**-0.5 * scale),
        (block.mixer.out.weight, 256**-0.5 * scale),
    ):
        assert weight.detach().std().item() == pytest.approx(std, rel=0.03)
        assert abs(weight.detach().mean().item()) < 0.02 * std
    assert not any(name.endswith("bias") or "norm" in name for name, _ in stack.named_parameters())
