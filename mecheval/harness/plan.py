"""From names to cells: the grid model x task x seed, with everything that decides its numbers.

All that can be wrong with a request is found here, before anything is trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError, said_of, unknown
from mecheval.harness.building import (
    build_source,
    build_task,
    differences,
    model_label,
    task_label,
)
from mecheval.harness.foreseen import Examples, check_context
from mecheval.harness.measures import identity_of, label_of, lacking, metrics_on
from mecheval.harness.pair_groups import in_own_tokens
from mecheval.harness.request import DTYPES, Cell, Request
from mecheval.harness.sweeping import check_numbers, sweep_of
from mecheval.harness.unchanged import file_sha256, sample_sha256
from mecheval.harness.users_code import said_in_a_sentence
from mecheval.metrics.needs import Bounds
from mecheval.recipe import PROTOCOL
from mecheval.registry import Registry
from mecheval.reports.checkpoints import checkpoint_id
from mecheval.reports.files import cell_key, report_path
from mecheval.reports.schema import Identity, Labels, ModelPart, TaskIdentity
from mecheval.spec import Spec
from mecheval.tasks.contract import Task
from mecheval.text.quoting import HUB, as_word
from mecheval.training import sweeps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.metrics import Metric
    from mecheval.models.contract import Encoding, ModelSource, SequenceModel
    from mecheval.recipe import Recipe
    from mecheval.registry import Kind


def plan(request: Request) -> list[Cell]:
    """Expand a request into cells, model by model.

    Raises:
        UsageError: A name, an argument or a checkpoint is not there, or does not fit.
    """
    with said_of(request.origin):
        _check(request)
        return _planned(request)


def _planned(request: Request) -> list[Cell]:
    registry = Registry(request.settings.include_paths)
    tasks, models = [], []
    for given in request.tasks:
        with said_in_a_sentence(_declared_at("task", given, registry)):
            tasks.append(_task(given, request, registry))
    for given in request.models:
        with said_in_a_sentence(_declared_at("model", given, registry)):
            models.append(_model(given, request, registry))
    cells: dict[str, Cell] = {}
    for model in models:
        for asked in tasks:
            task = _read_by(model, asked, request, registry)
            declared = [_declared_at("task", task.given, registry)]
            declared.append(_declared_at("model", model.given, registry))
            with said_in_a_sentence(" and ".join(filter(None, declared)) or None):
                sweep = sweep_of(request, model.recipe, model=model.identity.name)
                recipes = sweeps.members(model.recipe, sweep)
                check_context(model.source, task.task, recipes)
                task.examples.check_training(recipes)
                encoding = model.source.encode(task.task)
                bounds = Bounds(request.limit, model.source.context_limit)
                notes = _notes(model, task, encoding, bounds) + model.source.notes(
                    request.dtype or model.source.dtype
                )
                for seed in request.chosen_seeds:
                    cell = _cell(request, model, task, seed, notes, sweep)
                    cells.setdefault(cell.key, cell)
    return list(cells.values())


def _declared_at(kind: Kind, given: object, registry: Registry) -> str | None:
    """Return where a user's file declares something; None where no file of a user does."""
    if not isinstance(given, Spec) or given.name.startswith(HUB):
        return None
    entry = registry.get(kind, given.name)
    return None if entry.module.startswith("mecheval.") else entry.origin


def check(request: Request) -> None:
    """Check what can be checked without importing a model.

    Raises:
        UsageError: There is nothing to measure, a name is unknown, or a number is out of range.
    """
    with said_of(request.origin):
        _check(request)


def _check(request: Request) -> None:
    asked = {"model": request.models, "task": request.tasks, "seed": request.chosen_seeds}
    for name, given in asked.items():
        if not given:
            raise UsageError(f"There is no {name} to measure. Give at least one.")
    registry = Registry(request.settings.include_paths)
    before = ""
    for given in request.models:
        if isinstance(given, Spec) and not given.name.startswith(HUB):
            _check_model(given.name, registry, before=before)
        before = given.name if isinstance(given, Spec) else ""
    for given in request.tasks:
        if isinstance(given, Spec):
            registry.get("task", given.name)
    for given in request.metrics or ():
        if isinstance(given, Spec):
            registry.get("metric", given.name)
    if request.dtype is not None and request.dtype not in DTYPES:
        raise unknown("dtype", request.dtype, DTYPES, see=f"these: {', '.join(DTYPES)}")
    if request.limit is not None and request.limit < 1:
        raise UsageError(f"The limit is {request.limit}; give --limit a number of at least 1.")
    check_numbers(request)


def _check_model(name: str, registry: Registry, *, before: str) -> None:
    try:
        registry.get("model", name)
    except UsageError as error:
        if not before.startswith(HUB):
            raise
        path = f"{before.removeprefix(HUB)} {name}"
        raise UsageError(f"{error} If both are one path, write {HUB}{as_word(path)}.") from None


def expected_cost(cell: Cell) -> float:
    """Return a number that orders cells by the time they probably take."""
    length = cell.identity.task.params["max_length"]
    recipes = sweeps.members(cell.recipe, cell.identity.sweep)
    return length * sum(recipe.steps * recipe.batch for recipe in recipes)


