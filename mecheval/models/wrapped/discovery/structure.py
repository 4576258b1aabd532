"""Finding the blocks, the embedding, the final norm and the head of a module by what it computes.

One forward pass is recorded. The blocks are the list of modules that run once each, in order, each
on the stream that the one before returned. A module without such a list can still be a chain of
sequence-mixing modules, if replacing the stream in front of each replaces the answer wholly.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` residual width, ``C`` vocabulary.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn

from mecheval.errors import UsageError
from mecheval.models.admission import check_finite_weights
from mecheval.models.contract import Tap
from mecheval.models.hooks import stream_argument
from mecheval.models.sites import Site
from mecheval.models.wrapped.discovery.block_parts import find_parts, takes_stream
from mecheval.models.wrapped.discovery.mixer_sites import inner_sites
from mecheval.models.wrapped.recording.calls import Call, evaluating, reach, record, run
from mecheval.models.wrapped.recording.inseparable import FAILURES, pass_shortage
from mecheval.own_code.explaining import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BATCH, LENGTH = 2, 11  # sizes that no axis of a model is likely to share


@dataclass(frozen=True)
class Structure:
    """The parts of a module that maps tokens to logits.

    Attributes:
        blocks: The blocks, in the order in which they run.
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


@torch.no_grad()
def find_structure(module: nn.Module) -> Structure:
    """Find the parts of a module that maps tokens ``(B, T)`` to logits ``(B, T, C)``.

    Raises:
        UsageError: The module has no blocks that can be told apart, or a weight is not finite.
    """
    check_finite_weights(module, name=type(module).__name__)  # NaN hides every part
    with evaluating(module):
        try:
            return _examined(module, probe_tokens(module))
        except FAILURES as error:
            pass_shortage(error)
            raise UsageError(
                f"{type(module).__name__} does not run on token ids of shape ({BATCH}, {LENGTH}), "
                f"or its parts not one by one ({in_words(error)}). A model must map "
                "token ids (batch, position) to logits (batch, position, vocabulary)."
            ) from error


def _examined(module: nn.Module, tokens_BT: Tensor) -> Structure:
    root = record(module, tokens_BT)
    blocks = _blocks(module, root)
    taps, absent = _sites(module, root, blocks)
    embedding, head = _embedding(root, tokens_BT), _head(root, blocks[-1])
    answered = root.output.shape[-1]
    return Structure(
        blocks=tuple(call.module for call in blocks),
        embedding=embedding.module if embedding else None,
        norm=_norm(root, blocks[-1], head),
        head=head.module if head else None,
        d_model=blocks[0].output.shape[-1],
        vocab_size=min(answered, _rows(embedding) or answered),
        positions=_positions(root, embedding),
        taps=taps,
        absent=absent,
    )


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
    found = max(chains, key=_size) if chains else _mixing_chain(root)
    if not found:
        raise UsageError(
            f"No blocks were found in {type(module).__name__}: none of its module lists runs each "
            "member once, in order, on the stream (batch, position, width) that the one before "
            "returned. Keep whole blocks, residual connections included, in one "
            "torch.nn.ModuleList."
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
    other_BT = probe_tokens(root.module, seed=1)
    seen: list[Tensor] = []

    def replace(_: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        place = stream_argument(args, kwargs)
        seen.append(args[place] if isinstance(place, int) else kwargs[place])
        if isinstance(place, int):
            return (*args[:place], part.stream_BTD, *args[place + 1 :]), kwargs
        return args, {**kwargs, place: part.stream_BTD}

    handle = part.module.register_forward_pre_hook(replace, with_kwargs=True)
    try:
        logits_BTC = run(root.module, other_BT)
    finally:
        handle.remove()
    return len(seen) == 1 and torch.allclose(logits_BTC, root.output, rtol=1e-4, atol=1e-5)


def _sites(
    module: nn.Module, root: Call, blocks: list[Call]
) -> tuple[dict[Site, Tap], dict[Site, str]]:
    """Return the taps of the sites that exist, and why the others do not."""
    names = {part: path for path, part in module.named_modules()}
    counts = Counter(call.module for call in root.descendants())
    taps: dict[Site, Tap] = {}
    absent: dict[Site, str] = {}

    def put(site: Site, side: Literal["input", "output"], found: Call | str) -> None:
        if isinstance(found, str):
            absent[site] = found
        else:
            stream_BTD = cast("Tensor", found.output if side == "output" else found.stream_BTD)
            taps[site] = Tap(found.module, side, names[found.module], stream_BTD.shape[-1])

    for layer, block in enumerate(blocks):
        parts = find_parts(block, names=names, counts=counts)
        put(Site(layer, "block_in"), "input", block)
        put(Site(layer, "mixer_in"), "input", parts.mixer_in)
        for component, tap in inner_sites(block, names=names, counts=counts).items():
            if isinstance(tap, Tap):
                taps[Site(layer, component)] = tap
            else:
                absent[Site(layer, component)] = tap
        put(Site(layer, "mixer_out"), "output", parts.mixer_out)
        put(Site(layer, "mlp_out"), "output", parts.mlp_out)
        put(Site(layer, "block_out"), "output", block)
    return taps, absent


def _embedding(root: Call, tokens_BT: Tensor) -> Call | None:
    """Return the innermost call that is given the tokens first."""
    for call in root.descendants():
        reads_tokens = any(torch.equal(given, tokens_BT) for given in call.given)
        if reads_tokens and not call.children and isinstance(call.output, Tensor):
            return call
    return None


def _rows(embedding: Call | None) -> int | None:
    weight_CD: Any = getattr(embedding.module, "weight", None) if embedding else None
    return None if weight_CD is None else len(weight_CD)


def _head(root: Call, last: Call) -> Call | None:
    """Return the first innermost call behind the blocks whose output has the logits' shape."""
    for call in _behind(root, last):
        is_logits = isinstance(call.output, Tensor) and call.output.shape == root.output.shape
        if is_logits and not call.children:
            return call
    return None


def _norm(root: Call, last: Call, head: Call | None) -> nn.Module | None:
    """Return the last call between the blocks and the head that keeps the stream's width."""
    found = None
    for call in _behind(root, last):
        if call is head:
            break
        if takes_stream(call, last.output) and call.output.shape == last.output.shape:
            found = call.module
    return found


def _behind(root: Call, last: Call) -> list[Call]:
    inside = set(last.descendants())
    return [call for call in root.descendants() if call.order > last.order and call not in inside]


def _positions(root: Call, embedding: Call | None) -> int | None:
    """Return the rows of a table that is looked up by position: column t reads row t."""
    for call in root.descendants():
        if isinstance(call.module, nn.Embedding) and call is not embedding and call.given:
            index = call.given[0]
            columns_T = torch.arange(LENGTH, device=index.device)
            if index.shape[-1:] == (LENGTH,) and bool((index == columns_T).all()):
                return call.module.num_embeddings
    return None
