"""A network that matches a run of tokens, set by hand: several heads bring its parts to the value.

No head of layer 0 matters alone, and no token of the key does: the last head reads the place at
which most of the run stands before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from hand_built import subject_of

import mecheval
from mecheval.builtin.model_registry.planted.parts import plant_copy, plant_head
from mecheval.builtin.model_registry.transformer import Attention
from mecheval.models.planted.basis import Basis, wire
from mecheval.models.planted.planted import Blueprint

if TYPE_CHECKING:
    from torch import nn

    from mecheval.metrics import Subject
    from mecheval.models.stack.residual import ResidualStack

SHARP, MATCH, GAIN = 60.0, 2.0, 10.0
"""Score of the position that a head of layer 0 looks for; of one token that matches; and logit of
a token that is read whole."""


def run_subject(matched: int, tokens: int = 12, length: int = 20) -> Subject:
    """Return the network on induction with as many tokens that match as its heads bring."""
    task = mecheval.load_task(
        f"induction[matched={matched},tokens={tokens},max_length={length},longer=[]]"
    )
    return subject_of(run_network(matched, tokens, length).eval(), task)


def run_network(matched: int, tokens: int, length: int) -> ResidualStack:
    """Build the network: ``matched`` heads in layer 0, one in layer 1."""
    lags = [f"lag{lag}" for lag in range(1, matched + 1)]
    places = length + 1
    named = Basis(token=tokens, **dict.fromkeys(lags, tokens), answer=tokens, position=places)
    size = max(-(-named.width // matched), places, tokens)
    basis = Basis(
        token=tokens, **dict.fromkeys(lags, tokens), answer=tokens, position=places,
        room=size * matched - named.width,
    )  # fmt: skip
    blueprint = Blueprint(
        layers=2, width=basis.width, context=places,
        mixers=tuple(
            lambda heads=heads: Attention(basis.width, heads, rotary=False, scale=1.0)
            for heads in (matched, 1)
        ),
    )  # fmt: skip
    stack = blueprint.stack(tokens + 1)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.zero_()
        _plant(stack, basis, lags)
    return stack


def _plant(stack: ResidualStack, basis: Basis, lags: list[str]) -> None:
    token, place, answer = basis["token"], basis["position"], basis["answer"]
    rows = slice(1, 1 + token.stop - token.start)
    wire(stack.embedding.weight, rows, token)
    wire(cast("nn.Embedding", stack.positions).weight, slice(0, place.stop - place.start), place)
    wire(stack.head.weight, rows, answer, GAIN)
    bringing, matching = (cast("Attention", block.mixer) for block in stack.blocks)
    for head, name in enumerate(lags):
        lag = head + 1
        before = slice(place.start, place.stop - lag), slice(place.start + lag, place.stop)
        where = slice(place.start, place.stop - lag)
        plant_head(bringing, query=before, key=(where, where), score=SHARP, head=head)
        plant_copy(bringing, to=basis[name], source=token, head=head)
    for asked, known in zip(["token", *lags[:-1]], lags, strict=True):
        plant_head(
            matching,
            query=(basis[asked], basis[asked]), key=(basis[asked], basis[known]), score=MATCH,
        )  # fmt: skip
    plant_copy(matching, to=answer, source=token)


def with_one_token_exchanged(subject: Subject, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of the answers, before and after the last token of the key is another.

    That is what a counterfactual of the key would be that leaves the rest of its run.
    """
    pairs = subject.pairs(n, subject.length, kind="key")
    clean_PT, row_P = pairs.clean.tokens_BT, np.arange(n)
    exchanged_PT, key_P = clean_PT.copy(), pairs.clean.roles["key"]
    exchanged_PT[row_P, key_P] = pairs.corrupted.tokens_BT[row_P, key_P]
    with torch.no_grad():
        found = [
            subject.model(torch.as_tensor(tokens_PT))
            .softmax(-1)[row_P, -1, pairs.answers_P]
            .numpy()
            for tokens_PT in (clean_PT, exchanged_PT)
        ]
    return found[0], found[1]
