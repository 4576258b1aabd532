"""Whether two results of a cell contradict each other; whoever does so says it in both.

Metrics ask the same question on different ways: a verdict by exchanged streams, a circuit by paths,
an offset by exchanged writes. Where they do not agree, one of them does not see something, and no
number of either should be quoted before it is known what. Rules are data; a metric of one's own
brings its own: ``@metric(contradicts=(Contradiction(...),))``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from typing import TYPE_CHECKING

from mecheval.errors import ContractError
from mecheval.escape import quoted
from mecheval.reports.lookup import interval_at, number_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mecheval.metrics.contract import Metric
    from mecheval.reports.results import MetricResult


@dataclass(frozen=True, kw_only=True)
class Says:
    """That a result says something: one of some verdicts, or a number within bounds.

    A number is within its bounds with its whole interval, if it has one.

    Attributes:
        result: Id of the result, without parameters: ``mechanism/retrieval``; ``*`` stands for any
            text, here and in verdicts.
        verdicts: The verdicts.
        at: Which number, as :mod:`mecheval.reports.lookup` reads it; the value where empty.
        least: Its lower bound.
        most: Its upper bound.
    """

    result: str
    verdicts: tuple[str, ...] = ()
    at: str = ""
    least: float | None = None
    most: float | None = None

    def holds(self, result: MetricResult) -> bool:
        """Say whether a result says so."""
        if not fnmatchcase(plain_id(result), self.result):
            return False
        if self.verdicts:
            verdict = result.verdict or ""
            return any(fnmatchcase(verdict, pattern) for pattern in self.verdicts)
        number = number_at(result, self.at.split())
        if not isinstance(number, float):
            return False
        low, high = interval_at(result, self.at.split()) or (number, number)
        return (self.least is None or low >= self.least) and (
            self.most is None or high <= self.most
        )

    def said(self, result: MetricResult) -> str:
        """Return what a result says, in words."""
        if self.verdicts:
            return f"{result.id} says '{result.verdict}'"
        number = number_at(result, self.at.split())
        return f"{result.id}{' ' * bool(self.at)}{self.at} is {number:.2f}"


@dataclass(frozen=True)
class Contradiction:
    """Two things that cannot both be so.

    Attributes:
        one: What one result says.
        other: What another says.
        why: Why not both: what each of them means, in one sentence without a capital or a stop.
    """

    one: Says
    other: Says
    why: str


RULES = (
    Contradiction(
        Says(result="mechanism/retrieval", verdicts=("induction",)),
        Says(result="induction_circuit", verdicts=("none",)),
        "what an earlier layer has brought to the value has to reach the query, and on none of the "
        "ways looked at it does",
    ),
    Contradiction(
        Says(result="mechanism/retrieval", verdicts=("induction",)),
        Says(result="induction_circuit", verdicts=("L0 state", "* -> L0 state")),
        "the memory of layer 0 holds no association that an earlier layer has made",
    ),
    Contradiction(
        Says(result="mechanism/retrieval", verdicts=("direct *",)),
        Says(
            result="induction_circuit", verdicts=("* -> *L[0-9]*H[0-9]*", "* -> *units of layers*")
        ),
        "a key that is read where it stands does not run over its value",
    ),
    Contradiction(
        Says(
            result="mechanism/binding",
            verdicts=("earlier mixer", "earlier convolution", "own convolution *"),
        ),
        Says(result="write_offset/key", most=0.25),
        "a key that is brought to its value is stored there, and not at its own position",
    ),
    Contradiction(
        Says(result="mechanism/binding", verdicts=("*convolution*",)),
        Says(result="convolution", most=0.1),
        "without the convolution that binds key and value nothing should be recalled",
    ),
    Contradiction(
        Says(result="interchange/value", least=0.75),
        Says(result="recovery/state", at="all_layers", most=0.25),
        "what stands at the value is fetched through the memory of some layer, and that has to "
        "carry it past the positions in between",
    ),
)
"""What cannot both be so among the metrics of the package."""


def plain_id(result: MetricResult) -> str:
    """Return the id of a result without parameters: ``mechanism/retrieval``."""
    if not result.metric or not result.id.startswith(result.metric):
        return result.id
    return result.name + result.id[len(result.metric) :]


def checked(results: Iterable[MetricResult], metrics: Iterable[Metric] = ()) -> list[MetricResult]:
    """Return the results of a cell; those that contradict another one warn of it.

    Args:
        results: Finished results.
        metrics: The metrics that made them, which may bring rules of their own.

    Raises:
        ContractError: Two metrics gave a result of one id.
    """
    brought = (rule for metric in metrics for rule in metric.card.contradicts)
    rules = dict.fromkeys([*RULES, *brought])
    found = list(results)
    _check_ids(found)
    warnings: dict[str, list[str]] = {}
    for rule, one, other in product(rules, found, found):
        if one is not other and rule.one.holds(one) and rule.other.holds(other):
            text = f"{rule.one.said(one)}, but {rule.other.said(other)}: {rule.why}"
            for result in (one, other):
                warnings.setdefault(result.id, []).append(text)
    return [
        result.model_copy(update={"warnings": [*result.warnings, *warnings[result.id]]})
        if result.id in warnings
        else result
        for result in found
    ]


def _check_ids(results: Iterable[MetricResult]) -> None:
    seen: dict[str, MetricResult] = {}
    for result in results:
        other = seen.setdefault(result.id, result)
        if other is not result:
            raise ContractError(
                f"Metrics {quoted(other.metric)} and {quoted(result.metric)} both give a result "
                f"{quoted(result.id)}. Let one of them name it otherwise, or leave it out."
            )
