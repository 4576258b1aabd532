"""The contract of a model, checked by running it: what ``mecheval validate MODEL`` prints.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of a site, ``C`` vocabulary.
"""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval import seeding
from mecheval.checks import Check
from mecheval.errors import UsageError
from mecheval.models.admission import moved_by_later_tokens
from mecheval.models.hooks import visiting
from mecheval.models.sites import Site
from mecheval.models.stepping import stepped
from mecheval.models.tolerance import PARTS
from mecheval.models.wrapping import as_model
from mecheval.own_code.explaining import in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import nn

    from mecheval.models.contract import SequenceModel

EXAMPLES, POSITIONS = 4, 12
TIMES_LONGER = 4
"""How much longer the text is that may leave no trace."""

RECURRENT_FACTOR = 10
"""How much more two different algorithms, a step and a parallel form, may differ."""


def check_model(
    model: SequenceModel | nn.Module, *, tokens_BT: np.ndarray | Tensor | None = None, seed: int = 0
) -> list[Check]:
    """Check that a model keeps the contract that the engine and the metrics rely on.

    Args:
        model: The model, or a module that :func:`mecheval.wrap` makes one of; put into evaluation
            mode.
        tokens_BT: Token ids to run it on, at least two examples of three positions; random ones if
            None.
        seed: Seed of random tokens and edits.
    """
    model = as_model(model).eval()
    if tokens_BT is None:
        positions = min(POSITIONS, model.context_limit or POSITIONS)
        drawn = seeding.stream(seed, "checks")
        tokens_BT = drawn.integers(model.vocab_size, size=(EXAMPLES, positions))
    tokens_BT = torch.as_tensor(tokens_BT, device=model.device)
    with torch.inference_mode():
        return [_outcome(name, check, model, tokens_BT) for name, check in CHECKS.items()]


def _outcome(
    name: str,
    check: Callable[[SequenceModel, Tensor], Outcome],
    model: SequenceModel,
    tokens_BT: Tensor,
) -> Check:
    """Run one check; an exception of the model is a failed check, not the end of all checks."""
    try:
        passed, detail = check(model, tokens_BT)
    except (Exception, SystemExit) as error:
        return Check(name, False, in_words(error))
    return Check(name, passed, detail)


Outcome = tuple[bool | None, str]


def _finite(model: SequenceModel, tokens_BT: Tensor) -> Outcome:
    logits_BTC = model(tokens_BT)
    wanted = (*tokens_BT.shape, model.vocab_size)
    if tuple(logits_BTC.shape) != wanted:
        return False, f"shape {tuple(logits_BTC.shape)} instead of {wanted}"
    bad = int((~logits_BTC.isfinite()).sum())
    return bad == 0, f"{bad} logits are not finite" if bad else ""


def _causal(model: SequenceModel, tokens_BT: Tensor) -> Outcome:
    if model.vocab_size < 2:
        return None, "with one token nothing can be changed"
    logits_BTC = model(tokens_BT)
    worst = moved_by_later_tokens(model, tokens_BT, logits_BTC)
    return _within(worst, logits_BTC, "earlier logits moved by")


def _batch_invariant(model: SequenceModel, tokens_BT: Tensor) -> Outcome:
    logits_BTC = model(tokens_BT)
    alone_BTC = torch.cat([model(tokens_BT[i : i + 1]) for i in range(len(tokens_BT))])
    return _within(_difference(alone_BTC, logits_BTC), logits_BTC, "logits differ by")


def _forgets(model: SequenceModel, tokens_BT: Tensor) -> Outcome:
    """Read other texts, within the context limit and beyond, between two runs on the same tokens.

    Rotary tables can depend on the longest text that was read, and routers count.
    """
    before_BTC, n_positions = model(tokens_BT), tokens_BT.shape[1]
    other_BT = tokens_BT.flip(0, 1).repeat(1, TIMES_LONGER)
    longest = max(n_positions, model.context_limit or other_BT.shape[1])
    model.logits_at(other_BT[:, :longest], other_BT[:, :0])
    if model.device.type == "cpu":  # elsewhere a look-up beyond a table ends the process
        with suppress(IndexError, RuntimeError, UsageError, ValueError):
            model.logits_at(other_BT, other_BT[:, :0])
    return _within(_difference(model(tokens_BT), before_BTC), before_BTC, "logits moved by")


def _sites_exist(model: SequenceModel, tokens_BT: Tensor) -> Outcome:
    if model.no_blocks is not None:
        return None, model.no_blocks
    taps, own = model.taps(), set(model.modules())
    if len(model.blocks) != model.n_layers:
        return False, f"{len(model.blocks)} blocks, but n_layers is {model.n_layers}"
    for site in _stream_sites(model):
        if site not in taps:
            return False, f"there is no {site}"
        if taps[site].width != model.d_model:
            return False, f"{site} has width {taps[site].width}, not {model.d_model}"
    for site, seen in _traced(model, tokens_BT).items():
        if taps[site].module not in own:
            return False, f"the module of {site} is not part of the model"
        if len(seen) != 1:
            return False, f"{site} is visited {len(seen)} times in a forward pass"
        wanted = (*tokens_BT.shape, taps[site].width)
        if tuple(seen[0].shape) != wanted:
            return False, f"{site} has shape {tuple(seen[0].shape)}, not {wanted}"
    return True, f"{len(taps)} sites in {model.n_layers} layers"


