"""Which engine computes a grid: the fastest that was seen to be exact, and the next if it fails.

1. A grid whose cells cost less by plain hooks than a faster engine and its check takes plain hooks
   (:mod:`engine_cost`).
2. The others are checked from the fastest on (:mod:`engine_check`); the first that is exact is
   taken, and remembered for later grids of the model that lie where it was checked.
3. Where an engine fails after all, on a longer text or another cache, the cells that are left go to
   the next one in the same way (:mod:`engine_faults` says which errors mean that).

Shape suffixes: ``P`` runs, ``C`` vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from mecheval.errors import UsageError
from mecheval.interventions import engine_check, engines
from mecheval.interventions.donors import Interchange
from mecheval.interventions.engine_check import RUNS, Extent, extent_of
from mecheval.interventions.engine_cost import cost_of
from mecheval.interventions.engine_faults import reason_of
from mecheval.interventions.engines.steps import COMPONENTS
from mecheval.interventions.plan import SEVERAL
from mecheval.models.admission import check_causal
from mecheval.models.sites import MEMORY
from mecheval.own_code.explaining import is_out_of_memory

if TYPE_CHECKING:
    from mecheval.interventions.base_runs import BaseRuns
    from mecheval.interventions.budget import Budget
    from mecheval.interventions.chunk import Chunk
    from mecheval.interventions.donors import Donor
    from mecheval.interventions.plan import Engine, Plan
    from mecheval.models.contract import SequenceModel

NO_MEMORY = (
    "The device runs out of memory with a single run of this grid. Use shorter sequences, "
    "a smaller model or --dtype bfloat16, or a device with more memory."
)


SMALL = "{} cells cost less by plain hooks than by a faster engine and its check"


@dataclass(frozen=True)
class Execution:
    """How the passes of a grid are made.

    Attributes:
        engine: ``tails``, ``blocks``, ``hooks`` or ``steps``; several, joined by ``+`` in the order
            of their use, where one failed on the way and the next one went on.
        reason: Why no faster engine was taken, and why one that failed did; None where ``tails``
            made all passes.
        difference: Largest difference to plain hooks on cells that were checked, relative to the
            largest logit; None where none was checked.
        checked: Number of cells that were checked.
        rows: Most rows in one pass.
        halvings: How often the memory for one pass was halved because the device had less.

    Examples:
        >>> import mecheval
        >>> model = mecheval.load_model("mamba[layers=2,width=16]", vocab_size=7)
        >>> pair = [[0, 1, 2, 3]], [[0, 4, 2, 3]], [5], [6], [3]
        >>> execution = mecheval.recovery_grid(model, *pair, engine="fastest").execution
        >>> execution.engine, execution.reason, execution.difference < 1e-4
        ('tails', None, True)
    """

    engine: str
    reason: str | None = None
    difference: float | None = None
    checked: int = 0
    rows: int = 0
    halvings: int = 0


@dataclass
class _Known:
    """What is known of a model while its weights and hooks are what they are.

    Attributes:
        state: What :func:`state_of` says of it.
        causal: Numbers of positions at which it was seen to be causal.
        choices: Engines, by :func:`_key`, each with where it was checked.
    """

    state: object
    causal: set[int]
    choices: dict[object, list[tuple[Extent, Execution]]]


_known: WeakKeyDictionary[SequenceModel, _Known] = WeakKeyDictionary()


class Engines:
    """The engines of one grid, from the fastest that is exact on.

    Attributes:
        execution: The engine that computes now, and how it was found.
    """

    def __init__(self, base_runs: BaseRuns, donor: Donor, plan: Plan) -> None:
        """Choose an engine.

        Raises:
            UsageError: The model is not causal; or the engine that the plan asks for is not exact,
                or cannot do what is asked; or memory is too short to tell.
        """
        self._asked = base_runs, donor, plan
        self._extent, self._key = extent_of(base_runs, donor, plan), _key(base_runs, donor, plan)
        self._left = _candidates(donor, plan)
        self._reasons: list[str] = []
        self._known = _known_of(base_runs.model)
        if base_runs.n_positions not in self._known.causal:
            check_causal(base_runs.model, base_runs.tokens_PT[:RUNS])
            self._known.causal.add(base_runs.n_positions)
        self.execution = self._first()

    def run(self, chunk: Chunk, budget: Budget, used: list[str]) -> None:
        """Compute the pending cells of a chunk, if need be with one engine after the other.

        Those that computed some are added to ``used``.

        Raises:
            UsageError: None is left.
            Exception: Memory is short, or a fault of this package.
        """
        while True:
            engine, pending = self.execution.engine, int(chunk.pending_KIJP.sum())
            try:
                return engines.run(chunk, engine, budget)
            except Exception as error:
                if engine == "hooks":
                    raise
                self._reasons.append(f"{engine}: {reason_of(error)}")
            finally:
                if int(chunk.pending_KIJP.sum()) < pending and engine not in used:
                    used.append(engine)
            self.execution = self._next()
            self._remember()

    def _first(self) -> Execution:
        _, _, plan = self._asked
        if plan.engine == "auto" and "hooks" in self._left:
            cost = cost_of(*self._asked)
            if not cost.pays:
                return Execution("hooks", SMALL.format(cost.n_cells))
        known = self._remembered()
        if known is not None:
            names: list[str] = [*self._left]
            self._left = self._left[names.index(known.engine) + 1 :]
            self._reasons = [known.reason] if known.reason else []
            return known
        choice = self._next()
        self._remember(choice)
        return choice

    def _next(self) -> Execution:
        """Return the next engine that is exact.

        Raises:
            UsageError: There is none.
        """
        base_runs, _, plan = self._asked
        while self._left:
            engine = self._left.pop(0)
            if engine == "steps" and not set(plan.components) <= set(base_runs.model.exchanges):
                continue
            if engine in ("hooks", "steps"):
                return Execution(engine, "; ".join(self._reasons) or "asked for")
            reason, difference, checked = self._checked(engine)
            if reason is None:
                return Execution(engine, "; ".join(self._reasons) or None, difference, checked)
            self._reasons.append(f"{engine}: {reason}")
        raise self._refusal()

    def _checked(self, engine: Engine) -> engine_check.Verdict:
        """Check an engine, with one run where memory is too short for more.

        Raises:
            UsageError: It is too short even for that.
        """
        base_runs, donor, plan = self._asked
        for one in (slice(None), slice(1)):
            try:
                return engine_check.check(
                    engine, base_runs.take(one), donor.take(one), plan.take(one)
                )
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
        raise UsageError(NO_MEMORY)

    def _refusal(self) -> UsageError:
        base_runs, _, plan = self._asked
        can = base_runs.model.exchanges
        instead = "" if plan.engine in SEVERAL else ", or use engine=auto"
        return UsageError(
            f"This grid cannot be computed on this model ({'; '.join(self._reasons) or plan.engine}"
            "). The components write, state and cache and frozen=True need a model that can be "
            f"taken apart; token by token this one exchanges {' and '.join(can) or 'neither'}. "
            f"Leave the others out{instead}."
        )

    def _remembered(self) -> Execution | None:
        found = self._known.choices.get(self._key, [])
        return next((choice for extent, choice in found if extent.holds(self._extent)), None)

    def _remember(self, choice: Execution | None = None) -> None:
        found = self._known.choices.setdefault(self._key, [])
        kept = [pair for pair in found if not self._extent.holds(pair[0])]
        self._known.choices[self._key] = [*kept, (self._extent, choice or self.execution)]


def _candidates(donor: Donor, plan: Plan) -> list[Engine]:
    """Return the engines that can compute a plan, from the fastest on.

    Raises:
        UsageError: Memory is asked for without runs that remember; or ``steps`` for more than that.
    """
    remembered = [component for component in plan.components if component in MEMORY]
    if remembered and not isinstance(donor, Interchange):
        raise UsageError(
            f"'{remembered[0]}' can only be exchanged with another run's: use "
            "donor=Interchange(runs), or patch tensors of the forward pass."
        )
    alone = set(plan.components) <= set(COMPONENTS) and not plan.frozen
    if plan.engine == "steps" and not alone:
        raise UsageError(
            f"engine=steps exchanges {' and '.join(COMPONENTS)} alone, without frozen; got "
            f"{', '.join(plan.components)}. Use engine=auto, or components=['cache']."
        )
    able: tuple[Engine, ...] = ("tails", "blocks", "hooks")
    if remembered or plan.frozen:
        able = ("tails", "steps") if alone else ("tails",)
    return [engine for engine in able if plan.engine in (*SEVERAL, engine)]


def _key(base_runs: BaseRuns, donor: Donor, plan: Plan) -> object:
    """Return what decides whether an engine is exact, beside where the cells lie.

    Runs that are all read at the end go another way through the last layer. Left out are the tokens
    and ``wanted_JP``, which decide only which cells need a pass, and ``batch_size`` and ``memory``,
    because rows of any number share passes in every grid.
    """
    parameter = next(base_runs.model.parameters())
    asked_for = None if plan.engine in SEVERAL else plan.engine
    return (
        base_runs.n_positions, base_runs.read_last, base_runs.kind, plan.components, plan.span,
        asked_for, plan.frozen, _kind(donor), parameter.dtype, parameter.device,
    )  # fmt: skip


def _kind(donor: Donor) -> tuple[type, ...]:
    """Return the class of a donor, and of the one that it is made of."""
    inner = getattr(donor, "donor", None)
    return (type(donor), *(_kind(inner) if inner is not None else ()))


def _known_of(model: SequenceModel) -> _Known:
    """Return what is known of a model; nothing if it was changed since."""
    state = state_of(model)
    known = _known.get(model)
    if known is None or known.state != state:
        known = _known[model] = _Known(state, set(), {})
    return known


def state_of(model: SequenceModel) -> object:
    """Return what is another value when parameters, hooks or forward functions were changed.

    torch counts the changes of a tensor, but for those through ``.data`` or another library's view
    of its memory, after which a choice made before still stands. Engines read the parameters as
    they are, so such a change makes no number wrong by itself.
    """
    found: list[Any] = []
    for module in model.modules():
        own = vars(module)
        hooks = (*module._forward_hooks, *module._forward_pre_hooks)
        config = own.get("config")
        found.append((hooks, id(own.get("forward")), getattr(config, "_attn_implementation", None)))
    for parameter in model.parameters():
        version = 0 if parameter.is_inference() else parameter._version
        found.append((parameter.data_ptr(), version))
    return tuple(found)
