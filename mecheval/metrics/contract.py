"""What a metric declares: its parameters as fields, what it needs, what it puts into tables.

@metric(name="agreement", version=1, family="intervention", needs=(Counterfactual("key"),),
headline=(Column("agreement of both sides"),))
@dataclass(frozen=True, kw_only=True)
class Agreement(Metric):
\"\"\"Share of pairs whose two members are answered alike.\"\"\"

n_pairs: Annotated[int, Field(ge=1)] = 64

def measure(self, subject: Subject) -> list[MetricResult]: ...

Shape suffixes: ``N`` units.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping  # noqa: TC003 - read with the types of the fields
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from pydantic import ValidationError

from mecheval.errors import ContractError
from mecheval.escape import cause, quoted
from mecheval.later import deciding
from mecheval.metrics.card import PART, Column, MetricCard
from mecheval.metrics.declaring import Scope, check_declared, summary_of
from mecheval.metrics.results import Layout, malformed, nested, numbers, uncertainty
from mecheval.registry import declare
from mecheval.reports.results import Headline, MetricResult
from mecheval.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from mecheval.metrics.consistency import Contradiction
    from mecheval.metrics.needs import Need
    from mecheval.metrics.results import Estimate
    from mecheval.metrics.subject import Subject

_DIGITS = 6  # of what a unit contributes, of which there are thousands in a report


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """A measurement of a model on a task; a subclass is a frozen dataclass of its parameters.

    Every parameter has a default and a type that says what is allowed: ``Literal`` for choices,
    ``Annotated[int, Field(ge=1)]`` (pydantic) for bounds, ``tuple`` for lists.

    Attributes:
        name: The registered name: ``local/NAME`` for a metric of one's own.
        usual: Parameters by which the task at hand asks for it, in place of their defaults.
    """

    card: ClassVar[MetricCard]
    of_pairs: ClassVar[bool] = False
    """Whether it is one of pairs of models (:class:`mecheval.metrics.pairs.PairMetric`). The scope
    that is declared says the same, which listings read from the source; both are held together."""

    name: str = field(init=False, repr=False, compare=False, default="")
    usual: Mapping[str, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Name it as it was declared; the registry gives it the name that it is registered by."""
        object.__setattr__(self, "name", self.card.name)

    @property
    def params(self) -> dict[str, Any]:
        """Return all parameters, as JSON gives them back."""
        return {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.init}

    @property
    def deciding(self) -> dict[str, Any]:
        """Return the parameters by which its numbers are identified.

        One that came later than its version is left out at its default: the numbers are those
        from before it was there, and what was measured then has the same key.
        """
        fields = dataclasses.fields(self)
        later = {f.name: plain(f.default) for f in fields if f.name in self.card.later}
        return deciding(self.params, later)

    @property
    def different(self) -> dict[str, Any]:
        """Return the parameters that differ from what is usual on the task at hand."""
        defaults = {f.name: plain(f.default) for f in dataclasses.fields(self) if f.init}
        defaults |= {key: plain(value) for key, value in self.usual.items()}
        return {key: value for key, value in self.params.items() if value != defaults[key]}

    def named(self, name: str, usual: Mapping[str, Any] | None = None) -> Metric:
        """Give the metric its registered name, and what is usual on a task; return it."""
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "usual", dict(usual or {}))
        return self

    @property
    def id(self) -> str:
        """Return the name with the parameters that differ: ``bottleneck[eraser=inlp]``."""
        return str(Spec(self.name, self.different))

    def outline(self, subject: Subject) -> list[Layout]:
        """Say which results there will be, without measuring.

        A result that cannot be measured is null and has its reason, so it is known beforehand. By
        default there is one, of as many units as the parameter ``n_pairs`` or ``n`` says, or of 1.
        """
        n = self.params.get("n_pairs", self.params.get("n", 1))
        return [Layout("", self.card.summary, subject.cut(n))]

    @abstractmethod
    def measure(self, subject: Subject) -> list[MetricResult]:
        """Measure a subject whose task was learned and that has all that is needed.

        Returns:
            One result per layout of :meth:`outline`, made by :meth:`result`.
        """

    def result(
        self, layout: Layout, estimate: Estimate, n_scored: int, **fields: Any
    ) -> MetricResult:
        """Build a result of this metric.

        Args:
            layout: What is fixed before measuring.
            estimate: The value, or why there is none.
            n_scored: Number of units behind the value.
            fields: Further fields of :class:`MetricResult`; numbers may be NaN, and ``units`` an
                array, with NaN for those that were left out. They are kept where the value is a
                headline. ``missing`` says why a number of a column is not there although the value
                is, by the column's path (``{"verdict": "..."}``), in place of what the column says.

        Raises:
            ContractError: A field cannot be so, such as a value that is no finite number.
        """
        try:
            return self._result(layout, estimate, n_scored, **fields)
        except ValidationError as error:
            raise ContractError(malformed(self.id, error, id=self.id_of(layout))) from error

    def _result(
        self, layout: Layout, estimate: Estimate, n_scored: int, **fields: Any
    ) -> MetricResult:
        return MetricResult(
            id=self.id_of(layout),
            name=self.name,
            metric=self.id,
            version=self.card.version,
            family=self.card.family,
            title=layout.title,
            n_expected=layout.n_expected,
            bounds=layout.bounds,
            higher_is_better=layout.higher_is_better,
            headline=self._headline(layout, fields.pop("missing", {})),
            value=estimate.value,
            reason=estimate.reason,
            uncertainty=None if estimate.value is None else uncertainty(estimate.interval),
            n_scored=n_scored,
            units=self._units(layout, fields.pop("units", ())),
            references=numbers(fields.pop("references", {})),
            scalars=numbers(fields.pop("scalars", {})),
            config={**self.params, **fields.pop("config", {})},
            **fields,
        )

    def id_of(self, layout: Layout) -> str:
        """Return the id of a result: ``bottleneck[eraser=inlp]/parity``."""
        stem = str(Spec(layout.stem or self.name, self.different))
        return f"{stem}/{layout.part}" if layout.part else stem

    def _units(self, layout: Layout, units: ArrayLike) -> list[float | None]:
        """Keep what units contribute to values in tables, by which models may be compared.

        Raises:
            ContractError: They are not one number each.
        """
        if not any(line.at == "" for line in self._headline(layout)):
            return []
        try:
            units_N = np.asarray(units, np.float64)
        except (TypeError, ValueError, RuntimeError) as error:  # the last is that of torch
            raise self._no_units(layout, f"cannot be numbers ({cause(str(error))})") from error
        if units_N.ndim != 1:
            raise self._no_units(layout, f"have the shape {units_N.shape}")
        return [None if unit is None else float(f"{unit:.{_DIGITS}g}") for unit in nested(units_N)]

    def _no_units(self, layout: Layout, problem: str) -> ContractError:
        return ContractError(
            f"Metric {quoted(self.id)} gives a result {quoted(self.id_of(layout))} whose units "
            f"{problem}. Give one number per unit, an array of shape (n,): what the unit "
            "contributes to the value, NaN where it was left out."
        )

    def _headline(self, layout: Layout, missing: Mapping[str, str] | None = None) -> list[Headline]:
        place = f"{layout.stem}/{layout.part}" if layout.stem else layout.part
        columns = [c for c in self.card.headline if fnmatchcase(place, c.of)]
        if not layout.part and any(PART in c.title for c in columns):
            return [Headline(title=self.id)]  # it stands for all parts, which cannot be measured
        return [
            Headline(
                title=c.title.replace(PART, layout.part), at=c.at, kind=c.kind, bounds=c.bounds,
                otherwise=(missing or {}).get(c.at) or c.otherwise,
            )
            for c in columns
        ]  # fmt: skip


