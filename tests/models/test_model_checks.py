"""Every contract check fails on a model that breaks what it checks, and only there."""

import pytest
import torch

from mecheval.models.checks import CHECKS, check_model
from mecheval.models.sites import Site
from mecheval.models.stack.residual import ResidualStack
from mecheval.registry import Registry

FINITE, CAUSAL, BATCH, SITES, IDLE, SELF, ACTS, FORGETS, STEP, STATE = CHECKS


class Sound(ResidualStack):
    """A model that keeps the contract."""


class NotFinite(Sound):
    def forward(self, tokens_BT):
        return super().forward(tokens_BT) / 0


class WrongShape(Sound):
    def forward(self, tokens_BT):
        return super().forward(tokens_BT)[..., 1:]


class LooksAhead(Sound):
    def embed(self, tokens_BT):
        stream_BTD = super().embed(tokens_BT)
        return stream_BTD + 1e-3 * stream_BTD.roll(-1, 1)


class LooksAround(Sound):
    """Normalises over the batch."""

    def embed(self, tokens_BT):
        stream_BTD = super().embed(tokens_BT)
        return stream_BTD - stream_BTD.mean(0)


class LacksASite(Sound):
    def taps(self):
        return {k: v for k, v in super().taps().items() if k != Site(1, "block_out")}


class NeverCallsItsModule(Sound):
    """Calls the mixer's function, so that hooks on the module see nothing."""

    def resume(self, layer, stream_BTD):
        for block in self.blocks:
            stream_BTD = stream_BTD + block.mixer.forward(block.mixer_norm(stream_BTD))
        return self.readout(stream_BTD)


class NoticesHooks(Sound):
    def resume(self, layer, stream_BTD):
        hooked = any(block.mixer._forward_hooks for block in self.blocks)
        return super().resume(layer, stream_BTD + 1e-7 * hooked)


class CopiesBeforeTheHook(Sound):
    """Hands the hook what it does not use."""

    def __init__(self, *args):
        super().__init__(*args)
        self.beside = torch.nn.Identity()

    def taps(self):
        taps = super().taps()
        tap = taps[Site(0, "mixer_out")]
        return {**taps, Site(0, "mixer_out"): type(tap)(self.beside, "output", "beside", tap.width)}

    def resume(self, layer, stream_BTD):
        self.beside(stream_BTD)
        return super().resume(layer, stream_BTD)


class RemembersItsLongestText(Sound):
    """As a rotary table that grows."""

    longest = 12

    def embed(self, tokens_BT, *, first=0):
        if not first:
            self.longest = max(self.longest, tokens_BT.shape[1])
        return super().embed(tokens_BT, first=first) * (self.longest / 12)


class StepsOtherwise(Sound):
    def step(self, tokens_B, state):
        logits_BC, state = super().step(tokens_B, state)
        return logits_BC * (1 + 1e-3 * state[0]), state


class KeepsStateAside(Sound):
    """Its state is in the model, so that it cannot go on from an earlier one."""

    def start(self, batch_size):
        self.aside = super().start(batch_size)

    def step(self, tokens_B, state):
        logits_BC, self.aside = super().step(tokens_B, self.aside)
        return logits_BC, None


class DoesNotStream(Sound):
    @property
    def streams(self):
        return False


def built(kind: type[ResidualStack]) -> ResidualStack:
    stack = Registry().load("model", "gru").configure({"layers": 2, "width": 8}).stack(5)
    return kind(stack.embedding, stack.blocks, stack.norm, stack.head)


def outcomes(kind: type[ResidualStack], **how) -> dict[str, bool | None]:
    torch.manual_seed(0)
    checks = check_model(built(kind), **how)
    assert [check.name for check in checks] == list(CHECKS)
    return {check.name: check.passed for check in checks}


def test_a_sound_model_passes_everything():
    assert set(outcomes(Sound).values()) == {True}
    assert set(outcomes(Sound, tokens_BT=torch.tensor([[0, 1, 2], [4, 4, 4]])).values()) == {True}


@pytest.mark.parametrize(
    ("kind", "failing"),
    [
        (WrongShape, {FINITE, STEP, STATE}),
        (LooksAhead, {CAUSAL, STEP, STATE}),
        (LooksAround, {BATCH, STEP, STATE}),
        (LacksASite, {SITES}),
        (NoticesHooks, {IDLE, SELF}),
        (CopiesBeforeTheHook, {ACTS}),
        (RemembersItsLongestText, {FORGETS}),
        (StepsOtherwise, {STEP, STATE}),
        (KeepsStateAside, {STATE}),
    ],
)
def test_broken_models_fail_the_right_checks(kind, failing):
    failed = {name for name, passed in outcomes(kind).items() if passed is False}
    assert failed == failing


def test_infinite_logits_and_silent_hooks_are_found():
    assert outcomes(NotFinite)[FINITE] is False
    silent = outcomes(NeverCallsItsModule)
    assert silent[SITES] is False
    assert silent[ACTS] is False


def test_checks_that_do_not_apply_say_so():
    result = outcomes(DoesNotStream)
    assert [name for name, passed in result.items() if passed is None] == [STEP, STATE]


def test_an_exception_fails_its_check_and_not_the_others():
    class Breaks(Sound):
        def start(self, batch_size):
            raise ValueError("no state here")

    checks = {check.name: check for check in check_model(built(Breaks))}
    assert "ValueError: no state here" in str(checks[STEP])
    assert checks[CAUSAL].passed