def _idle_hooks(model: SequenceModel, tokens_BT: Tensor) -> Outcome:
    logits_BTC = model(tokens_BT)
    with visiting(dict.fromkeys(model.taps().values(), lambda _: None)):
        hooked_BTC = model(tokens_BT)
    return _identical(hooked_BTC, logits_BTC, "hooks that do nothing")


def _patch_with_self(model: SequenceModel, tokens_BT: Tensor) -> Outcome:
    logits_BTC, taps = model(tokens_BT), model.taps()
    for site, seen in _traced(model, tokens_BT).items():
        with visiting({taps[site]: _replacing(seen[0])}):
            passed, detail = _identical(model(tokens_BT), logits_BTC, f"{site} replaced by itself")
        if not passed:
            return False, detail
    return True, f"{len(taps)} sites"


def _edits_act(model: SequenceModel, tokens_BT: Tensor) -> Outcome:
    logits_BTC, taps = model(tokens_BT), model.taps()
    for site, seen in _traced(model, tokens_BT).items():
        drawn = seeding.Draws(0, "checks", str(site)).normal(tuple(seen[0].shape))
        noise = torch.from_numpy(drawn).float()
        with visiting({taps[site]: _replacing(noise.to(seen[0]))}):
            if torch.equal(model(tokens_BT), logits_BTC):
                return False, f"noise at {site} changes no logit"
    return True, f"{len(taps)} sites"


def _step_equals_parallel(model: SequenceModel, tokens_BT: Tensor) -> Outcome:
    if not model.streams:
        return None, "the model has no recurrent form"
    logits_BTC = model(tokens_BT)
    stepped_BTC, _ = stepped(model, tokens_BT, model.start(len(tokens_BT)))
    difference = _difference(stepped_BTC, logits_BTC)
    return _within(difference, logits_BTC, "logits differ by", factor=RECURRENT_FACTOR)


def _state_is_everything(model: SequenceModel, tokens_BT: Tensor) -> Outcome:
    """Go on twice from a copy of one state, with other tokens each time."""
    if not model.streams:
        return None, "the model has no recurrent form"
    half = tokens_BT.shape[1] // 2
    _, state = stepped(model, tokens_BT[:, :half], model.start(len(tokens_BT)))
    worst, logits_BTC = 0.0, model(tokens_BT)
    for rest_BT in (tokens_BT[:, half:], tokens_BT[:, half:].flip(1)):
        whole_BTC = model(torch.cat([tokens_BT[:, :half], rest_BT], 1))
        tail_BTC, _ = stepped(model, rest_BT, copy.deepcopy(state))
        worst = max(worst, _difference(tail_BTC, whole_BTC[:, half:]))
    return _within(worst, logits_BTC, "logits differ by", factor=RECURRENT_FACTOR)


CHECKS: dict[str, Callable[[SequenceModel, Tensor], Outcome]] = {
    "logits are finite": _finite,
    "a later token changes no earlier logit": _causal,
    "a batch of one equals a batch of many": _batch_invariant,
    "sites cover all layers": _sites_exist,
    "idle hooks change no bit": _idle_hooks,
    "patching a site with itself changes no bit": _patch_with_self,
    "an edit at any site reaches the logits": _edits_act,
    "the same tokens give the same logits after a longer text": _forgets,
    "recurrent steps equal the parallel form": _step_equals_parallel,
    "the state holds all that the rest needs": _state_is_everything,
}


def _stream_sites(model: SequenceModel) -> list[Site]:
    layers = range(model.n_layers)
    return [Site(layer, name) for layer in layers for name in ("block_in", "block_out")]


def _traced(model: SequenceModel, tokens_BT: Tensor) -> dict[Site, list[Tensor]]:
    """Return what every site held in one forward pass, once per visit."""
    taps = model.taps()
    seen: dict[Site, list[Tensor]] = {site: [] for site in taps}

    def keeping(site: Site) -> Callable[[Tensor], None]:
        return lambda stream_BTD: seen[site].append(stream_BTD.clone())

    with visiting({tap: keeping(site) for site, tap in taps.items()}):
        model(tokens_BT)
    return seen


def _replacing(value_BTD: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda _: value_BTD


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).abs().max())


def _identical(one_BTC: Tensor, other_BTC: Tensor, what: str) -> Outcome:
    if torch.equal(one_BTC, other_BTC):
        return True, ""
    return False, f"{what} moved logits by up to {_difference(one_BTC, other_BTC):.1e}"


def _within(difference: float, logits_BTC: Tensor, what: str, *, factor: float = 1) -> Outcome:
    limit = factor * PARTS.of(logits_BTC.dtype)
    relative = difference / float(logits_BTC.double().abs().max())
    return relative <= limit, f"{what} {relative:.1e} of the largest, at most {limit:.0e} allowed"