@dataclass(frozen=True)
class _PlannedTask:
    given: Spec | Task
    task: Task
    identity: TaskIdentity
    label: Mapping[str, Any]
    metrics: Sequence[Metric]
    chosen: list[str] | None
    examples: Examples


@dataclass(frozen=True)
class _PlannedModel:
    given: Spec | ModelSource
    source: ModelSource
    recipe: Recipe
    identity: ModelPart
    label: Mapping[str, Any]


def _task(given: Spec | Task, request: Request, registry: Registry) -> _PlannedTask:
    task = build_task(given, registry)
    card = task.card
    identity = TaskIdentity(
        name=card.name if isinstance(given, Task) else given.name,
        version=card.version,
        params=task.params,
        sample_sha256=sample_sha256(task),
    )
    metrics = metrics_on(task, request.metrics, registry)
    chosen, examples = label_of(metrics, task, registry), Examples(task)
    examples.check_tests(metrics)
    label = task_label(given, task)
    return _PlannedTask(given, task, identity, label, metrics, chosen, examples)


def _read_by(
    model: _PlannedModel, task: _PlannedTask, request: Request, registry: Registry
) -> _PlannedTask:
    """Return a task as a model reads it; what tokens it has is told by the hash in the identity."""
    given = in_own_tokens(task.given, task.task, model.source)
    if given is task.given:
        return task
    found = _task(given, request, registry)
    params = {"params": task.identity.params}
    return replace(found, identity=found.identity.model_copy(update=params), label=task.label)


def _model(given: Spec | ModelSource, request: Request, registry: Registry) -> _PlannedModel:
    settings = request.settings
    source, label, file_hash = build_source(given, registry, settings), {}, None
    if isinstance(given, Spec):
        if request.size is not None and "size" not in given.args and source.card.sizes:
            given = replace(given, args={**given.args, "size": request.size})
            source = build_source(given, registry, settings)
        label = model_label(given, source, registry, settings)
        file_hash = file_sha256(given, registry)
    found = source.identity()
    if isinstance(given, Spec) and found.commit is not None:
        given = replace(given, name=source.address, revision=found.commit)
    identity = ModelPart(**{**vars(found), "file_sha256": file_hash or found.file_sha256})
    recipe = source.recipe.replace(request.recipe)
    if identity.source == "planted" and recipe.steps:
        raise UsageError(
            f"Model '{identity.name}' has its weights set by hand and is not trained. Leave out "
            "steps, or run it without the models that are trained."
        )
    return _PlannedModel(given, source, recipe, identity, label)


def _notes(
    model: _PlannedModel, task: _PlannedTask, encoding: Encoding, bounds: Bounds
) -> tuple[str, ...]:
    """Say which metrics will be null because something lacks what they need, or is too short."""
    found = lacking(task.metrics, task.task, _unweighted(model, task, encoding), bounds)
    names = f"{model.identity.name} on {task.identity.name}"
    return tuple(f"{', '.join(ids)} of {names}: null, {why}" for why, ids in found.items())


def _unweighted(
    model: _PlannedModel, task: _PlannedTask, encoding: Encoding
) -> SequenceModel | None:
    """Build a model to look at its parts, where a metric asks for some and no weights are read."""
    asked = any(need.asks_model for metric in task.metrics for need in metric.card.needs)
    if not asked or model.identity.source in ("pretrained", "random"):
        return None
    return model.source.untrained(encoding, seed=0)


def _cell(
    request: Request,
    model: _PlannedModel,
    task: _PlannedTask,
    seed: int,
    notes: tuple[str, ...],
    sweep: Mapping[str, list[Any]],
) -> Cell:
    dtype = request.dtype or model.source.dtype
    gate_on = task.task.gate_on
    recipe, usual = model.recipe.on(gate_on), model.source.recipe.on(gate_on)
    identity = Identity(
        protocol=PROTOCOL,
        task=task.identity,
        model=model.identity,
        recipe=recipe.to_dict(),
        metrics=list(map(identity_of, task.metrics)),
        seed=seed,
        dtype=dtype,
        limit=request.limit,
        sweep=dict(sweep) or None,
        snapshots=request.snapshots,
    )
    run = differences(recipe.fields(), usual.fields())
    run |= {"limit": request.limit} if request.limit is not None else {}
    run |= {"dtype": dtype} if dtype != "float32" else {}
    run |= {"metrics": task.chosen} if task.chosen is not None else {}
    run |= {f"sweep.{name}": values for name, values in sweep.items()}
    run |= {"snapshots": request.snapshots} if request.snapshots is not None else {}
    labels = Labels(model=dict(model.label), task=dict(task.label), run=run)
    path = None
    if request.output is not None:
        path = report_path(request.output, identity, labels)
    return Cell(
        model=model.given,
        task=task.given,
        recipe=recipe,
        identity=identity,
        key=cell_key(identity),
        output=request.output,
        path=path,
        settings=request.settings,
        model_title=str(Spec(identity.model.name, model.label, _revision(identity.model)))
        + (f" (best {', '.join(sweep)})" if sweep else ""),
        task_title=str(Spec(identity.task.name, task.label)),
        labels=labels,
        metrics=request.metrics,
        notes=notes,
    )


def _revision(model: ModelPart) -> str | None:
    """Return the revision, or of a checkpoint in a folder the hash that tells it from others."""
    found = checkpoint_id(model)
    return found[:8] if found else model.revision
