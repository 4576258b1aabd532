"""Every metric on every planted model, held against the value that is known.

What is known stands in ``known.toml`` beside the planted models: data, so that a new metric or a
new model is a few lines there.
"""

from __future__ import annotations

import multiprocessing
import tomllib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mecheval.errors import ContractError
from mecheval.harness.building import build_task
from mecheval.harness.threads import one_thread
from mecheval.metrics import Subject, configured_metric, measure
from mecheval.metrics.pairs import PairSubject, Side
from mecheval.metrics.pairs.measuring import measure_pair
from mecheval.models.load import resolve
from mecheval.models.planted.planted import FOLDER
from mecheval.own_code.explaining import in_words
from mecheval.registry import Registry
from mecheval.reports.lookup import number_at
from mecheval.spec import Spec, parse_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mecheval.reports.schema import MetricResult

CLOSE = 1e-3
"""How near to the known value a measured one must be, where nothing else is said."""

SEED = 0

SAID = "verdict: "
"""What a verdict begins with where a number would stand, or why there is none."""


@dataclass(frozen=True)
class Known:
    """One number of a result, and what it must be.

    Attributes:
        at: Which number: a result's id, alone for its value; with the name of a scalar or
            reference behind it; or with a cell of its profile, as ``layer=1 role=readout``, where
            ``series=NAME``, ``mark=NAME`` and ``profile=NAME`` choose another array; or with
            ``verdict`` behind it, which is no number.
        equal: The known value.
        within: How far the measured one may be from it.
        least: Lower bound, where only one is known.
        most: Upper bound.
        null: The beginning of the reason why there is no value.
        verdict: The verdict.
    """

    at: str
    equal: float | None = None
    within: float = CLOSE
    least: float | None = None
    most: float | None = None
    null: str | None = None
    verdict: str | None = None

    def __str__(self) -> str:
        """Return what is known, as the table says it."""
        if self.null is not None:
            return f"null: {self.null}"
        if self.verdict is not None:
            return SAID + self.verdict
        bounds = [("at least", self.least), ("at most", self.most)]
        parts = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
        if self.equal is not None:
            margin = "" if self.within == CLOSE else f" +- {self.within:g}"
            parts.append(f"{self.equal:.4g}{margin}")
        return ", ".join(parts)

    def holds(self, measured: float | str | None) -> bool:
        """Say whether a number, a verdict, or the reason why there is none, is as known."""
        if self.verdict is not None:
            return measured == SAID + self.verdict
        if isinstance(measured, str) or measured is None:
            return self.null is not None and measured is not None and measured.startswith(self.null)
        if self.null is not None:
            return False
        return (
            (self.equal is None or abs(measured - self.equal) <= self.within)
            and (self.least is None or measured >= self.least)
            and (self.most is None or measured <= self.most)
        )


@dataclass(frozen=True)
class Case:
    """A planted model on a task, or two of them, with all that is known.

    Attributes:
        models: Names with arguments: one, or the two of a pair.
        task: Name with arguments.
        known: What the metrics must return.
        params: Parameters of the metrics to measure on each model, by metric.
        pairs: Parameters of the metrics of pairs, by metric; none for one model.
    """

    models: tuple[str, ...]
    task: str
    known: tuple[Known, ...]
    params: Mapping[str, Mapping[str, Any]]
    pairs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Return what the table calls it."""
        return " and ".join(self.models)


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


def folder() -> Path:
    """Return the folder of the planted models."""
    import mecheval.builtin

    folders = (Path(root) / "model_registry" / FOLDER for root in mecheval.builtin.__path__)
    return next(path for path in folders if path.is_dir())


def known_cases(path: Path | None = None) -> list[Case]:
    """Read what is known.

    Args:
        path: The file; that of the package by default.

    Raises:
        ContractError: The file does not have the form that it should.
    """
    path = path or folder() / "known.toml"
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        single = [_case(entry, content["metrics"]) for entry in content["case"]]
        return [*single, *(_pair(entry, content["metrics"]) for entry in content.get("pair", ()))]
    except (KeyError, TypeError) as error:
        raise ContractError(f"{path} is not a file of known values ({error}).") from error


def single_cases() -> list[Case]:
    """Return the known cases of one model each."""
    return [case for case in known_cases() if not case.pairs]


def _case(entry: Mapping[str, Any], metrics: Mapping[str, Any]) -> Case:
    own = entry.get("metrics", {})
    params = {
        name: {**metrics.get(name, {}), **own.get(name, {})} for name in metric_names("model")
    }
    return Case((entry["model"],), entry["task"], _known(entry), params)


def _pair(entry: Mapping[str, Any], metrics: Mapping[str, Any]) -> Case:
    first, second = entry["models"]
    params = {name: metrics.get(name, {}) for name in entry["measured"]}
    pairs = {name: metrics.get(name, {}) for name in metric_names("pair")}
    return Case((first, second), entry["task"], _known(entry), params, pairs)


def _known(entry: Mapping[str, Any]) -> tuple[Known, ...]:
    return tuple(
        Known(**{("equal" if key == "is" else key): value for key, value in line.items()})
        for line in entry["known"]
    )


def metric_names(scope: str) -> list[str]:
    """Return the built-in metrics of single models, or of pairs."""
    return [
        entry.name
        for entry in Registry().entries("metric")
        if entry.distribution is None and entry.scope == scope
    ]


def run_case(case: Case) -> list[Outcome]:
    """Measure metrics on planted models, and hold the results against what is known."""
    found: dict[str, MetricResult | str] = {}
    with one_thread():
        if case.pairs:
            pair = pair_of(case)
            measured, params_of = (lambda metric: measure_pair(metric, pair)), case.pairs
        else:
            subject = subject_of(case.model, case.task)
            measured, params_of = (lambda metric: measure(metric, subject)), case.params
        for name, params in params_of.items():
            try:
                metric = configured_metric(Spec(name), Registry(), params)
                found |= {result.id: result for result in measured(metric)}
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
        sides.append(Side(model, SEED, learned=True, measured=results))
    return PairSubject(*sides, seed=SEED)


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
