"""What of the answers is kept if all positions get the stream of others with the same state.

That is the exchange of :mod:`mecheval.metrics.exchange` with answers held against what was kept:
donors of the same sign must keep the sign, and no more. Shape suffixes: ``B`` sequences, ``T``
positions, ``L`` inner layers 1 to n - 1, ``G`` elements, ``R`` rows, ``A`` answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval.interventions.exchanged_streams import ExchangedStreams
from mecheval.metrics import resampling
from mecheval.metrics.exchange.curves import Curves
from mecheval.metrics.exchange.donors import donors_by
from mecheval.metrics.exchange.exchanged_runs import exchanged_runs
from mecheval.metrics.state_algorithm.arrivals import states

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.metrics.exchange.exchanged_runs import ExchangedRuns
    from mecheval.metrics.subject import Subject


def kept_states(
    subject: Subject, values: Mapping[str, np.ndarray], params: Mapping[str, Any]
) -> dict[str, Curves] | str:
    """Exchange the stream at every inner layer, with donors of the same value of a variable.

    Args:
        subject: The model on its task.
        values: Value of every element ``(G,)``, by variable.
        params: Parameters of the metric.

    Returns:
        By variable the accuracy of answers in this variable, layers from 1; or why there is none.
    """
    runs = exchanged_runs(subject, [(name,) for name in values], params)
    free = donors_by(runs.pool, runs.batch, ())
    kept = {name: donors_by(runs.pool, runs.batch, (name,)) for name in values}
    missing = max(donors.missing for donors in (free, *kept.values()))
    if missing > params["max_missing"]:
        sizes = {size: params[size] for size in ("n_pool", "n_pool_most")}
        return runs.too_few(missing, **sizes)
    rng = subject.stream("probe_data", "donors", subject.length, "free")
    donor_RT = [free.draw(rng, 1)[0]]
    for name, donors in kept.items():
        stream = subject.stream("probe_data", "donors", subject.length, name)
        donor_RT.append(donors.draw(stream, 1)[0])
    state_LXBT = _answered(subject, runs, donor_RT)
    weight_RB = resampling.weights(len(runs.batch), subject.stream("bootstrap", "kept states"))
    own_BT = states(subject, subject.predict(runs.batch))
    return {
        name: Curves(
            _right(runs, subject, value_G, own_BT[None])[0],
            _right(runs, subject, value_G, state_LXBT[:, 0]),
            _right(runs, subject, value_G, state_LXBT[:, which]),
            weight_RB,
            1.0 / len(np.unique(value_G)),
            params["min_loss"],
        )
        for which, (name, value_G) in enumerate(values.items(), start=1)
    }


def _answered(subject: Subject, runs: ExchangedRuns, donors: list[np.ndarray]) -> np.ndarray:
    """Return the elements that are answered, ``(L, donors, B, T)``."""
    streams = ExchangedStreams(
        subject.model, runs.batch.tokens_BT, runs.pool.tokens_BT, subject.answers_A,
        batch_size=subject.batch_size,
    )  # fmt: skip
    donor_RT, row_R = np.concatenate(donors), np.tile(np.arange(len(runs.batch)), len(donors))
    by_layer = [
        streams.logits(layer, donor_RT, row_R).argmax(-1)
        for layer in range(1, subject.model.n_layers)
    ]
    return np.stack(by_layer).reshape(-1, len(donors), *runs.batch.tokens_BT.shape)


def _right(
    runs: ExchangedRuns, subject: Subject, value_G: np.ndarray, state_XBT: np.ndarray
) -> np.ndarray:
    """Return the share of answers with the right value, per sequence."""
    scored_BT = runs.scored_BT
    target_BT = states(subject, np.where(scored_BT, runs.batch.targets_BT, subject.answers_A[0]))
    right_XBT = (value_G[state_XBT] == value_G[target_BT]) & scored_BT
    return right_XBT.sum(-1) / scored_BT.sum(-1)
