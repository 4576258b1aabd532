"""Scrubbing: a variable is erased at a layer and again at every later one, fitted anew each time.

A network that holds a variable twice, or computes it again behind the layer, loses nothing by
erasing it once. Shape suffixes: ``R`` rows, ``T`` positions, ``C`` cells (sequence, position),
``D`` residual width, ``J`` label sets (the true one, then those of the null), ``B`` sequences.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mecheval.interventions.stream_edits import StreamEdits
from mecheval.metrics.bottleneck.cost import AtLayer, Costs
from mecheval.metrics.bottleneck.erased_runs import RowErasers, row_erasers, split
from mecheval.metrics.bottleneck.erasers import Probing, leace
from mecheval.metrics.bottleneck.moments import LayerMoments, exchanges
from mecheval.tasks.floors import first_position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mecheval.metrics.bottleneck.erased_runs import ErasedRuns
    from mecheval.metrics.bottleneck.erasers import Eraser
    from mecheval.metrics.subject import Subject


@dataclass
class Fitting:
    """Fits LEACE to whatever streams pass, erases by it, and remembers it.

    Attributes:
        subject: The model on its task.
        values_BT: Values of the variable, or those of other sequences.
        classes: Its values that count.
        found: The erasers, in the order in which streams passed.
    """

    subject: Subject
    values_BT: np.ndarray
    classes: Sequence[int]
    found: list[Eraser] = field(default_factory=list)

    def __call__(self, stream_RTD: Tensor, rows: slice) -> Tensor:
        """Return the streams of all sequences without the variable."""
        first = first_position(self.subject.length)
        cells_CD = stream_RTD[:, first:].flatten(0, 1).float().cpu().numpy()
        labels = {"": self.values_BT[rows, first:].reshape(1, -1)}
        moments = LayerMoments({"": max(self.classes) + 1}, 1)
        none = np.zeros(0, np.intp)
        moments.add(cells_CD, labels, none)
        self.found.append(leace(moments.fit("", self.classes, none), Probing(())))
        every_R = np.zeros(len(stream_RTD), np.intp)
        return RowErasers(self.found[-1:], every_R, self.subject)(stream_RTD, rows)


def scrubbed(
    runs: ErasedRuns, variable: str, classes: Sequence[int], *, n_fit: int, n_null: int
) -> list[AtLayer | None]:
    """Erase a variable from every layer on, up to the last one that blocks follow.

    All ``n_fit`` sequences pass at once, so that an eraser is fitted to what the earlier ones left.

    Args:
        runs: The test sequences.
        variable: The variable.
        classes: Its values that count.
        n_fit: Sequences that erasers are fitted on.
        n_null: Draws of the null, whose erasers are all fitted on exchanged labels.

    Returns:
        The answers by layer; None at the embedding and behind the last block.
    """
    subject, n_layers = runs.subject, runs.subject.model.n_layers
    batch = subject.examples("train", n_fit, purpose="eraser")
    edits = StreamEdits(
        subject.model, batch.tokens_BT, subject.answers_A[:1], batch_size=len(batch)
    )
    rng = subject.stream("probe_data", "exchanged", "scrub")
    source_JB = exchanges(len(batch), n_null, rng)
    found: list[AtLayer | None] = [None]
    for layer in range(1, n_layers):
        erasers = []
        for source_B in source_JB:
            fitting = Fitting(subject, batch.variables[variable][source_B], classes)
            later = dict.fromkeys(range(layer + 1, n_layers), fitting)
            edits.logits(layer, np.arange(len(batch)), fitting, later=later)
            erasers.append(fitting.found)
        found.append(_answered(runs, layer, erasers))
    return [*found, None]


def _answered(runs: ErasedRuns, layer: int, erasers: Sequence[Sequence[Eraser]]) -> AtLayer:
    """Answer under the erasers of all label sets; each has one per layer from ``layer`` on."""
    by_layer = [[runs.on_all(own), runs.on_some(null)] for own, *null in zip(*erasers, strict=True)]
    changes = [row_erasers(trials, runs.subject) for trials in by_layer]
    trials = by_layer[0]
    row_R = np.concatenate([trial.row_JN.ravel() for trial in trials])
    logits_RTA = runs.stream_edits.logits(
        layer, row_R, changes[0], later=dict(enumerate(changes[1:], start=layer + 1))
    )
    own, null = split(runs.answered(logits_RTA, row_R), trials)
    return AtLayer.of(
        runs.target_BT,
        runs.clean.given,
        erased_BT=own.given,
        null_JBT=runs.spread(trials[1], null),
    )


def scrub_series(
    by_layer: Sequence[AtLayer | None], n_sequences: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return what scrubbing from a layer on costs beyond its null, and how far that reaches."""
    costs, once_1B = Costs.of(by_layer, n_sequences, rng), np.ones((1, n_sequences))
    return {
        "scrub_cost": costs.beyond(once_1B)[0],
        "scrub_null": costs.null_L,
        "scrub_null_high": costs.null_ends[1],
    }
