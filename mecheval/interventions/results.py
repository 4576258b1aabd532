"""What a grid finds: readouts of patched runs by component, layer, position and run.

:class:`GridResult` while it is computed; then what users are given.

Shape suffixes: ``K`` components, ``I`` patched layers, ``J`` patched positions, ``P`` runs, or
pairs of runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from mecheval.interventions.agreement import N_SPLITS, SplitHalf, split_half

if TYPE_CHECKING:
    from mecheval.interventions.chunk import Chunk
    from mecheval.interventions.engine_choice import Execution
    from mecheval.interventions.plan import Plan


@dataclass
class GridResult:
    """Readouts of a whole grid in float64, as far as they are known while it is computed.

    Here they are gathered from one chunk of runs after the other, and kept in a file meanwhile.

    Attributes:
        base_P: Of the base runs.
        donor_P: Of the runs that donate; of the base runs where there are no such runs.
        patched_KIJP: Of the patched runs; NaN where there is no such site.
        pending_KIJP: Which of these are not known yet.
        used: Engines that computed them, in order.
    """

    base_P: np.ndarray
    donor_P: np.ndarray
    patched_KIJP: np.ndarray
    pending_KIJP: np.ndarray
    used: list[str] = field(default_factory=list)

    @classmethod
    def unknown(cls, plan: Plan, n_runs: int) -> GridResult:
        """Return the result of a grid of which nothing is known."""
        shape = (*plan.shape, n_runs)
        base_P, donor_P, patched_KIJP = (np.full(n, np.nan) for n in (n_runs, n_runs, shape))
        return cls(base_P, donor_P, patched_KIJP, np.ones(shape, bool))

    def fill(self, chunk: Chunk, runs: slice) -> None:
        """Tell a chunk what is known of its runs."""
        known = torch.as_tensor(~self.pending_KIJP[..., runs], device=chunk.base_P.device)
        patched = torch.as_tensor(self.patched_KIJP[..., runs], device=chunk.base_P.device)
        chunk.patched_KIJP[known] = patched[known]
        chunk.pending_KIJP &= ~known

    def take(self, chunk: Chunk, runs: slice) -> None:
        """Take over what a chunk has found out of its runs."""
        for name in ("base_P", "donor_P", "patched_KIJP", "pending_KIJP"):
            getattr(self, name)[..., runs] = getattr(chunk, name).cpu().numpy()


@dataclass(frozen=True, kw_only=True)
class PatchedGrid:
    """Readouts of patched runs: logit(answer) - logit(foil), or log p(answer), at each readout.

    Attributes:
        patched: The readouts, ``(component, layer, position, run)``; NaN where the model has no
            such component in that layer.
        axes: Labels along the axes of ``patched``, in order.
        execution: How the passes were made, and how far they were seen to be from plain hooks.
    """

    unpatched: ClassVar[tuple[str, ...]]
    """Attributes that are readouts of runs as they are: the patched ones first, then the donors."""

    patched: np.ndarray
    axes: dict[str, tuple]
    execution: Execution

    def component(self, name: str) -> np.ndarray:
        """Return the patched readouts of one component, ``(layer, position, run)``."""
        return self.patched[self.axes["component"].index(name)]

    def split_half(self, *, n_splits: int = N_SPLITS, seed: int = 0) -> SplitHalf:
        """Say how well the grid of one half of the runs predicts the other's, over all cells.

        Cells that no run can change are left out: all their readouts are those of a run as it is,
        bit for bit. For a choice of cells give :func:`mecheval.interventions.split_half` an array.
        """
        absent_KIJP, own = np.isnan(self.patched), [getattr(self, name) for name in self.unpatched]
        held_KIJ = np.any([((self.patched == own_P) | absent_KIJP).all(-1) for own_P in own], 0)
        effect_KIJP = np.where(held_KIJ[..., None], np.nan, self.patched - own[0])
        return split_half(effect_KIJP, n_splits=n_splits, seed=seed)


@dataclass(frozen=True, kw_only=True)
class RecoveryGrid(PatchedGrid):
    """What the readout says when one activation of a run is another run's.

    It has ``patched``, with pairs as its runs, ``axes`` and ``execution`` of :class:`PatchedGrid`.

    Attributes:
        clean: Readout of the clean runs, shape ``(pair,)``.
        corrupted: Readout of the corrupted runs, shape ``(pair,)``.

    Examples:
        >>> import mecheval
        >>> model = mecheval.load_model("lstm[layers=2,width=16]", vocab_size=7)
        >>> grid = mecheval.recovery_grid(model, [[0, 1, 2, 3]], [[0, 4, 2, 3]], [5], [6], [3])
        >>> gap = grid.clean - grid.corrupted
        >>> recovery = (grid.component("block_in") - grid.corrupted) / gap
        >>> recovery.shape  # layer, position, pair
        (2, 4, 1)
        >>> recovery[0, :, 0].tolist()  # the second token is the one that differs
        [0.0, 1.0, 0.0, 0.0]
        >>> grid.axes["position"]
        (0, 1, 2, 3)
    """

    unpatched: ClassVar[tuple[str, ...]] = ("corrupted", "clean")

    clean: np.ndarray
    corrupted: np.ndarray


@dataclass(frozen=True, kw_only=True)
class AblationGrid(PatchedGrid):
    """What the readout says when one activation of a run is replaced.

    It has ``patched``, ``axes`` and ``execution`` of :class:`PatchedGrid`.

    Attributes:
        base: Readout of the runs as they are, shape ``(run,)``.

    Examples:
        >>> import mecheval
        >>> from mecheval.interventions import Zero
        >>> model = mecheval.load_model("lstm[layers=2,width=16]", vocab_size=7)
        >>> grid = mecheval.ablation_grid(model, [[0, 1, 2, 3]], [5], [6], [3], donor=Zero())
        >>> (grid.component("block_in") - grid.base).shape  # layer, position, run
        (2, 4, 1)
    """

    unpatched: ClassVar[tuple[str, ...]] = ("base",)

    base: np.ndarray


@dataclass(frozen=True)
class GuessedGrid:
    """A guess at :class:`RecoveryGrid`, and how good it is.

    Attributes:
        clean: Readout of the clean runs, shape ``(pair,)``.
        corrupted: Readout of the corrupted runs, shape ``(pair,)``.
        guessed: Guessed readout of the patched runs, ``(component, layer, position, pair)``; NaN
            where the model has no such component in that layer.
        axes: Labels along the axes of ``guessed``, in order.
        steps: Number of gradients along the way; 1 is plain attribution patching.
        correlation: Pearson correlation of guessed and exact effects over the cells that were
            computed exactly; None where these do not vary.
        checked: Number of those cells.

    Examples:
        >>> import mecheval
        >>> model = mecheval.load_model("lstm[layers=2,width=16]", vocab_size=7)
        >>> pair = [[0, 1, 2, 3]], [[0, 4, 2, 3]], [5], [6], [3]
        >>> guess = mecheval.gradient_guess(model, *pair, components=["mixer_out"], steps=4)
        >>> guess.component("mixer_out").shape  # layer, position, pair
        (2, 4, 1)
        >>> guess.steps, guess.checked, -1 <= guess.correlation <= 1
        (4, 8, True)
    """

    clean: np.ndarray
    corrupted: np.ndarray
    guessed: np.ndarray
    axes: dict[str, tuple]
    steps: int
    correlation: float | None
    checked: int

    def component(self, name: str) -> np.ndarray:
        """Return the guessed readouts of one component, ``(layer, position, pair)``."""
        return self.guessed[self.axes["component"].index(name)]

    def __str__(self) -> str:
        """Say what this is and how far it can be trusted."""
        of = "one gradient" if self.steps == 1 else f"{self.steps} integrated gradients"
        r = "undefined" if self.correlation is None else f"{self.correlation:.2f}"
        return f"a gradient guess, of {of}: correlation with {self.checked} exact cells {r}"
