"""What a model must be before anything is trained or measured: finite, causal; and its inputs.

Patching by position, and every shortcut of the engine, rest on this: a token changes nothing before
it. A model for which that does not hold is refused while it costs nothing.

Shape suffixes: ``B`` examples, ``T`` positions, ``C`` vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from mecheval import seeding
from mecheval.errors import UsageError
from mecheval.models.modes import evaluating
from mecheval.models.tolerance import CUT, LATER

if TYPE_CHECKING:
    from mecheval.models.contract import SequenceModel

EXAMPLES, POSITIONS = 2, 10
_MASKED = 1e30  # a logit beyond it is a token that the model never gives, whatever it reads

_cuts: WeakKeyDictionary[SequenceModel, set[tuple[int, int]]] = WeakKeyDictionary()


def check_finite_weights(module: nn.Module, *, name: str) -> None:
    """Check that no weight is NaN or infinite, before anything else looks at a module.

    Buffers may hold infinities, which masks are made of, but no NaN.

    Args:
        module: The module.
        name: What it is called, for the message.

    Raises:
        UsageError: One is; the first is named.
    """
    for key, weight in module.named_parameters():
        _check_finite(key, weight, weight.isfinite(), name)
    for key, buffer in module.named_buffers():
        _check_finite(key, buffer, ~buffer.isnan(), name)


def admit(model: SequenceModel, *, name: str) -> SequenceModel:
    """Check that a model is causal, and find out whether it needs whole inputs.

    A few forward passes over a few positions of random tokens. The model comes out in the mode that
    it was in.

    Args:
        model: The model; its ``needs_whole_input`` is set.
        name: What it is called, for the message.

    Returns:
        The model.

    Raises:
        UsageError: A later token changes an earlier logit, or logits are no numbers.
    """
    limit = POSITIONS if model.context_limit is None else min(POSITIONS, model.context_limit)
    if limit < 2 or model.vocab_size < 2:
        return model
    drawn = seeding.stream(0, "admission").integers(model.vocab_size, size=(EXAMPLES, limit))
    tokens_BT = torch.as_tensor(drawn, device=model.device)
    with evaluating(model), torch.inference_mode():
        if bool(model(tokens_BT).isnan().any()):
            raise UsageError(
                f"The model '{name}' gives logits that are no numbers, from weights that are. "
                "Check its configuration; `mecheval validate MODEL` runs this check."
            )
        check_causal(model, tokens_BT, name=name)
        keeps_whole(model, tokens_BT, (limit + 1) // 2)
    return model


def check_causal(model: SequenceModel, tokens_BT: Tensor, *, name: str = "") -> None:
    """Check that the tokens from some position on change no logit before it.

    Args:
        model: The model, in evaluation mode.
        tokens_BT: Token ids of at least one example.
        name: What it is called, for the message.

    Raises:
        UsageError: They do.
    """
    if tokens_BT.shape[1] < 2 or model.vocab_size < 2:
        return
    logits_BTC = model(tokens_BT)
    called = f"The model '{name}'" if name else "The model"
    difference = moved_by_later_tokens(model, tokens_BT, logits_BTC)
    if difference > LATER * largest_of(logits_BTC):
        raise UsageError(
            f"{called} is not causal: later tokens move earlier logits by {difference:.1e}. "
            "Patching by position is defined for causal models only; `mecheval validate MODEL` "
            "runs this check."
        )


def moved_by_later_tokens(model: SequenceModel, tokens_BT: Tensor, logits_BTC: Tensor) -> float:
    """Return the largest change of a logit when the tokens behind it are others.

    The last token alone is changed, and the second half.

    Args:
        model: The model.
        tokens_BT: Token ids.
        logits_BTC: Its logits for them.
    """
    last, worst = tokens_BT.shape[1] - 1, 0.0
    for first in {last // 2 + 1, last}:
        changed_BT = tokens_BT.clone()
        changed_BT[:, first:] = (changed_BT[:, first:] + 1) % model.vocab_size
        worst = max(worst, _difference(model(changed_BT)[:, :first], logits_BTC[:, :first]))
    return worst


def keeps_whole(model: SequenceModel, tokens_BT: Tensor, end: int) -> bool:
    """Say whether an input must stay whole, although nothing behind ``end`` is read.

    Some models compute otherwise for a longer input, though no later token changes anything: an
    index of the best positions is longer, or rotary angles are scaled by the length. It is looked
    at once for each two lengths, on two examples.

    Args:
        model: The model, in evaluation mode; its ``needs_whole_input`` is set where that is so.
        tokens_BT: Token ids.
        end: Number of positions that are read.
    """
    if end >= tokens_BT.shape[1] or model.needs_whole_input:
        return model.needs_whole_input
    seen = _cuts.setdefault(model, set())
    lengths = (end, tokens_BT.shape[1])
    if lengths not in seen:
        few_BT = tokens_BT[:EXAMPLES]
        with torch.no_grad():
            cut_BTC = model(few_BT[:, :end])  # first: some modules remember the longest input
            whole_BTC = model(few_BT)[:, :end]
        most = CUT.of(whole_BTC.dtype) * largest_of(whole_BTC)
        model.needs_whole_input = _difference(whole_BTC, cut_BTC) > most
        seen.add(lengths)
    return model.needs_whole_input


def largest_of(logits_BTC: Tensor) -> float:
    """Return the largest absolute logit, of those that are not masked."""
    size_BTC = logits_BTC.abs()
    return float(size_BTC.masked_fill_(size_BTC > _MASKED, 0.0).max())


def _difference(one_BTC: Tensor, other_BTC: Tensor) -> float:
    # Masked logits can be infinite, and the difference of two of them is NaN.
    return float((one_BTC - other_BTC).nan_to_num_(nan=0.0).abs_().max())


def _check_finite(key: str, weight: Tensor, good: Tensor, name: str) -> None:
    if not weight.is_floating_point() or bool(good.all()):
        return
    bad = int((~good).sum())
    raise UsageError(
        f"The weight {key} of '{name}' is not finite: {bad} of its {weight.numel()} numbers "
        f"{'is' if bad == 1 else 'are'} NaN or infinite. Load it again, or give "
        "weights from before the training diverged."
    )
