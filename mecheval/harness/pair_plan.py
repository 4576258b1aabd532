"""Which pairs of cells are measured, with everything that decides their numbers.

Two models are held side by side, and two seeds of one model: how alike two models are says nothing
but beside how alike two networks of one model are. No two networks of a pair come from one seed
where there are several: they would have learned from the same words.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING

from mecheval.errors import UsageError
from mecheval.harness.building import build_task
from mecheval.harness.companions import but_for_the_seed
from mecheval.harness.matched_loss import bits_per_byte, check_losses, weights_of
from mecheval.harness.measures import identity_of
from mecheval.harness.pair_groups import Group, check_meeting, groups_of
from mecheval.metrics import Metric, configured_metric
from mecheval.metrics.measuring import unmet_by_task
from mecheval.metrics.pairs import PairMetric
from mecheval.recipe import PROTOCOL
from mecheval.registry import Registry
from mecheval.reports.files import pair_key, pair_path
from mecheval.reports.pair import PairIdentity, PairSide, on_task
from mecheval.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mecheval.harness.request import Cell, Request, Settings
    from mecheval.reports.schema import Report
    from mecheval.tasks import Task


@dataclass(frozen=True)
class Asked:
    """What is asked of the pairs of some cells.

    Attributes:
        metrics: The metrics of pairs; None for all that fit.
        at_losses: Losses along training at which they are held side by side; none for its end.
        across: Whether tasks of one text are held side by side that differ in its tokens.
    """

    metrics: Sequence[Spec | Metric] | None
    at_losses: Sequence[float] = ()
    across: bool = False


@dataclass(frozen=True)
class PairCell:
    """Two cells to be held side by side.

    Attributes:
        a: The cell with the smaller key.
        b: The other one.
        metrics: The metrics of pairs, as they were given: names go to workers, objects stay here.
        identity: Everything that decides the numbers.
        key: Hash of the identity.
        output: The output folder; None if the report is kept in memory.
        path: Where the report lies.
        settings: How it is computed.
        reports: The reports of the two cells; none until they are measured.
        known: Hashes of artefacts by their keys, as other reports have them.
        group: The cells that they are of, with what their tasks have in common.
    """

    a: Cell
    b: Cell
    metrics: tuple[Spec | Metric, ...]
    identity: PairIdentity
    key: str
    output: Path | None
    path: Path | None
    settings: Settings
    reports: tuple[Report, ...] = ()
    known: Mapping[str, str] = field(default_factory=dict)
    group: Group = field(kw_only=True)

    @property
    def cells(self) -> tuple[Cell, Cell]:
        """Return both."""
        return self.a, self.b

    @property
    def title(self) -> str:
        """Return a line that names it."""
        a, b = (f"{cell.model_title} (seed {cell.identity.seed})" for cell in self.cells)
        where = on_task(self.group.title, self.identity.at_loss)
        return f"{where}  {a} and {b}"


def plan_pairs(
    cells: Sequence[Cell],
    chosen: Sequence[Spec | Metric] | None,
    at_losses: Sequence[float | None] = (None,),
    *,
    across: bool = False,
) -> list[PairCell]:
    """Return the pairs of cells, task by task and loss by loss.

    Args:
        cells: What :func:`mecheval.harness.plan.plan` returns, of one request or several.
        chosen: The metrics of pairs; None for all that are registered and fit the task.
        at_losses: Losses along training at which they are held side by side; None is its end.
        across: Whether tasks of one text are held side by side that differ in its tokens.

    Raises:
        UsageError: There is nothing to compare, a metric does not exist or is none of pairs, or
            cells have no losses along training.
    """
    asked = [at_loss for at_loss in at_losses if at_loss is not None]
    if asked:
        check_losses(cells, asked)
    found = [
        pair
        for group in groups_of(cells, across=across)
        for at_loss in at_losses
        for pair in _pairs_on_task(group, chosen, at_loss)
    ]
    if not found:
        raise UsageError(
            "There is no pair to compare. Give at least two models, or two seeds of one."
        )
    return found


def by_scope(
    requests: Sequence[Request], registry: Registry
) -> tuple[list[Request], list[Spec | Metric] | None]:
    """Share out the metrics that are asked for: those of single models, and those of pairs.

    Args:
        requests: The grids, whose metrics may be of both kinds.
        registry: Where metrics are looked up.

    Returns:
        The grids with metrics of single models; those of pairs, None where none are named.

    Raises:
        UsageError: A metric is unknown.
    """
    of_pairs, shared = [], []
    for request in requests:
        asked = request.metrics or ()
        single = tuple(given for given in asked if not is_of_pairs(given, registry))
        of_pairs += [given for given in asked if is_of_pairs(given, registry)]
        shared.append(replace(request, metrics=single or None))
    return shared, of_pairs or None


def is_of_pairs(given: Spec | Metric, registry: Registry) -> bool:
    """Say whether a metric is one of pairs.

    Raises:
        UsageError: There is none of this name.
    """
    if isinstance(given, Metric):
        return given.of_pairs
    return registry.get("metric", given.name).scope == "pair"


def _pairs_on_task(
    group: Group, chosen: Sequence[Spec | Metric] | None, at_loss: float | None
) -> Iterator[PairCell]:
    cells = group.cells
    registry = Registry(cells[0].settings.include_paths)
    metrics = pair_metrics(build_task(cells[0].task, registry), chosen, registry)
    by_model: dict[str, list[Cell]] = {}
    for cell in cells:
        by_model.setdefault(but_for_the_seed(cell), []).append(cell)
    for networks in by_model.values():
        yield from (_pair(a, b, metrics, at_loss, group) for a, b in combinations(networks, 2))
    for one, other in combinations(by_model.values(), 2):
        check_meeting(one[0], other[0], at_loss)
        yield from (_pair(a, b, metrics, at_loss, group) for a, b in _matched(one, other))


def _matched(one: Sequence[Cell], other: Sequence[Cell]) -> Iterator[tuple[Cell, Cell]]:
    """Yield pairs in which every network stands once, none of them of one seed if that can be."""
    by_seed = [{cell.identity.seed: cell for cell in cells} for cells in (one, other)]
    seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
    for at, seed in enumerate(seeds):
        yield by_seed[0][seed], by_seed[1][seeds[(at + 1) % len(seeds)]]


def pair_metrics(
    task: Task, chosen: Sequence[Spec | Metric] | None, registry: Registry
) -> dict[str, tuple[Spec | Metric, PairMetric]]:
    """Return the metrics of pairs that are measured on a task, as they were given and built.

    Args:
        task: The task.
        chosen: Those that are asked for; None for all that are registered and fit the task.
        registry: Where they are looked up.

    Raises:
        UsageError: One does not exist or is none of pairs.
    """
    given = chosen
    if given is None:
        entries = registry.entries("metric")
        given = [Spec(entry.name) for entry in entries if entry.scope == "pair"]
    built = [built_pair_metric(each, registry) for each in given]
    return {
        metric.id: (each, metric)
        for each, metric in zip(given, built, strict=True)
        if chosen is not None or unmet_by_task(metric, task) is None
    }


def built_pair_metric(given: Spec | Metric, registry: Registry) -> PairMetric:
    """Return a metric of pairs that is given by name or as an object.

    Raises:
        UsageError: It does not exist, or is none of pairs.
    """
    metric = given if isinstance(given, Metric) else configured_metric(given, registry)
    if not isinstance(metric, PairMetric):
        raise UsageError(
            f"{metric.id} is no metric of pairs. `mecheval ls metrics` says which there are."
        )
    return metric


def _pair(
    one: Cell,
    other: Cell,
    metrics: Mapping[str, tuple[Spec | Metric, PairMetric]],
    at_loss: float | None,
    group: Group,
) -> PairCell:
    a, b = sorted((one, other), key=lambda cell: cell.key)
    built = [metric for _, metric in metrics.values()]
    identity = PairIdentity(
        protocol=PROTOCOL, a=a.key, b=b.key, metrics=list(map(identity_of, built)), at_loss=at_loss
    )
    key, path = pair_key(identity), None
    if a.output is not None and a.path is not None and b.path is not None:
        path = pair_path(a.path, b.path, a.output, key)
    given = tuple(given for given, _ in metrics.values())
    return PairCell(a, b, given, identity, key, a.output, path, a.settings, group=group)


def sides_of(pair: PairCell) -> list[PairSide]:
    """Return what the report of a pair says of its cells, as far as these are measured."""
    found = []
    for cell, report in zip(pair.cells, pair.reports or (None, None), strict=True):
        weights = report and weights_of(report, pair.identity.at_loss)
        at_end = report if weights and not weights.along else None
        found.append(
            PairSide(
                key=cell.key,
                model=cell.identity.model,
                seed=cell.identity.seed,
                title=_title(cell, pair.group),
                labels=cell.labels,
                learned=report and report.learned,
                tracking=report and report.tracking,
                step=weights and weights.step,
                validation_loss=weights and weights.loss,
                bits_per_byte=at_end and bits_per_byte(at_end),
                task=cell.identity.task if pair.group.own_tokens else None,
            )
        )
    return found


def _title(cell: Cell, group: Group) -> str:
    """Return what a side is called; with its task where models are held side by side on several."""
    return f"{cell.model_title} on {cell.task_title}" if group.across else cell.model_title
