"""What of a grid is patched, and how the passes are made.

Shape suffixes: ``P`` runs, ``J`` patched positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from mecheval.errors import UsageError
from mecheval.models.sites import COMPONENTS, MEMORY, Site

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from mecheval.interventions.base_runs import BaseRuns

Engine = Literal["auto", "fastest", "tails", "blocks", "hooks", "steps"]
ENGINES: tuple[Engine, ...] = ("auto", "fastest", "tails", "blocks", "hooks", "steps")
"""Two ways to choose, then from the fastest to the one that needs nothing of a model; ``steps`` is
for the components ``state`` and ``cache`` alone, and needs a model that reads token by token."""

SEVERAL: tuple[Engine, ...] = ("auto", "fastest")
"""``fastest`` is the first of the others that is exact for the model; ``auto`` takes plain hooks
for a grid that is too small to gain by it."""


@dataclass(frozen=True)
class Plan:
    """Which sites are patched and how the passes are made.

    Attributes:
        components: Components, in the order of the result.
        layers: Layers, likewise.
        positions: Positions, likewise.
        span: How many positions a cell patches at once, from its own on.
        frozen: Whether the memory of all later layers is held at the base run's, so that only the
            path through the patched layer's own memory and the residual stream is left.
        engine: One of :data:`ENGINES`.
        batch_size: Rows per whole forward pass, at most.
        memory: Bytes that the activations of one pass may take, roughly.
        wanted_JP: Whether a position is patched in a run; all are where None.
    """

    components: tuple[str, ...]
    layers: tuple[int, ...]
    positions: tuple[int, ...]
    span: int = 1
    frozen: bool = False
    engine: Engine = "auto"
    batch_size: int = 128
    memory: int = 2**30
    wanted_JP: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the numbers of components, layers and positions."""
        return len(self.components), len(self.layers), len(self.positions)

    def take(self, runs: slice) -> Plan:
        """Return the plan of some of the runs."""
        wanted_JP = None if self.wanted_JP is None else self.wanted_JP[:, runs]
        return replace(self, wanted_JP=wanted_JP)

    def sized(self, base_runs: BaseRuns) -> Plan:
        """Return the plan with no more rows per forward pass than its memory allows."""
        rows = max(1, self.memory // base_runs.row_bytes)
        return replace(self, batch_size=min(self.batch_size, rows))

    def axes(self, n_runs: int) -> dict[str, tuple]:
        """Return the labels along the axes of a result."""
        return {
            "component": self.components,
            "layer": self.layers,
            "position": self.positions,
            "pair": tuple(range(n_runs)),
        }

    def sites(self) -> list[Site]:
        """Return all patched sites, whether the model has them or not."""
        return [Site(layer, name) for name in self.components for layer in self.layers]

    def check(self, base_runs: BaseRuns) -> None:
        """Check components, layers, positions and engine.

        Raises:
            UsageError: One of them does not exist, no blocks were found in the model, or what a
                position remembers is to be patched at several.
        """
        base_runs.model.check_blocks()
        for component in self.components:
            if component not in COMPONENTS:
                raise UsageError(
                    f"Unknown component '{component}'. Choose among {', '.join(COMPONENTS)}."
                )
        last = base_runs.model.n_layers - 1
        if any(not 0 <= layer <= last for layer in self.layers):
            raise UsageError(f"The model has layers 0 to {last}; got {list(self.layers)}.")
        last = base_runs.n_positions - 1
        if any(not 0 <= position <= last for position in self.positions):
            raise UsageError(
                f"Positions go from 0 to the last readout {last}; got {list(self.positions)}."
            )
        remembered = [component for component in self.components if component in MEMORY]
        if self.span < 1 or (self.span > 1 and remembered):
            one = f" and {remembered[0]} is that of one position" if remembered else ""
            raise UsageError(f"A patch spans one position or more{one}; got span={self.span}.")
        if self.engine not in ENGINES:
            raise UsageError(f"Unknown engine '{self.engine}'. Choose among {', '.join(ENGINES)}.")


def plan_of(
    base_runs: BaseRuns,
    components: Sequence[str],
    layers: Sequence[int] | None,
    positions: Sequence[int] | None,
    **how: Any,
) -> Plan:
    """Make a plan of what the user gave: all layers and positions where None is given."""
    return Plan(
        tuple(components),
        tuple(range(base_runs.model.n_layers) if layers is None else layers),
        tuple(range(base_runs.n_read) if positions is None else positions),
        **how,
    )
