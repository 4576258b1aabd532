"""How much of an answer's probability one restored activation brings back, at named positions.

With p0 the probability of the clean answer in the clean run, p~ in the corrupted one, p_r in the
corrupted run with one clean activation, and q_r in the clean run with one corrupted activation:

    sufficiency = (mean p_r - mean p~) / (mean p0 - mean p~)
    necessity   = (mean p0 - mean q_r) / (mean p0 - mean p~)

(Arora et al. 2025, arXiv:2505.15105). Means are over the same pairs above and below the line, so
that no pair without a gap of its own can blow the ratio up, and all cells share one draw of pairs.

Shape suffixes: ``P`` pairs, ``L`` layers, ``G`` roles, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from mecheval.interventions import recovery_grid
from mecheval.metrics import resampling
from mecheval.metrics.intervention import patching
from mecheval.metrics.intervention.patching import NOWHERE
from mecheval.metrics.intervention.roles import ROLES, positions_of, spans_of
from mecheval.metrics.intervention.trivial_sites import UNKNOWN, anatomy_of, by_construction
from mecheval.metrics.results import profile
from mecheval.tasks import Pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.interventions import RecoveryGrid
    from mecheval.metrics.intervention.trivial_sites import Anatomy
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import Profile

MIN_PAIRS = 8
Direction = Literal["denoising", "noising"]
DIRECTIONS: tuple[Direction, ...] = ("denoising", "noising")


@dataclass(frozen=True)
class Restored:
    """Probabilities of the clean answer, with and without one exchanged activation.

    Attributes:
        pairs: The pairs.
        position_GP: Where each of :data:`ROLES` is, or begins; ``NOWHERE`` in pairs that do not
            have it.
        clean_P: Probability in the clean run, p0.
        corrupted_P: Probability in the corrupted run, p~.
        patched_LGP: By direction and component, with the activation exchanged; NaN where the pair
            has no such role or the layer no such component.
        anatomy: How the layers of the model are made, as far as they come apart; nothing is known
            of them where there are none.
        span_G: How many positions each role has, all of which are exchanged at once; one where not
            given.
    """

    pairs: Pairs
    position_GP: np.ndarray
    clean_P: np.ndarray
    corrupted_P: np.ndarray
    patched_LGP: dict[tuple[Direction, str], np.ndarray]
    anatomy: tuple[Anatomy, ...] = ()
    span_G: tuple[int, ...] = ()

    @property
    def spans_G(self) -> np.ndarray:
        """Return the number of positions of each role."""
        return np.array(self.span_G or (1,) * len(self.position_GP))

    @property
    def gap(self) -> float:
        """Return mean p0 - mean p~; NaN without pairs, or if one is not finite."""
        gap_P = self.clean_P - self.corrupted_P
        return float(gap_P.mean()) if len(gap_P) else np.nan

    @property
    def n_layers(self) -> int:
        """Return the number of layers L."""
        return len(next(iter(self.patched_LGP.values())))

    def take(self, kept_P: np.ndarray) -> Restored:
        """Return some of the pairs."""
        return replace(
            self,
            pairs=Pairs(self.pairs.clean.take(kept_P), self.pairs.corrupted.take(kept_P)),
            position_GP=self.position_GP[:, kept_P],
            clean_P=self.clean_P[kept_P],
            corrupted_P=self.corrupted_P[kept_P],
            patched_LGP={cell: values[..., kept_P] for cell, values in self.patched_LGP.items()},
        )

    def only(self, kept_GP: np.ndarray) -> Restored:
        """Return the same with roles left out in some pairs."""
        return replace(
            self,
            position_GP=np.where(kept_GP, self.position_GP, NOWHERE),
            patched_LGP={
                cell: np.where(kept_GP, values, np.nan) for cell, values in self.patched_LGP.items()
            },
        )

    def no_gap(self, least: float) -> str | None:
        """Say why shares would mean nothing; None where they do mean something."""
        if len(self.pairs) < MIN_PAIRS:
            return f"no gap: there are {len(self.pairs)} pairs, and {MIN_PAIRS} are needed"
        if self.gap >= least:
            return None
        return (
            f"no gap: the answer's probability is {self.clean_P.mean():.3f} in the clean run and "
            f"{self.corrupted_P.mean():.3f} in the corrupted one, less than {least:g} apart"
        )

    def share(self, weight_RP: np.ndarray, component: str, direction: Direction) -> np.ndarray:
        """Return sufficiency (denoising) or necessity (noising), ``(R, L, G)``.

        Args:
            weight_RP: How often each resample holds each pair; a row of ones for the plain value.
            component: The exchanged component.
            direction: Which of the two.

        Returns:
            Ratios of means over the pairs that have the role; NaN where fewer than
            :data:`MIN_PAIRS` do.
        """
        patched = self.patched_LGP[direction, component]
        change = patched - self.corrupted_P if direction == "denoising" else self.clean_P - patched
        has = ~np.isnan(patched)
        has &= has.sum(-1, keepdims=True) >= MIN_PAIRS
        gap_P = self.clean_P - self.corrupted_P
        above_PV, below_PV = (
            np.where(has, values, 0.0).reshape(-1, len(gap_P)).T for values in (change, gap_P)
        )
        flat_RV = resampling.ratio(weight_RP, above_PV, below_PV)
        return flat_RV.reshape(-1, *patched.shape[:2])


def restored(subject: Subject, pairs: Pairs, components: Sequence[str], *, kind: str) -> Restored:
    """Exchange activations at all roles in both directions; components that are known stay so.

    Args:
        subject: The model on its task.
        pairs: Pairs of the subject.
        components: Which components; none for the runs as they are, which say whether there is a
            gap at all.
        kind: The kind of counterfactual of the pairs.
    """
    key = ("restored", kind, pairs.clean.tokens_BT.shape)
    if key not in subject.memo:
        # BOS is the same in both runs, and so is all that it leads to: no pass is patched.
        grid = _grid(subject, pairs, ["block_out"], "denoising", np.zeros((1, len(pairs)), int))
        ends = np.exp(grid.clean), np.exp(grid.corrupted)
        anatomy = anatomy_of(subject.model)
        subject.memo[key] = Restored(
            pairs, positions_of(pairs), *ends, {}, anatomy, spans_of(pairs)
        )
    known: Restored = subject.memo[key]
    for direction in DIRECTIONS:
        missing = [name for name in components if (direction, name) not in known.patched_LGP]
        if missing:
            known = _with(known, subject, missing, direction)
    subject.memo[key] = known
    return known


def exchanged_at(
    subject: Subject, found: Restored, component: str, position_P: np.ndarray
) -> Restored:
    """Exchange one component at one position per pair, which is no role, in both directions.

    Args:
        subject: The model on its task.
        found: The pairs, and the runs as they are.
        component: The component.
        position_P: Where; the result has it as its only role.

    Raises:
        UsageError: The component cannot be exchanged in this model.
    """
    alone = replace(found, position_GP=position_P[None], patched_LGP={}, span_G=())
    for direction in DIRECTIONS:
        alone = _with(alone, subject, [component], direction)
    return alone


def _with(
    known: Restored, subject: Subject, components: Sequence[str], direction: Direction
) -> Restored:
    shape = (subject.model.n_layers, *known.position_GP.shape)
    patched = {(direction, name): np.full(shape, np.nan) for name in components}
    for span in np.unique(known.spans_G):
        role_G = known.spans_G == span
        if (known.position_GP[role_G] == NOWHERE).all():
            continue
        grid = _grid(
            subject, known.pairs, components, direction, known.position_GP[role_G], span=int(span)
        )
        for name in components:
            patched[direction, name][:, role_G] = np.exp(grid.component(name))
    return replace(known, patched_LGP={**known.patched_LGP, **patched})


def _grid(
    subject: Subject,
    pairs: Pairs,
    components: Sequence[str],
    direction: Direction,
    position_GP: np.ndarray,
    *,
    span: int = 1,
) -> RecoveryGrid:
    return recovery_grid(
        subject.model, pairs.clean.tokens_BT, pairs.corrupted.tokens_BT,
        pairs.answers_P, pairs.foils_P, pairs.readout_P,
        components=components, positions=position_GP.T, span=span, readout="log_prob",
        direction=direction, batch_size=subject.batch_size,
    )  # fmt: skip


def known_cells(found: Restored, component: str) -> np.ndarray:
    """Return the share of cells that do not depend on the model, else NaN: ``(L, G, P)``."""
    anatomy = found.anatomy or (UNKNOWN,) * found.n_layers
    by_span = {
        span: by_construction(found.pairs, component, anatomy, span=span)
        for span in set(found.spans_G.tolist())
    }
    at_roles = [
        patching.at_positions(by_span[span], position_P)
        for span, position_P in zip(found.spans_G.tolist(), found.position_GP, strict=True)
    ]
    return np.stack(at_roles, 1)


def largest_error(found: Restored, component: str, direction: Direction) -> float:
    """Return how far a probability is from what it must be in the cells known by construction."""
    known_LGP, gap_P = known_cells(found, component), found.clean_P - found.corrupted_P
    restoring = direction == "denoising"
    start_P, sign = (found.corrupted_P, 1.0) if restoring else (found.clean_P, -1.0)
    off_LGP = np.abs(found.patched_LGP[direction, component] - start_P - sign * known_LGP * gap_P)
    return float(np.nanmax(off_LGP, initial=0.0))


def share_profile(
    found: Restored, components: Sequence[str], weight_RP: np.ndarray, direction: Direction
) -> Profile:
    """Lay shares out by component, layer and role, without roles that no pair has.

    ``probability`` is the mean probability of the clean answer over the ``pairs`` that have the
    role; a cell is ``trivial`` if it is there and the same in any model.
    """
    plain_1P = np.ones((1, len(found.pairs)))
    kept_G = (found.position_GP != NOWHERE).any(1)
    value, drawn = (
        np.stack([found.share(weights, name, direction) for name in components], 1)
        for weights in (plain_1P, weight_RP)
    )
    patched = np.stack([found.patched_LGP[direction, name] for name in components])
    known = np.stack([known_cells(found, name) for name in components])
    counts = (~np.isnan(patched)).sum(-1)
    with np.errstate(invalid="ignore"):
        probability = np.nansum(patched, -1) / counts
    # Pairs without the role are neither known nor unknown.
    trivial = (~np.isnan(known) | (found.position_GP == NOWHERE)).all(-1) & (counts > 0)
    low, high = resampling.bounds(drawn)
    return profile(
        {
            "component": components,
            "layer": range(found.n_layers),
            "role": [role for role, kept in zip(ROLES, kept_G, strict=True) if kept],
        },
        value[0][..., kept_G],
        (low[..., kept_G], high[..., kept_G]),
        marks={"trivial": trivial[..., kept_G]},
        series={"probability": probability[..., kept_G], "pairs": counts[..., kept_G]},
    )
