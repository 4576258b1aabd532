"""Answers of a model without some taps of one short convolution.

A convolution adds up what its taps contribute, channel by channel:

    y_t = bias + sum over lags j of w_j x_(t - j)

Ablating lags takes away what they contribute to a sequence, and leaves at every position what they
contribute there on average over other sequences (``mean``), what they contribute to one other
sequence (``resample``), or nothing (``zero``). With ``mean`` what all sequences have in common at a
position stays, and the model loses what the taps tell of this sequence. Zero is a contribution that
it may never have seen.

Shape suffixes: ``N`` sequences, ``T`` positions, ``E`` channels, ``K`` taps, ``A`` answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from mecheval.interventions import answer_logits
from mecheval.interventions.activations import activations
from mecheval.metrics.circuit.taps import rewritten, without
from mecheval.models.short_convolutions import COMPONENT
from mecheval.models.sites import Site

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from mecheval.metrics.subject import Subject

Ablation = Literal["mean", "resample", "zero"]


@dataclass(frozen=True)
class TapAblation:
    """Runs sequences without some taps of one convolution, all else as it is.

    Attributes:
        subject: The model on its task.
        tokens_NT: The sequences.
        read_NT: Where the answers are read.
        kind: What stays of the taps.
    """

    subject: Subject
    tokens_NT: np.ndarray
    read_NT: np.ndarray
    kind: Ablation

    def whole(self) -> np.ndarray:
        """Return the answers' logits of the model as it is, ``(N, T, A)``, where they are read."""
        return self._logits(slice(None), None)

    def without(self, layer: int, weight_E1K: Tensor, lags: Iterable[int]) -> np.ndarray:
        """Return the answers' logits without some taps, ``(N, T, A)``, where they are read.

        Args:
            layer: The layer of the convolution.
            weight_E1K: Its weight.
            lags: How far back the taps look that are taken away.
        """
        left_E1K = without(weight_E1K, lags)
        stays_NTE = None if self.kind == "zero" else self._stays(layer, weight_E1K, left_E1K)
        size = self.subject.batch_size
        with rewritten(weight_E1K, left_E1K):
            parts = [
                self._logits(rows, None if stays_NTE is None else (layer, stays_NTE[rows]))
                for rows in (
                    slice(first, first + size) for first in range(0, len(self.tokens_NT), size)
                )
            ]
        return np.concatenate(parts)

    def _logits(self, rows: slice, stays: tuple[int, Tensor] | None) -> np.ndarray:
        edits = {}
        if stays is not None:
            layer, added_NTE = stays
            edits = {Site(layer, COMPONENT): lambda out_NTE: out_NTE + added_NTE.to(out_NTE.dtype)}
        return answer_logits(
            self.subject.model, self.tokens_NT[rows], self.subject.answers_A,
            edits=edits, read_BT=self.read_NT[rows], batch_size=self.subject.batch_size,
        )  # fmt: skip

    def _stays(self, layer: int, weight_E1K: Tensor, left_E1K: Tensor) -> Tensor:
        """Return what stays of the taps' contribution, for every sequence."""
        whole_NTE = self._outputs(layer)
        with rewritten(weight_E1K, left_E1K):
            contributed_NTE = whole_NTE - self._outputs(layer)
        if self.kind == "resample":
            return contributed_NTE
        return contributed_NTE.mean(0, keepdim=True).expand_as(contributed_NTE)

    def _outputs(self, layer: int) -> Tensor:
        """Return the convolution's output on other sequences, as many as there are, in float64."""
        subject, site = self.subject, Site(layer, COMPONENT)
        others = subject.examples("test", len(self.tokens_NT), purpose="taps")
        tokens_NT = torch.as_tensor(others.tokens_BT, device=subject.model.device)
        found = activations(subject.model, tokens_NT, [site], batch_size=subject.batch_size)
        return found[site].double()
