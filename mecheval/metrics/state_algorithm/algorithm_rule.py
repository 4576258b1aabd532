"""By which algorithm products are put together: the rule, pure, on arrays.

What is asked of each model are *curves*: behind which block a changed letter has reached the
readout, by its distance. There is one for every quotient (letters that differ in it, and answers
held against it alone), and one within it (letters that do not differ in it, and whole answers);
where there is no quotient, one of the state. A curve

- is **flat** if it rises by at most ``flat`` layers per doubling of the distance;
- **doubles** if it rises by ``grows`` or more, and a line over the logarithm of the distance fits
  it at least as well as a line over the distance;
- is **handed on** if for ``handed_on`` of the letters 3 or more positions away the difference
  stands at some layer, whole, at positions between the letter and the readout.

From exchange: a variable **is a state** if donors of the same value of it bring back ``enough`` of
what donors of any state cost, at every inner layer where these cost ``min_loss`` or more; where
they do so at no layer, nothing but letters is there, and it is one.

A letter is **carried** if ``enough`` of its way to the readout from far away (the last octave) lies
in blocks whose memory is of one size at every position.

The verdicts, in the order in which they are tried:

- **sequential**: all curves are flat, the state is a state, and letters are carried;
- **parity first, then scan**: the curve of a quotient is flat, the quotient is a state, it arrives
  half a layer or more before what is far away within it, and the curve within it doubles and is
  handed on; the state is none;
- **associative scan**: all curves double and are handed on, and the state is none;
- else none: :data:`CASES` has the reasons.

Shape suffixes: ``R`` resamples, ``C`` curves, ``Q`` quotients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

SEQUENTIAL, PARITY_FIRST, SCAN = (
    "sequential", "parity first, then scan", "associative scan",
)  # fmt: skip
VERDICTS = (SEQUENTIAL, PARITY_FIRST, SCAN)

EARLIER = 0.5
"""How many layers before what is far away within it a quotient must have arrived."""


@dataclass(frozen=True)
class Thresholds:
    """What is enough; see the parameters of the metric."""

    flat: float
    grows: float
    enough: float
    handed_on: float


@dataclass(frozen=True)
class Evidence:
    """What was measured, in resamples; curves that could not be asked for are NaN.

    Attributes:
        slope_RC: Layers per doubling of the distance: first the curves of quotients, then those
            within them, in the same order; without quotients, that of the state.
        doubles_RC: Whether a line over the logarithm fits at least as well.
        handed_RC: Share of letters 3 or more positions away that are handed on.
        near_RC: Behind which block letters of the first octave have arrived.
        far_RC: Behind which block those of the last octave have.
        carried_RC: Share of the way from the last octave in blocks whose memory is of one size.
        state_R: Least share that donors of the same state bring back; NaN where nothing is lost.
        quotient_RQ: Likewise, of every quotient.
    """

    slope_RC: np.ndarray
    doubles_RC: np.ndarray
    handed_RC: np.ndarray
    near_RC: np.ndarray
    far_RC: np.ndarray
    carried_RC: np.ndarray
    state_R: np.ndarray
    quotient_RQ: np.ndarray


@dataclass(frozen=True)
class Found:
    """What the evidence amounts to, in every resample; curves that were not asked for say nothing.

    Attributes:
        flat_R: All curves are flat.
        grow_R: All curves grow.
        double_R: All curves double.
        flat_or_double_R: Each of them is flat or doubles.
        handed_on_R: All curves are handed on.
        carried_R: Letters are carried, on the curve where they are least.
        state_R: The state is a state.
        first_RQ: Which quotients come first, each before a scan within it.
    """

    flat_R: np.ndarray
    grow_R: np.ndarray
    double_R: np.ndarray
    flat_or_double_R: np.ndarray
    handed_on_R: np.ndarray
    carried_R: np.ndarray
    state_R: np.ndarray
    first_RQ: np.ndarray

    @property
    def quotient_first_R(self) -> np.ndarray:
        """Say whether some quotient comes first."""
        return np.asarray(self.first_RQ.any(1))


class Case(NamedTuple):
    """A way through the rule.

    Attributes:
        holds: Says in which resamples it is this case, where it is none that stands before it.
        verdict: What is said then, if anything.
        why: Why, in words.
    """

    holds: Callable[[Found], np.ndarray]
    verdict: str | None
    why: str


CASES = (
    Case(
        lambda found: found.flat_R & found.state_R & found.carried_R,
        SEQUENTIAL,
        "the whole prefix is there behind the same block, from a memory of one size",
    ),
    Case(
        lambda found: found.quotient_first_R & ~found.state_R,
        PARITY_FIRST,
        "a quotient of the whole prefix is there first, and windows grow within it",
    ),
    Case(
        lambda found: found.double_R & found.handed_on_R & ~found.state_R,
        SCAN,
        "windows double from layer to layer, and what they hold is handed on",
    ),
    Case(
        lambda found: found.flat_R & found.state_R,
        None,
        "letters of every distance arrive behind the same block, which reads them all at once from "
        "a memory that grows with the prefix: nothing is carried from position to position",
    ),
    Case(
        lambda found: found.flat_R,
        None,
        "letters of every distance arrive behind the same block, and what stands in the stream "
        "before is not the state: donors of the same state do not bring the answers back",
    ),
    Case(
        lambda found: found.grow_R & ~found.double_R,
        None,
        "letters from further away arrive later, and not by one layer per doubling: a window that "
        "grows by as much in every layer fits better",
    ),
    Case(
        lambda found: found.grow_R & ~found.handed_on_R,
        None,
        "letters from further away arrive later, and nothing is handed on between: no product of "
        "other positions is used",
    ),
    Case(
        lambda found: found.grow_R | (found.quotient_first_R & found.state_R),
        None,
        "letters from further away arrive later, and what stands in the stream before is the state "
        "all the same: the two kinds of evidence contradict each other",
    ),
    Case(
        lambda found: ~found.flat_or_double_R,
        None,
        "mixed: of what is asked, some is neither independent of the distance nor doubles",
    ),
    Case(
        lambda found: np.ones_like(found.flat_R),
        None,
        "mixed: some arrives behind the same block from everywhere and some from windows that "
        "double, but no quotient comes first",
    ),
)
"""All ways through the rule, in the order in which they are tried: the first that holds is it."""


@dataclass(frozen=True)
class Judgement:
    """What the rule says.

    Attributes:
        case_R: Index into :data:`CASES`.
        first_R: Index of the first quotient that comes first; -1 where none does.
    """

    case_R: np.ndarray
    first_R: np.ndarray

    @property
    def verdict_R(self) -> np.ndarray:
        """Return the index of the verdict among :data:`VERDICTS`; -1 for none."""
        of_case = [-1 if c.verdict is None else VERDICTS.index(c.verdict) for c in CASES]
        return np.array(of_case)[self.case_R]


def judge(evidence: Evidence, least: Thresholds) -> Judgement:
    """Apply the rule to every resample."""
    found = _found(evidence, least)
    case_R = np.stack([case.holds(found) for case in CASES]).argmax(0)
    # Only groups that have quotients have a first one.
    first_R = found.first_RQ.argmax(1) if found.first_RQ.size else -1
    first_R = np.where(found.quotient_first_R, first_R, -1)
    return Judgement(case_R, first_R)


def _found(evidence: Evidence, least: Thresholds) -> Found:
    """Hold the evidence against the thresholds."""
    asked_RC = ~np.isnan(evidence.slope_RC)
    flat_RC = np.abs(evidence.slope_RC) <= least.flat
    grows_RC = evidence.slope_RC >= least.grows
    doubles_RC = grows_RC & evidence.doubles_RC
    handed_on_RC = evidence.handed_RC >= least.handed_on
    state_R, quotient_RQ = (
        np.isnan(value) | (value >= least.enough)
        for value in (evidence.state_R, evidence.quotient_RQ)
    )

    def all_of(mask_RC: np.ndarray) -> np.ndarray:
        return np.asarray((mask_RC | ~asked_RC).all(1))

    return Found(
        flat_R=all_of(flat_RC),
        grow_R=all_of(grows_RC),
        double_R=all_of(doubles_RC),
        flat_or_double_R=all_of(flat_RC | doubles_RC),
        handed_on_R=all_of(handed_on_RC),
        carried_R=all_of(evidence.carried_RC >= least.enough),
        state_R=state_R,
        first_RQ=_comes_first(evidence, flat_RC, doubles_RC & handed_on_RC) & quotient_RQ,
    )


def _comes_first(evidence: Evidence, flat_RC: np.ndarray, scans_RC: np.ndarray) -> np.ndarray:
    """Say which quotients arrive from everywhere at once, before what is scanned within them."""
    n_quotients = evidence.quotient_RQ.shape[1]
    own, within = slice(0, n_quotients), slice(n_quotients, 2 * n_quotients)
    earlier_RQ = evidence.far_RC[:, own] <= evidence.far_RC[:, within] - EARLIER
    return np.asarray(flat_RC[:, own] & scans_RC[:, within] & earlier_RQ)
