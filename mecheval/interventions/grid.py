"""Interchange interventions over a whole grid: components x layers x positions x pairs.

Shape suffixes: ``P`` pairs, ``T`` positions, ``D`` width of a site, ``C`` vocabulary, ``R`` rows:
the (position, pair) cells of one site that need a forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from mecheval.errors import UsageError
from mecheval.interventions.edits import BATCH_SIZE, trace
from mecheval.models.hooks import visiting
from mecheval.models.sites import COMPONENTS, Site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from mecheval.models.contract import SequenceModel

Readout = Literal["logit_difference", "log_prob"]


@dataclass(frozen=True)
class RecoveryGrid:
    """What the readout says when one activation of the corrupted run is the clean run's.

    The readout is logit(answer) - logit(foil), or log p(answer), at each pair's readout position.

    Attributes:
        clean: Readout of the clean runs, shape ``(pair,)``.
        corrupted: Readout of the corrupted runs, shape ``(pair,)``.
        patched: Readout of the patched runs, shape ``(component, layer, position, pair)``; NaN
            where the model has no such component in that layer.
        axes: Labels along the axes of ``patched``, in order.
    """

    clean: np.ndarray
    corrupted: np.ndarray
    patched: np.ndarray
    axes: dict[str, tuple]

    def component(self, name: str) -> np.ndarray:
        """Return the patched readouts of one component, ``(layer, position, pair)``."""
        return self.patched[self.axes["component"].index(name)]


@torch.inference_mode()
def recovery_grid(
    model: SequenceModel,
    clean_BT: ArrayLike | Tensor,
    corrupted_BT: ArrayLike | Tensor,
    answers_B: ArrayLike | Tensor,
    foils_B: ArrayLike | Tensor,
    readout_B: ArrayLike | Tensor,
    *,
    components: Sequence[str] = ("block_in",),
    layers: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    readout: Readout = "logit_difference",
    batch_size: int = BATCH_SIZE,
) -> RecoveryGrid:
    """Patch every site of the corrupted runs with the clean runs' activation, one at a time.

    Equal to one full forward pass per cell. No pass is made for a cell whose clean and corrupted
    activations are the same, or whose position lies behind the readout: it cannot change it.

    Args:
        model: The model; put into evaluation mode.
        clean_BT: Token ids of the clean sequences.
        corrupted_BT: Token ids of their counterfactuals, of the same shape.
        answers_B: Token id of the clean answer.
        foils_B: Token id of the corrupted answer.
        readout_B: Position at which the answer is read.
        components: Which components of :data:`mecheval.models.sites.COMPONENTS` to patch.
        layers: Which layers; all where None.
        positions: Which positions; all up to the last readout where None.
        readout: ``logit_difference`` of answer and foil, or ``log_prob`` of the answer.
        batch_size: Patched sequences per forward pass.

    Raises:
        UsageError: Shapes do not agree, or a component, layer or position does not exist.
    """
    runs = _Runs(model, clean_BT, corrupted_BT, answers_B, foils_B, readout_B, readout, batch_size)
    layers = range(model.n_layers) if layers is None else layers
    positions = range(runs.n_positions) if positions is None else positions
    _check(model, components, layers, positions, runs.n_positions)

    taps = model.taps()
    shape = (len(components), len(layers), len(positions), runs.n_pairs)
    patched_KLTP = np.full(shape, np.nan, np.float64)
    corrupted_P = runs.plain(runs.corrupted_PT)
    for k, component in enumerate(components):
        for i, layer in enumerate(layers):
            if Site(layer, component) in taps:
                patched_KLTP[k, i] = runs.patched(Site(layer, component), positions, corrupted_P)
    axes = {
        "component": tuple(components),
        "layer": tuple(layers),
        "position": tuple(positions),
        "pair": tuple(range(runs.n_pairs)),
    }
    return RecoveryGrid(runs.plain(runs.clean_PT), corrupted_P, patched_KLTP, axes)


class _Runs:
    """The pairs of one grid on the model's device, and the passes over them."""

    def __init__(
        self,
        model: SequenceModel,
        clean_BT: ArrayLike | Tensor,
        corrupted_BT: ArrayLike | Tensor,
        answers_B: ArrayLike | Tensor,
        foils_B: ArrayLike | Tensor,
        readout_B: ArrayLike | Tensor,
        readout: Readout,
        batch_size: int,
    ) -> None:
        def on_device(values: ArrayLike | Tensor) -> Tensor:
            return torch.as_tensor(np.asarray(values), device=model.device).long()

        self.model, self.kind, self.batch_size = model.eval(), readout, batch_size
        self.clean_PT, self.corrupted_PT = on_device(clean_BT), on_device(corrupted_BT)
        self.answers_P, self.foils_P = on_device(answers_B), on_device(foils_B)
        self.readout_P = on_device(readout_B)
        n, shape = len(self.clean_PT), self.clean_PT.shape
        vectors = (self.answers_P, self.foils_P, self.readout_P)
        agree = len(shape) == 2 and shape == self.corrupted_PT.shape
        if not agree or any(vector.shape != (n,) for vector in vectors):
            raise UsageError(
                "recovery_grid needs clean and corrupted tokens of one shape (B, T), and answers, "
                f"foils and readouts of shape (B,); got {tuple(shape)}, "
                f"{tuple(self.corrupted_PT.shape)} and {[tuple(v.shape) for v in vectors]}."
            )
        if n == 0 or not 0 <= int(self.readout_P.min()) <= int(self.readout_P.max()) < shape[1]:
            raise UsageError(
                f"recovery_grid needs at least one pair and readouts from 0 to {shape[1] - 1}."
            )
        self.n_pairs, self.n_positions = n, int(self.readout_P.max()) + 1
        self.clean_PT = self.clean_PT[:, : self.n_positions]
        self.corrupted_PT = self.corrupted_PT[:, : self.n_positions]

    def plain(self, tokens_PT: Tensor) -> np.ndarray:
        """Read out unpatched runs, shape ``(P,)``."""
        parts = []
        for first in range(0, self.n_pairs, self.batch_size):
            pair_R = torch.arange(first, min(first + self.batch_size, self.n_pairs))
            parts.append(self._read(tokens_PT[pair_R], pair_R.to(tokens_PT.device)))
        return np.concatenate(parts)

    def patched(self, site: Site, positions: Sequence[int], corrupted_P: np.ndarray) -> np.ndarray:
        """Read out the runs patched at one site, shape ``(position, pair)``."""
        clean_PTD, corrupted_PTD = (
            trace(self.model, tokens_PT, [site], batch_size=self.batch_size)[site]
            for tokens_PT in (self.clean_PT, self.corrupted_PT)
        )
        differs_PT = (clean_PTD != corrupted_PTD).any(-1)
        differs_PT &= np.arange(self.n_positions) <= self.readout_P.cpu().numpy()[:, None]
        patched_TP = np.repeat(corrupted_P[None], len(positions), axis=0)
        row_R, pair_R = np.nonzero(differs_PT[:, list(positions)].T)
        tap = self.model.taps()[site]
        for first in range(0, len(row_R), self.batch_size):
            rows = slice(first, first + self.batch_size)
            position = torch.as_tensor(np.asarray(positions)[row_R[rows]], device=self.model.device)
            pair = torch.as_tensor(pair_R[rows], device=self.model.device)
            donor_RD = torch.as_tensor(clean_PTD[pair_R[rows], position.cpu().numpy()])

            def replace(stream_RTD: Tensor, position=position, donor_RD=donor_RD) -> Tensor:
                stream_RTD = stream_RTD.clone()
                stream_RTD[torch.arange(len(position)), position] = donor_RD.to(stream_RTD)
                return stream_RTD

            with visiting({tap: replace}):
                patched_TP[row_R[rows], pair_R[rows]] = self._read(self.corrupted_PT[pair], pair)
        return patched_TP

    def _read(self, tokens_RT: Tensor, pair_R: Tensor) -> np.ndarray:
        row_R = torch.arange(len(pair_R), device=tokens_RT.device)
        logits_RC = self.model(tokens_RT)[row_R, self.readout_P[pair_R]].double()
        if self.kind == "log_prob":
            logits_RC = logits_RC.log_softmax(-1)
        value_R = logits_RC[row_R, self.answers_P[pair_R]]
        if self.kind == "logit_difference":
            value_R = value_R - logits_RC[row_R, self.foils_P[pair_R]]
        return value_R.cpu().numpy()


def _check(
    model: SequenceModel,
    components: Sequence[str],
    layers: Sequence[int],
    positions: Sequence[int],
    n_positions: int,
) -> None:
    for component in components:
        if component not in COMPONENTS:
            raise UsageError(
                f"Unknown component '{component}'. Choose among {', '.join(COMPONENTS)}."
            )
    if any(not 0 <= layer < model.n_layers for layer in layers):
        raise UsageError(f"The model has layers 0 to {model.n_layers - 1}; got {list(layers)}.")
    if any(not 0 <= position < n_positions for position in positions):
        raise UsageError(
            f"Positions go from 0 to the last readout {n_positions - 1}; got {list(positions)}."
        )
