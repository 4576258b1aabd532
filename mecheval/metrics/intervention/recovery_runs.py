"""The patched runs of a recovery: one grid for the stream and what is in it, others for memory.

Shape suffixes: ``P`` pairs, ``G`` roles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.errors import UsageError
from mecheval.interventions import GuessedGrid, RecoveryGrid, gradient_guess, recovery_grid
from mecheval.metrics.intervention.recovered import roles_of
from mecheval.metrics.intervention.trivial_sites import MEMORY
from mecheval.metrics.measuring import UNMET
from mecheval.models import sites
from mecheval.models.decomposition import Refusal

if TYPE_CHECKING:
    import numpy as np

    from mecheval.metrics.intervention.recovery import Recovery
    from mecheval.metrics.subject import Subject
    from mecheval.tasks import Pairs

Grid = RecoveryGrid | GuessedGrid

NO_SUCH = "the model has no such component"
"""Why there is no recovery of a component that no layer has."""


def grids_of(metric: Recovery, subject: Subject, pairs: Pairs) -> dict[str, Grid | str]:
    """Return the grid that holds each component, or the reason why there is none.

    ``state`` and ``cache`` are exchanged at the roles alone: a pass behind a position's memory
    costs twice as much as one from a position on.

    Raises:
        UsageError: The model cannot be patched at all.
    """
    tensors = tuple(name for name in metric.components if name not in sites.MEMORY)
    absent = _absent(metric, subject, tensors)
    tensors = tuple(name for name in tensors if name not in absent)
    writes = tuple(name for name in metric.components if name == "write")
    memory = tuple(name for name in metric.components if name in MEMORY)
    found: dict[str, Grid | str] = dict.fromkeys(absent, NO_SUCH)
    for names in filter(None, (tensors, writes, memory)):
        if names == tensors:
            grid = _grid(metric, subject, pairs, names, None)
        else:
            own_PG = roles_of(pairs).T if names == memory else None
            grid = _memory_grid(metric, subject, pairs, names, own_PG)
        found |= dict.fromkeys(names, grid)
    return found


def _absent(metric: Recovery, subject: Subject, names: tuple[str, ...]) -> list[str]:
    """Return what no layer has, which a guess cannot be asked for; an exact grid is empty there."""
    if metric.method == "exact":
        return []
    known = {site.component for site in subject.model.taps()}
    return [name for name in names if name not in known]


def made_by(grid: Grid) -> tuple[str, list[str]]:
    """Return the name of the engine, and what is to be said of a grid that is a guess."""
    if isinstance(grid, RecoveryGrid):
        return grid.execution.engine, []
    return "gradients", [str(grid)]


def _memory_grid(
    metric: Recovery,
    subject: Subject,
    pairs: Pairs,
    names: tuple[str, ...],
    own_PG: np.ndarray | None,
) -> Grid | str:
    """Return a grid of components that are no tensors, or why this model has none of them."""
    model = subject.model
    if metric.method != "exact":
        return UNMET + "gradients say nothing of a memory that is no tensor of the forward pass"
    decomposition = model.decomposition()
    if isinstance(decomposition, Refusal) and not set(names) <= set(model.exchanges):
        return UNMET + decomposition.reason
    try:
        return _grid(metric, subject, pairs, names, own_PG)
    except UsageError as error:  # it comes apart, and its parts are not exact
        return UNMET + str(error)


def _grid(
    metric: Recovery,
    subject: Subject,
    pairs: Pairs,
    names: tuple[str, ...],
    own_PG: np.ndarray | None,
) -> Grid:
    runs = (pairs.clean.tokens_BT, pairs.corrupted.tokens_BT)
    ends = (pairs.answers_P, pairs.foils_P, pairs.readout_P)
    if metric.method != "exact":
        return gradient_guess(subject.model, *runs, *ends, components=names, readout=metric.readout)
    return recovery_grid(
        subject.model, *runs, *ends, components=names, positions=own_PG,
        readout=metric.readout, direction=metric.direction, frozen=metric.frozen,
        batch_size=subject.batch_size,
        partial=subject.scratch and subject.scratch / f"recovery-{names[0]}.npz",
    )  # fmt: skip
