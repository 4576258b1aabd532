"""The forward pass of a wrapped model with its state-space mixers on the kernels of this package.

Without CUDA kernels transformers scans position by position in plain torch. The same numbers come
several times as fast from the mixers that were taken apart; that they are the same is checked.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``E`` channels.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mecheval.models.convolution_hooks import shown
from mecheval.models.kernels.scan import choose
from mecheval.models.mixing import unchanged
from mecheval.models.modes import evaluating
from mecheval.models.sites import Site
from mecheval.models.wrapped.decomposition.readout import instead
from mecheval.models.wrapped.decomposition.state_space import Dual, Selective
from mecheval.models.wrapped.decomposition.verification import check_same
from mecheval.models.wrapped.discovery.structure import Structure, probe_tokens
from mecheval.models.wrapped.recording.arguments import STREAM, Arguments
from mecheval.models.wrapped.recording.calls import run
from mecheval.models.wrapped.recording.inseparable import Inseparable, failing_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mecheval.models.decomposition import Decomposition
    from mecheval.models.layouts import ChannelsFirst
    from mecheval.models.mixing import Edit


def has_state_space(module: nn.Module) -> bool:
    """Say whether a module holds the parameters of a Mamba."""
    return any(hasattr(part, "A_log") for part in module.modules())


class FastScan:
    """Runs mixers of a module in another way while it is taken."""

    def __init__(
        self, module: nn.Module, structure: Structure, decomposition: Decomposition
    ) -> None:
        """Find the mixers, and compare.

        Raises:
            Inseparable: There are none, or the logits are others.
        """
        layers = enumerate(decomposition.layers)
        self.mixings = {
            index: layer.mixing
            for index, layer in layers
            if isinstance(layer.mixing, Selective | Dual)
        }
        if not self.mixings:
            raise Inseparable("there is no state-space mixer")
        self.structure = structure
        self._compare(module)

    @property
    def kernels(self) -> tuple[str, ...]:
        """Return the names of what runs."""
        scans = {Selective: "selective_scan:c", Dual: "dual_scan:c"}
        return tuple(dict.fromkeys(scans[type(mixing)] for mixing in self.mixings.values()))

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take it in every forward pass until the context is left."""
        with ExitStack() as stack:
            for index, mixing in self.mixings.items():
                module = mixing.mixer
                mixed = partial(_mixed, mixing, self._edit(index), module.forward)
                stack.enter_context(instead(module, mixed))
            yield

    def _edit(self, index: int) -> Edit:
        """Show the output of the short convolution to whoever looks at it."""
        tap = self.structure.taps.get(Site(index, "conv_out"))
        if tap is None:
            return unchanged
        layout, conv = cast("ChannelsFirst", tap.layout), tap.module

        def edit(component: str, conv_BTE: Tensor) -> Tensor:
            output = functional.pad(conv_BTE.transpose(1, 2), (0, layout.extra))
            if tap.side == "function":
                changed = shown(cast("Tensor", conv.weight), output)
            else:
                with instead(conv, lambda value: value):
                    changed = conv(output)
            # Laid out alike, because sums over another layout are rounded in another way.
            return conv_BTE if changed is output else layout.get(changed).contiguous()

        return edit

    @torch.no_grad()
    def _compare(self, module: nn.Module) -> None:
        tokens_BT = probe_tokens(module)
        with evaluating(module):
            wanted_BTC = run(module, tokens_BT)
            with failing_as(), self.taken():
                made_BTC = run(module, tokens_BT)
        check_same(made_BTC, wanted_BTC, dtype=wanted_BTC.dtype, what="the mixers on other kernels")


def is_faster(module: nn.Module) -> bool:
    """Say whether the kernels of this package are what is fastest for a module as it is now."""
    parameter = next(module.parameters())
    return (
        not torch.is_grad_enabled()
        and not module.training
        and parameter.dtype == torch.float32
        and choose("auto", parameter) == "c"
    )


def _mixed(mixing: Selective | Dual, edit: Edit, own: Any, *args: Any, **kwargs: Any) -> Any:
    given, stream_BTD = Arguments.of(args, kwargs)
    others = [*given.args, *given.kwargs.values()]
    if any(not (value is STREAM or value is None or isinstance(value, bool)) for value in others):
        return own(*args, **kwargs)  # a cache, or a mask: the mixer does more than is known here
    return mixing.output(mixing.project(stream_BTD, (), edit=edit), ())
