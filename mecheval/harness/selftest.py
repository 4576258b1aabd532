"""Every metric on every planted model, held against the value that is known.

What is known stands in ``known.toml`` beside the planted models; see
:mod:`mecheval.harness.known_values`.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mecheval.harness.building import build_task
from mecheval.harness.known_values import SAID, Case, Known
from mecheval.harness.threads import one_thread
from mecheval.metrics import Subject, configured_metric, measure
from mecheval.metrics.pairs import PairSubject, Side
from mecheval.metrics.pairs.measuring import measure_pair
from mecheval.metrics.pairs.network import Loaded
from mecheval.models.load import resolve
from mecheval.own_code.explaining import in_words
from mecheval.registry import Registry
from mecheval.reports.lookup import number_at
from mecheval.spec import Spec, parse_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mecheval.reports.schema import MetricResult

SEED = 0


@dataclass(frozen=True)
class Outcome:
    """One line of the table.

    Attributes:
        model: Name with arguments.
        task: Name with arguments.
        metric: The metric that returned the number; empty where none did.
        at: Which number.
        known: What it must be.
        measured: What it is, or why there is none.
        passed: Whether they agree.
    """

    model: str
    task: str
    metric: str
    at: str
    known: str
    measured: float | str | None
    passed: bool

    def __str__(self) -> str:
        """Return one clear line."""
        where = f"{self.at} of {self.model} on {self.task}"
        return f"{where} is {shown(self.measured)}, and must be {self.known}"


def run_case(case: Case) -> list[Outcome]:
    """Measure metrics on planted models, and hold the results against what is known."""
    found: dict[str, MetricResult | str] = {}
    with one_thread():
        subject: Any = pair_of(case) if case.pairs else subject_of(case.model, case.task)
        measuring: Any = measure_pair if case.pairs else measure
        for name, params in (case.pairs or case.params).items():
            try:
                metric = configured_metric(Spec(name), Registry(), params)
                found |= {result.id: result for result in measuring(metric, subject)}
            except Exception as error:  # a metric that fails is off; the others are still measured
                found[name] = in_words(error)
    return [_outcome(case, known, found) for known in case.known]


def pair_of(case: Case) -> PairSubject:
    """Measure two planted models, to be held side by side."""
    sides = []
    for model in case.models:
        subject = subject_of(model, case.task)
        metrics = [configured_metric(Spec(n), Registry(), p) for n, p in case.params.items()]
        results = [result for metric in metrics for result in measure(metric, subject)]
        network = Loaded(
            subject.model, subject.untrained, subject.encoding.code_C, subject.batch_size
        )
        sides.append(Side(model, SEED, learned=True, measured=results, network=network))
    return PairSubject(*sides, seed=SEED, task=build_task(parse_spec(case.task), Registry()))


def subject_of(model: str, task: str) -> Subject:
    """Build a planted model for a task, ready to be measured.

    Raises:
        UsageError: A name or argument is unknown, or the model has no weights for the task.
    """
    registry = Registry()
    built = build_task(parse_spec(task), registry)
    source = resolve(parse_spec(model), registry)
    encoding = source.encode(built)
    return Subject(
        model=source.build(encoding, seed=SEED).eval(),
        task=built,
        encoding=encoding,
        seed=SEED,
        learned=True,
        limit=None,
        batch_size=128,
        untrained=lambda: source.untrained(encoding, seed=SEED).eval(),
    )


def _outcome(case: Case, known: Known, found: Mapping[str, MetricResult | str]) -> Outcome:
    result_id, *path = known.at.split()
    result = found.get(result_id)
    if result is None or isinstance(result, str):
        broken = [f"{name} failed: {why}" for name, why in found.items() if isinstance(why, str)]
        metric, measured = "", "; ".join(broken) or "there is no such result"
    else:
        metric, measured = result.name, _number(result, path)
    passed = known.holds(measured)
    return Outcome(case.model, case.task, metric, known.at, str(known), measured, passed)


def _number(result: MetricResult, path: list[str]) -> float | str | None:
    """Return the number or verdict that a path leads to, or say why there is none."""
    if path == ["verdict"]:
        return result.reason if result.verdict is None else SAID + result.verdict
    return number_at(result, path)


def run(cases: Sequence[Case], *, jobs: int = 1) -> Iterator[list[Outcome]]:
    """Measure planted models; yield the outcomes of each in turn.

    Args:
        cases: What to measure.
        jobs: Processes; 1 measures in this one.
    """
    if jobs == 1:
        yield from map(run_case, cases)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from pool.map(run_case, cases)


def shown(measured: float | str | None) -> str:
    """Return a measured number or verdict as the table shows it."""
    if isinstance(measured, str) and measured.startswith(SAID):
        return measured
    if isinstance(measured, str) or measured is None:
        return f"null: {measured}"
    return f"{measured:.3f}"
