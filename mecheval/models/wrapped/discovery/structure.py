"""Finding the blocks, the embedding, the final norm and the head of a module by what it computes.

One forward pass is recorded. The blocks are the list of modules that run once each, in order, each
on the stream that the one before returned. A module without such a list can still be a chain of
sequence-mixing modules, if replacing the stream in front of each replaces the answer wholly.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` residual width, ``C`` vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.models.admission import check_finite_weights
from mecheval.models.contract import Tap
from mecheval.models.hooks import with_stream_output
from mecheval.models.modes import evaluating
from mecheval.models.sites import Site
from mecheval.models.tolerance import CARRIED, alike
from mecheval.models.wrapped.discovery import frame
from mecheval.models.wrapped.discovery.block_parts import Parts, find_parts
from mecheval.models.wrapped.discovery.mixer_sites import Found, inner_sites
from mecheval.models.wrapped.recording.arguments import Arguments, receiving
from mecheval.models.wrapped.recording.calls import Call, reach, record, run
from mecheval.models.wrapped.recording.inseparable import Inseparable, failing_as

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BATCH, LENGTH = 2, 11  # sizes that no axis of a model is likely to share


@dataclass(frozen=True)
class Structure:
    """The parts of a module that maps tokens to logits.

    Attributes:
        blocks: The blocks, in the order in which they run; none where none were found.
        no_blocks: Why there are none, in one sentence without a full stop.
        embedding: The module that turns token ids into vectors.
        norm: The last module between the blocks and the head that keeps the width, if any.
        head: The module whose output is the logits before any scaling, if it is a module.
        d_model: Width of the residual stream.
        vocab_size: Number of token ids that are both read and answered.
        positions: Rows of a table of learned positions, if there is one.
        taps: Where every site is.
        absent: Why the other sites do not exist.
    """

    blocks: tuple[nn.Module, ...]
    embedding: nn.Module | None
    norm: nn.Module | None
    head: nn.Module | None
    d_model: int
    vocab_size: int
    positions: int | None
    taps: Mapping[Site, Tap]
    absent: Mapping[Site, str]
    no_blocks: str | None = None


@torch.no_grad()
def find_structure(module: nn.Module, named: Sequence[str] | None = None) -> Structure:
    """Find the parts of a module that maps tokens ``(B, T)`` to logits ``(B, T, C)``.

    Args:
        module: The module; one that can only run whole has no blocks.
        named: Paths of the blocks, in the order in which they run, where they are known.

    Raises:
        UsageError: It maps no tokens to logits, a named part is no block, or a weight is no number.
    """
    check_finite_weights(module, name=type(module).__name__)  # NaN hides every part
    with evaluating(module):
        tokens_BT = probe_tokens(module)
        root = _recorded(module, tokens_BT)
        if named is not None:
            return _examined(module, root, tokens_BT, _named_blocks(root, named))
        try:
            with failing_as("its parts do not run one by one ({})"):
                return _examined(module, root, tokens_BT, _blocks(module, root))
        except Inseparable as reason:
            return _examined(module, root, tokens_BT, [], no_blocks=str(reason))


def _recorded(module: nn.Module, tokens_BT: Tensor) -> Call:
    problem = "it returns something else"
    try:
        with failing_as():
            parts = list(module.modules())
            root = record(module, tokens_BT)
            if list(module.modules()) != parts:  # some choose their parts by the length of a text
                root = record(module, tokens_BT)
            logits = root.output
            if isinstance(logits, Tensor) and logits.dim() == 3 and logits.is_floating_point():
                return root
    except Inseparable as reason:
        problem = str(reason)
    raise UsageError(
        f"{type(module).__name__} does not run on token ids of shape ({BATCH}, {LENGTH}) "
        f"({problem}). A model must map token ids (batch, position) to logits (batch, position, "
        "vocabulary)."
    )


def _examined(
    module: nn.Module,
    root: Call,
    tokens_BT: Tensor,
    blocks: list[Call],
    *,
    no_blocks: str | None = None,
) -> Structure:
    taps, absent = _sites(blocks)
    last = blocks[-1] if blocks else None
    embedding, head = frame.find_embedding(root, tokens_BT), frame.find_head(root, last)
    answered, stream = root.output.shape[-1], blocks[0] if blocks else embedding
    return Structure(
        blocks=tuple(call.module for call in blocks),
        embedding=embedding.module if embedding else None,
        norm=None if last is None else frame.find_norm(root, last, head),
        head=head.module if head else None,
        d_model=stream.output.shape[-1] if stream else 0,
        vocab_size=min(answered, frame.rows(embedding) or answered),
        positions=frame.learned_positions(root, embedding),
        taps=taps,
        absent=absent,
        no_blocks=no_blocks,
    )


def _named_blocks(root: Call, paths: Sequence[str]) -> list[Call]:
    """Return the calls of modules that somebody takes for the blocks.

    Raises:
        UsageError: There is no such module, or it is called several times, or on no stream.
    """
    names = dict(root.module.named_modules())
    found = []
    for path in paths:
        calls = [call for call in root.descendants() if call.module is names.get(path)]
        if path not in names or len(calls) != 1 or not _keeps_shape(calls[0]):
            what = f"is called {len(calls)} times" if len(calls) != 1 else "works on something else"
            raise UsageError(
                f"The module {quoted(path)} cannot be a block: it "
                f"{what if path in names else 'does not exist'}. A block is called once, on a "
                "stream (batch, position, width), and returns one of that shape."
            )
        found += calls
    if not found or [call.order for call in found] != sorted(call.order for call in found):
        raise UsageError("Name at least one block, in the order in which they run.")
    return found


def probe_tokens(module: nn.Module, seed: int = 0) -> Tensor:
    """Return token ids that every embedding of a module has, ``(BATCH, LENGTH)``."""
    tables = [part.num_embeddings for part in module.modules() if isinstance(part, nn.Embedding)]
    device = next(module.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    rows = min((rows for rows in tables if rows > LENGTH), default=2)
    return torch.randint(rows, (BATCH, LENGTH), generator=generator).to(device)


def _blocks(module: nn.Module, root: Call) -> list[Call]:
    calls = {}
    for call in root.descendants():
        calls.setdefault(call.module, []).append(call)
    chains = [chain for members in _lists(module) if (chain := _chain(members, calls))]
    if len(chains) > 1:  # as where a smaller model cuts the text into patches
        chains = [chain for chain in chains if _decides(root, chain[-1])]
        if not chains:
            raise Inseparable("of several lists of modules in a row none decides the answer alone")
    # What is inside of a block can be such a list as well; the blocks are the largest one.
    found = max(chains, key=_size) if chains else _mixing_chain(root)
    if not found:
        raise Inseparable(
            "none of its module lists runs each member once, in order, on the stream (batch, "
            "position, width) that the one before returned"
        )
    return found


def _lists(module: nn.Module) -> Iterator[Sequence[nn.Module]]:
    for part in module.modules():
        if isinstance(part, nn.ModuleList | nn.Sequential) and len(part):
            yield list(part)


def _chain(members: Sequence[nn.Module], calls: Mapping[nn.Module, list[Call]]) -> list[Call]:
    """Return the members' calls if each ran once, on the stream that the one before returned."""
    if any(len(calls.get(member, ())) != 1 for member in members):
        return []
    chain = [calls[member][0] for member in members]
    widths = {call.output.shape for call in chain if isinstance(call.output, Tensor)}
    fits = len(widths) == 1 and all(_keeps_shape(call) for call in chain)
    follows = all(
        one.order < other.order
        and other.stream_BTD is not None
        and torch.equal(one.output, other.stream_BTD)
        for one, other in pairwise(chain if fits else [])
    )
    return chain if fits and follows else []