MetricClass = TypeVar("MetricClass", bound=type[Metric])


def metric(
    *,
    name: str,
    version: int,
    family: str,
    scope: Scope = "model",
    caption: str = "",
    needs: tuple[Need, ...] = (),
    headline: tuple[Column, ...] = (),
    contradicts: tuple[Contradiction, ...] = (),
    part: str = "part",
    later: tuple[str, ...] = (),
    reference: str = "",
) -> Callable[[MetricClass], MetricClass]:
    """Register a metric class under a name.

    Args:
        name: The name on the command line; a literal, because listings read it from the source.
        version: Raised whenever the metric's numbers change.
        family: Kind of evidence, in one word: behaviour, intervention, probe, bottleneck, ...
        scope: What is measured.
        caption: What its numbers say, in a sentence or two, for somebody who has not read about it:
            it stands above its tables and beneath its figures. The summary if empty.
        needs: What task and model must have; elsewhere the metric is null, with the reason.
        headline: Its columns in tables, in order.
        contradicts: What it and another metric cannot both say of a model.
        part: In a word, what its results are of, behind its name in their ids: "variable".
        later: Parameters that this version did not have at first; see :attr:`Metric.deciding`.
            Where the version is raised they are parameters as any other.
        reference: The papers that it is from: "Olsson et al. 2022, arXiv:2209.11895".

    Raises:
        ContractError: The class is no metric, or is declared as what there is not.
    """

    def register(cls: MetricClass) -> MetricClass:
        summary = summary_of(cls)
        check_declared(cls, name, summary=summary, family=family, scope=scope, later=later)
        cls.card = MetricCard(
            name, version, summary, caption or f"{summary}.", family, scope, needs, headline,
            contradicts, part, later, reference,
        )  # fmt: skip
        declare("metric", name, cls.__module__, cls)
        return cls

    return register


def plain(value: Any) -> Any:
    """Return a value as JSON gives it back."""
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
