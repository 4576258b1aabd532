"""Modules in memory as models: made once for each module, and anew when its parts have changed.

What was found in a module is kept with the module itself and goes when it goes. Weights may change
meanwhile, as in training; other parts, hooks or another configuration make it stale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.models.contract import SequenceModel
from mecheval.models.kept import Kept
from mecheval.models.wrapped.configured import experts_one_by_one, parts_of
from mecheval.models.wrapped.model import WrappedModel
from mecheval.models.wrapped.recording.module_state import STATE

if TYPE_CHECKING:
    from collections.abc import Sequence

_KEPT = "_mecheval_model"
"""Attribute of a module that holds its model."""


def wrap(
    module: nn.Module, tokenizer: Any | None = None, *, blocks: Sequence[str] | None = None
) -> WrappedModel:
    """Make a model of a module in memory: of transformers, of peft, or of one's own.

    The module is not copied: it stays where it is, in its own type of number and on its own device,
    and is put into evaluation mode. Of what ``torch.compile`` returned, the module inside is
    measured, uncompiled, because compiled code passes over hooks.

    Args:
        module: Maps token ids ``(B, T)`` to logits ``(B, T, C)``, or to an output with ``logits``.
        tokenizer: Its tokenizer, an object of transformers. With it the symbols of a task are
            tokens of text, as for checkpoints of the hub; without, a symbol's token id is its
            index.
        blocks: Paths of the modules to take for the blocks, where they are not found, or others
            than those that are: ``["encoder.layer.0", "encoder.layer.1"]``.

    Raises:
        UsageError: The module does not map tokens to logits, a named part is no block, or the
            module has no parameters, or was compiled in place.

    Examples:
        >>> import mecheval, torch
        >>> from transformers import GPT2Config, GPT2LMHeadModel
        >>> config = GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=32, n_positions=64)
        >>> module = GPT2LMHeadModel(config)
        >>> model = mecheval.wrap(module)
        >>> model.n_layers, model.d_model, model.vocab_size
        (2, 16, 32)
        >>> model(torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3, 32])
    """
    if isinstance(module, SequenceModel):
        if module.tree is module:
            raise UsageError(
                f"This {type(module).__name__} is a model already. Give it as it is, without wrap."
            )
        module = module.tree
    module = _unwrapped(module)
    module.__dict__.pop(STATE, None)  # its parts may be others since
    model = WrappedModel(module.eval(), blocks)
    model.tokenizer = tokenizer
    module.__dict__[_KEPT] = Kept(model)
    return model


def as_model(given: SequenceModel | nn.Module) -> SequenceModel:
    """Return a model as it is, and a module as the model that :func:`wrap` makes of it.

    A module is looked into once, and again only when its parts have changed since; a model that was
    made of a module whose parts have changed is made anew as well.

    Raises:
        UsageError: It is neither, or as for :func:`wrap`.
    """
    if isinstance(given, WrappedModel):
        return _current(given.module, given)
    if isinstance(given, SequenceModel):
        return given
    if isinstance(given, nn.Module):
        return _current(_unwrapped(given), None)
    if isinstance(given, str):
        raise UsageError(
            f"The name {quoted(given)} is no model yet. Load it once, and give what comes back: "
            f"model = mecheval.load_model({quoted(given)})."
        )
    raise UsageError(
        f"A {type(given).__name__} is not a model. Give one of mecheval.load_model or "
        "mecheval.wrap, or a torch.nn.Module that maps token ids (batch, position) to logits "
        "(batch, position, vocabulary)."
    )


def _current(module: nn.Module, given: WrappedModel | None) -> WrappedModel:
    """Return the model of a module, made anew where there is none or its parts have changed."""
    experts_one_by_one(module)  # which may have come into float64 since
    kept, parts = module.__dict__.get(_KEPT), parts_of(module)
    known = [model for model in (given, kept and kept.value) if model is not None]
    for model in known:
        if model.parts == parts:
            return model
    if not known:
        return wrap(module)
    return wrap(module, known[0].tokenizer, blocks=known[0].named_blocks)


def _unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside of what ``torch.compile`` returned.

    Raises:
        UsageError: It is no module, has no parameters, or was compiled in place.
    """
    if not isinstance(module, nn.Module):
        as_model(module)  # which says what is allowed
    module = getattr(module, "_orig_mod", module)
    if next(module.parameters(), None) is None:
        raise UsageError(
            f"A {type(module).__name__} without parameters is not a model: they say on which "
            "device and in which type of number it computes. Make its tensors nn.Parameters."
        )
    for path, part in module.named_modules():
        if getattr(part, "_compiled_call_impl", None) is not None:
            where = f"Its part {path}" if path else f"This {type(module).__name__}"
            raise UsageError(
                f"{where} was compiled in place by .compile(), and compiled code passes over "
                "hooks. Give the module as it was before, or set its attribute "
                "_compiled_call_impl to None."
            )
    return module
