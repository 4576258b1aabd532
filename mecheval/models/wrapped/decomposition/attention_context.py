"""What attention modules need besides the stream: positions, masks and constants, for any length.

One forward pass of a single example is recorded, as long as the longest that was asked for, and cut
to the positions at hand. Which axes of a tensor are positions shows in how its shape changes with
the length.

Shape suffixes: ``B`` examples, ``T`` positions (``S`` those read from), ``D`` width of the stream,
``H`` heads (1 if they share a mask), ``K`` width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mecheval.models.wrapped.decomposition.head import no_logits
from mecheval.models.wrapped.discovery.structure import LENGTH, probe_tokens
from mecheval.models.wrapped.recording.arguments import Arguments, Place, growing_axes, receiving
from mecheval.models.wrapped.recording.attention_functions import implementation, watching
from mecheval.models.wrapped.recording.calls import run
from mecheval.models.wrapped.recording.changes import n_writes, outside_of
from mecheval.models.wrapped.recording.inseparable import Inseparable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MASKED = ("sdpa", "eager")
"""Implementations of attention that take any mask."""

LENGTHS = (7, LENGTH)
"""Two lengths to tell axes of positions from others."""


@dataclass
class _Seen:
    """What one attention layer was given in a forward pass.

    Attributes:
        given: Arguments of the mixer.
        mask_1HTS: What the attention function was given as a mask; None if that is plain causal.
        options: Its other arguments.
    """

    given: Arguments = field(default_factory=lambda: Arguments((), {}))
    mask_1HTS: Tensor | None = None
    options: dict[str, Any] = field(default_factory=dict)


class AttentionContext:
    """Knows what attention modules are given with the stream of some positions."""

    def __init__(
        self,
        module: nn.Module,
        mixers: Sequence[nn.Module],
        attentions: Sequence[nn.Module],
        *,
        head: nn.Module | None = None,
        blocks: Sequence[nn.Module] = (),
    ) -> None:
        """Find out which axes are positions.

        Args:
            module: The whole model, from tokens to logits.
            mixers: The attention layers' modules that take the stream.
            attentions: The modules in them that attend.
            head: The module that makes the logits, which are not needed.
            blocks: The blocks; what attention is given can depend on weights outside of them.

        Raises:
            Inseparable: The modules are given something that depends on the tokens, or a mask that
                cannot be cut.
        """
        self.module, self.mixers, self.attentions = module, mixers, attentions
        self.head = head
        self._parameter = next(module.parameters())
        self._outside = outside_of(module, blocks) if blocks else []
        for attention in attentions:
            if implementation(attention) not in MASKED:
                raise Inseparable(f"attention by {implementation(attention)} takes no mask per row")
        ids = probe_tokens(module).unique().tolist()
        self._token, other = ids[-1], ids[0]
        shorter, longer = self._record(LENGTHS[0]), self._record(LENGTHS[1])
        others = self._record(LENGTHS[0], token=other)
        pairs = list(zip(shorter, longer, strict=True))
        self._axes = [growing_axes(short.given, long.given, LENGTHS) for short, long in pairs]
        self._fixed = [_fixed(short.options, long.options) for short, long in pairs]
        if any(tensor.shape[axis] != LENGTHS[0] for tensor, axis in self._growing(shorter)):
            raise Inseparable("attention is given a tensor with positions among other numbers")
        if not (self._continues(shorter, longer) and self._continues(others, longer)):
            raise Inseparable(
                "attention is given something that depends on the tokens or the length"
            )
        self._seen, self._length, self._place = longer, LENGTHS[1], self._where()

    def given(self, index: int, first: int, last: int) -> Arguments:
        """Return what an attention layer's mixer is given at the positions from first to last.

        Raises:
            RuntimeError: A longer sequence changes what earlier positions are given.
        """

        def cut(place: Place, tensor: Tensor) -> Tensor:
            axes = self._axes[index][place]
            if axes:
                tensor = tensor.narrow(axes[0], first, last - first)
            for axis in axes[1:]:  # of a mask: the positions that are seen
                tensor = tensor.narrow(axis, 0, last)
            return tensor

        return self._layer(index, last).given.changed(cut)

    def options(self, index: int) -> dict[str, Any]:
        """Return what the attention function takes besides queries, keys, values and mask."""
        return {name: self._seen[index].options[name] for name in self._fixed[index]}

    def mask(
        self, index: int, first: int, last: int, *, only_B: Tensor | None = None
    ) -> Tensor | None:
        """Return which positions before ``last`` those from ``first`` on see.

        Args:
            index: The attention layer.
            first: The first position that sees.
            last: The one behind the last.
            only_B: One of the positions that see per example, counted from ``first`` on.

        Returns:
            A mask ``(1, H, T, S)``, or ``(B, H, 1, S)`` with ``only_B``; None if it is plain
            causal and begins with the sequence.
        """
        mask_1HTS = self._layer(index, last).mask_1HTS
        if mask_1HTS is None and only_B is None and (first == 0 or last == first + 1):
            return None
        device = self._place[0]
        if only_B is None:
            if mask_1HTS is not None:
                return mask_1HTS[..., first:last, :last]
            row_T = torch.arange(first, last, device=device)
            return (torch.arange(last, device=device) <= row_T[:, None])[None, None]
        row_B = first + only_B.to(device)
        if mask_1HTS is not None:
            return mask_1HTS[0][:, row_B, :last].transpose(0, 1)[:, :, None]
        return (torch.arange(last, device=device) <= row_B[:, None])[:, None, None]

    def _growing(self, seen: list[_Seen]) -> Iterator[tuple[Tensor, int]]:
        for axes, layer in zip(self._axes, seen, strict=True):
            for place, tensor in layer.given.tensors.items():
                yield from ((tensor, axis) for axis in axes[place])

    def _layer(self, index: int, length: int) -> _Seen:
        place = self._where()
        if place != self._place:
            self._length = max(length, self._length)
            self._seen, self._place = self._record(self._length), place
        elif length > self._length:
            longer = self._record(length)
            if not self._continues(self._seen, longer):
                raise RuntimeError("A longer sequence changes what attention is given before it.")
            self._seen, self._length = longer, length
        return self._seen[index]

    def _where(self) -> tuple[torch.device, torch.dtype, int]:
        return self._parameter.device, self._parameter.dtype, n_writes(self._outside)

    @torch.no_grad()
    def _record(self, length: int, *, token: int | None = None) -> list[_Seen]:
        found = [_Seen() for _ in self.mixers]
        numbers = {attention: number for number, attention in enumerate(self.attentions)}

        def receive(number: int, given: Arguments, stream_BTD: Tensor) -> None:
            found[number].given = given

        def see(module: nn.Module, *given: Any) -> None:
            if module in numbers:
                _, _, _, mask, options, _ = given
                seen = found[numbers[module]]
                seen.mask_1HTS, seen.options = _checked(mask, length), options

        # Inference mode is left, because what is kept must serve outside of it too.
        with torch.inference_mode(False):
            tokens_1T = torch.full((1, length), self._token if token is None else token)
            tokens_1T = tokens_1T.to(self._parameter.device)
            with (
                receiving(self.mixers, receive),
                watching(self.attentions, see),
                no_logits(self.head, tokens_1T),
            ):
                run(self.module, tokens_1T)
        return found

    def _continues(self, shorter: list[_Seen], longer: list[_Seen]) -> bool:
        """Say whether one recording is the beginning of another one."""
        for short, long in zip(shorter, longer, strict=True):
            one, other = short.given.tensors, long.given.tensors
            if set(one) != set(other):
                return False
            pairs = [(tensor, other[place]) for place, tensor in one.items()]
            if short.mask_1HTS is not None:
                # Only one that hides nothing of a short sequence can be left out there.
                if long.mask_1HTS is None:
                    return False
                pairs.append((short.mask_1HTS, long.mask_1HTS))
            if not all(_begins(*pair) for pair in pairs):
                return False
        return True


def _fixed(shorter: dict[str, Any], longer: dict[str, Any]) -> list[str]:
    """Return the options that do not run along the positions; masks say what those would.

    ``is_causal`` is left out too: without a mask it is true, with one it must not be.
    """
    shapes = ({name: getattr(v, "shape", None) for name, v in o.items()} for o in (shorter, longer))
    one, two = shapes
    return [name for name in longer if one.get(name) == two[name] and name != "is_causal"]


def _checked(mask: Any, length: int) -> Tensor | None:
    """Return a mask as a tensor, or None where it hides later positions and nothing else."""
    if mask is None:
        return None
    if not isinstance(mask, Tensor) or mask.dim() != 4 or mask.shape[-2:] != (length, length):
        raise Inseparable("attention is given a mask that cannot be cut to some positions")
    if mask.dtype == torch.bool:
        causal_TT = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
        if bool((mask == causal_TT).all()):
            return None
    return mask


def _begins(shorter: Tensor, longer: Tensor) -> bool:
    """Say whether a tensor is the beginning of another one along every axis."""
    start = longer[tuple(slice(size) for size in shorter.shape)]
    if start.is_floating_point():
        return torch.allclose(start.double(), shorter.double(), rtol=1e-5, atol=1e-6)
    return torch.equal(start, shorter)