def _keeps_shape(call: Call) -> bool:
    stream_BTD = call.stream_BTD
    return (
        isinstance(call.output, Tensor)
        and stream_BTD is not None
        and call.output.shape == stream_BTD.shape
        and stream_BTD.shape[:2] == (BATCH, LENGTH)
    )


def _size(chain: list[Call]) -> int:
    return sum(p.numel() for call in chain for p in call.module.parameters())


def _mixing_chain(root: Call) -> list[Call]:
    """Find sequence-mixing modules that follow each other, each a cut through the whole model."""
    level = [root]
    while level:
        for call in level:
            chain = [part for part in call.children if _keeps_shape(part) and reach(part)]
            if chain and all(_is_cut(root, part) for part in chain):
                return chain
        level = [part for call in level for part in call.children]
    return []


def _is_cut(root: Call, part: Call) -> bool:
    """Say whether the input of a part decides the logits: put in another run's, get its answer."""
    seen: list[Tensor] = []

    def replace(number: int, given: Arguments, stream_BTD: Tensor) -> Tensor | None:
        seen.append(stream_BTD)
        return part.stream_BTD

    with receiving([part.module], replace):
        logits_BTC = run(root.module, probe_tokens(root.module, seed=1))
    return len(seen) == 1 and alike(logits_BTC, root.output)


def _decides(root: Call, part: Call) -> bool:
    """Say whether what a part returns decides the logits: put in another run, get its answer."""
    with part.module.register_forward_hook(
        lambda *called: with_stream_output(called[-1], part.output)
    ):
        made_BTC = run(root.module, probe_tokens(root.module, seed=1))
    return bool((made_BTC - root.output).abs().max() <= CARRIED * root.output.abs().max())


def _sites(blocks: list[Call]) -> tuple[dict[Site, Tap], dict[Site, str]]:
    """Return the taps of the sites that exist, and why the others do not."""
    taps: dict[Site, Tap] = {}
    absent: dict[Site, str] = {}
    for layer, block in enumerate(blocks):
        for component, tap in _found_in(block).items():
            if isinstance(tap, Tap):
                taps[Site(layer, component)] = tap
            else:
                absent[Site(layer, component)] = tap
    return taps, absent


def _tap(found: Call | str, side: Literal["input", "output"]) -> Tap | str:
    """Return where a call's stream is, or why there is no such call."""
    if isinstance(found, str):
        return found
    stream_BTD = cast("Tensor", found.output if side == "output" else found.stream_BTD)
    return Tap(found.module, side, found.path, stream_BTD.shape[-1])


def _found_in(block: Call) -> Found:
    """Return the sites of a block, or why there is none, as where its parts only run in it."""
    try:
        with failing_as(f"a part of {block.path} does not run alone ({{}})"):
            parts, inner = find_parts(block), inner_sites(block)
    except Inseparable as reason:
        why = str(reason)
        parts = Parts(why, why, why)
        inner: Found = dict.fromkeys(("q", "k", "v", "z", "conv_out"), why)
    return {
        "block_in": _tap(block, "input"), "mixer_in": _tap(parts.mixer_in, "input"), **inner,
        "mixer_out": _tap(parts.mixer_out, "output"), "mlp_out": _tap(parts.mlp_out, "output"),
        "block_out": _tap(block, "output"),
    }  # fmt: skip
