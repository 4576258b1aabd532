"""Probes that are fitted afresh on erased activations: what is still there to be read.

Shape suffixes: ``N`` examples, ``M`` test examples, ``D`` features, ``S`` classes, ``L`` layers 0
to n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics.probe import probes
from mecheval.metrics.probe.design import design
from mecheval.metrics.probe.mlp import fit_mlps
from mecheval.metrics.probe.probe_data import SPLITS, ProbeData
from mecheval.metrics.probe.probes import Split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.metrics.bottleneck.erasers import Eraser


@dataclass(frozen=True)
class Refit:
    """What a linear probe reads that is fitted on erased activations.

    Attributes:
        accuracy: Balanced accuracy of its likeliest class. Where classes have equal means but
            unequal spread it is right more often than chance, though nothing is gained in log-loss.
        log_loss: By which share of log(S) its balanced log-loss is below a constant's, at a
            temperature that is chosen on the validation examples.
        finds: Whether it has evidence of reading anything
            (:func:`mecheval.metrics.probe.probes.evidence`).
    """

    accuracy: float
    log_loss: float
    finds: bool


def refit(data: ProbeData, layer: int, eraser: Eraser, inverse_l2: Sequence[float]) -> Refit:
    """Fit and test a fresh linear probe on erased activations of sequences of its own."""
    train, validation, test = erased_splits(data, layer, eraser)
    probe = probes.fit_logistic(
        train, validation, inverse_l2, scale=data.spread(layer), guarded=False
    )
    chosen_MS, test_MS = (probe.logits(split.features_ND) for split in (validation, test))
    gains = probes.log_loss_gains(test_MS, test.labels_N)
    gain = gains[probes.log_loss_gains(chosen_MS, validation.labels_N).argmax()]
    return Refit(
        probes.score_balanced(test_MS.argmax(1) == test.labels_N, test.labels_N),
        float(gain / np.log(test_MS.shape[1])),
        probes.evidence(chosen_MS, validation.labels_N) > probes.STANDARD_ERRORS,
    )


def erased_splits(data: ProbeData, layer: int, eraser: Eraser) -> list[Split]:
    """Return the training, validation and test examples of a layer without what is erased."""
    splits = [data.layer(split, layer) for split in SPLITS]
    return [Split(eraser(split.features_ND), split.labels_N) for split in splits]


def nonlinear(
    data: ProbeData,
    layers: Sequence[int],
    rng: np.random.Generator,
    erasers: Mapping[int, Eraser] | None = None,
) -> np.ndarray:
    """Fit and test networks with one hidden layer.

    Those that are given equal generators start from the same weights and see the same sequences.

    Args:
        data: Examples of the variable.
        layers: Where they read it.
        rng: Decides the first weights and the order of the examples.
        erasers: What is erased before, by layer; nothing if None.

    Returns:
        Balanced accuracies ``(L,)``; NaN at other layers.
    """
    read_L = np.full(data.n_layers, np.nan)
    sets = [
        [data.layer(split, layer) for split in SPLITS]
        if erasers is None
        else erased_splits(data, layer, erasers[layer])
        for layer in layers
    ]
    designs = [
        design(train.features_ND, scale=data.spread(layer))
        for (train, _, _), layer in zip(sets, layers, strict=True)
    ]
    trains, validations, tests = ([splits[at] for splits in sets] for at in range(len(SPLITS)))
    fitted = fit_mlps(trains, validations, rng, designs=designs) if sets else []
    for layer, probe, test in zip(layers, fitted, tests, strict=True):
        right = probe.predict(test.features_ND) == test.labels_N
        read_L[layer] = probes.score_balanced(right, test.labels_N)
    return read_L
