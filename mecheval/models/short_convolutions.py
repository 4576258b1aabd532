"""The short convolutions of a model, wherever they are: our own, and those of checkpoints.

Shape suffixes: ``E`` channels, ``K`` taps, the last the present.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from mecheval.models.contract import SequenceModel

COMPONENT = "conv_out"


def short_convolutions(model: SequenceModel) -> dict[int, Tensor]:
    """Return the weight ``(E, 1, K)`` of the short convolution of every layer that has one.

    It is the weight of the module whose output is the site ``conv_out``: our own convolutions and
    the ``nn.Conv1d`` of checkpoints alike.
    """
    found: dict[int, Tensor] = {}
    for site, tap in model.taps().items():
        weight: Any = getattr(tap.module, "weight", None)
        is_filter = isinstance(weight, Tensor) and weight.dim() == 3 and weight.shape[1] == 1
        if site.component == COMPONENT and is_filter:
            found[site.layer] = weight
    return dict(sorted(found.items()))
