"""Reports with invented numbers, for tests of what reads reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval.reports.files import cell_key, report_path, write_report
from mecheval.reports.schema import (
    Identity,
    MetricIdentity,
    MetricResult,
    ModelPart,
    Profile,
    Report,
    Snapshot,
    SnapshotResult,
    TaskCardPart,
    TaskIdentity,
    Uncertainty,
)

if TYPE_CHECKING:
    from pathlib import Path

VARIABLES = {"parity": {"parity": 2}, "dyck": {"depth": 5, "top": 3}, "ar": {"value": 8}}
N_LAYERS, N_POSITIONS, CHANGED = 4, 17, 5
REASON = "not learned: token accuracy 0.612 is below the gate 0.99"


def synthetic(
    model: str = "gru",
    task: str = "parity",
    seed: int = 0,
    *,
    learned: bool | None = True,
    version: int = 1,
    limit: int | None = None,
    source: str = "scratch",
    model_args: dict[str, Any] | None = None,
    task_params: dict[str, Any] | None = None,
    recipe: dict[str, Any] | None = None,
    **changes: Any,
) -> Report:
    """Build a whole report; further arguments replace its fields."""
    identity = Identity(
        protocol=1,
        task=TaskIdentity(name=task, version=version, params=task_params or {"max_length": 16}),
        model=ModelPart(name=model, args=model_args or {"layers": 4}, source=source),  # type: ignore[arg-type]
        recipe=recipe or {"optimizer": "adamw", "lr": 0.003},
        metrics=[MetricIdentity(name="behaviour", version=1, params={"n": 1024})],
        seed=seed,
        dtype="float32",
        limit=limit,
    )
    fields: dict[str, Any] = {
        "key": cell_key(identity),
        "status": "success",
        "partial": limit is not None,
        "learned": learned,
        "created": "2026-01-01T00:00:00Z",
        "finished": "2026-01-01T00:00:07Z",
        "identity": identity,
        "task_card": task_card(task),
        "metrics": metrics(task, np.random.default_rng(seed + 100 * len(model)), learned=learned),
        "environment": {"python": "3.11.7", "packages": {"torch": "2.6.0"}},
        "resources": {"batch_size": 128, "seconds": {"train": 5.0}},
    }
    return Report(**{**fields, **changes})


def task_card(task: str) -> TaskCardPart:
    return TaskCardPart(
        summary=f"The task {task}.",
        reference="none",
        chance=0.5,
        vocab_size=3,
        test_lengths={"1x": 16, "2x": 32},
        variables=VARIABLES[task],
        floors={"majority": 0.5},
    )


def metrics(task: str, rng: np.random.Generator, *, learned: bool | None) -> list[MetricResult]:
    results = [
        _behaviour("token_accuracy/1x", 0.995 if learned else 0.612, rng),
        _behaviour("last_accuracy/1x", 0.99 if learned else 0.55, rng),
        _behaviour("token_accuracy/2x", 0.8 if learned else 0.55, rng),
        _recovery(rng),
    ]
    for variable in VARIABLES[task]:
        results += [_readability(variable, rng), _bottleneck(variable, rng)]
    if learned:
        return results
    empty = {"value": None, "reason": REASON, "uncertainty": None, "n_scored": 0}
    empty |= {"profile": None, "profiles": {}, "references": {}, "scalars": {}}
    return [
        result if result.family == "behaviour" else result.model_copy(update=empty)
        for result in results
    ]


def _behaviour(id: str, value: float, rng: np.random.Generator) -> MetricResult:
    kind, factor = id.split("/")
    value = float(np.clip(value + 0.004 * rng.normal(), 0, 1))
    return _result(
        id=id, name="behaviour", family="behaviour", title=f"{kind.replace('_', ' ')} at {factor}",
        value=value, bounds=(0.0, 1.0), higher_is_better=True, width=0.004, unit="sequence",
        references={"chance": 0.5, "floor": 0.503},
    )  # fmt: skip


def _recovery(rng: np.random.Generator) -> MetricResult:
    layer, position = np.mgrid[:N_LAYERS, :N_POSITIONS]
    at = CHANGED + (N_POSITIONS - 1 - CHANGED) * (layer / N_LAYERS) ** 2
    grid = np.exp(-0.5 * ((position - at) / 1.5) ** 2) * (position >= CHANGED)
    trivial = (position < CHANGED) | (layer == 0)
    grid = np.where(layer == 0, position == CHANGED, grid).astype(float)
    roles = np.stack([grid[:, CHANGED], grid[:, 10], grid[:, -1]], 1)
    return _result(
        id="recovery/block_in", name="recovery", family="intervention",
        title="recovery at the middle position, block_in", value=float(roles[:, 1].max()),
        width=0.05, unit="pair", scalars={"layer": 2.0},
        references={"clean": 6.1, "corrupted": -5.9},
        profile=Profile(
            axes=["layer", "role"],
            index={"layer": [*range(N_LAYERS)], "role": ["changed", "middle", "readout"]},
            value=roles.tolist(), low=(roles - 0.05).tolist(), high=(roles + 0.05).tolist(),
            marks={"trivial": [[layer == 0, layer == 0, False] for layer in range(N_LAYERS)]},
            series={"median": roles.tolist()},
        ),
        profiles={
            "grid": Profile(
                axes=["layer", "position"],
                index={"layer": [*range(N_LAYERS)], "position": [*range(N_POSITIONS)]},
                value=(grid + 0.02 * rng.normal(size=grid.shape)).tolist(),
                marks={"trivial": trivial.tolist()},
                series={"median": grid.tolist()},
            )
        },
    )  # fmt: skip


def _readability(variable: str, rng: np.random.Generator) -> MetricResult:
    layers = np.arange(N_LAYERS + 1)
    a_L = 1 / (1 + np.exp(-3 * (layers - 2 + 0.2 * rng.normal())))
    return _result(
        id=f"readability/{variable}", name="readability", family="probe",
        title=f"readability of {variable}, best layer", value=float(a_L.max()), bounds=(0.0, 1.0),
        width=0.02, unit="sequence", references={"floor": 0.0},
        scalars={"layer": 4.0, "com": 0.55, "ch": 0.4, "accuracy": 0.99},
        profile=Profile(
            axes=["layer"], index={"layer": [*layers.tolist()]}, value=a_L.tolist(),
            low=(a_L - 0.02).tolist(), high=(a_L + 0.02).tolist(),
            series={
                "accuracy": (0.5 + 0.5 * a_L).tolist(), "floor": [0.5] * len(layers),
                "untrained": [0.5] * len(layers), "shuffled": [0.5] * len(layers),
                "mlp": np.minimum(a_L + 0.04, 1.0).tolist(),
            },
        ),
    )  # fmt: skip


def _bottleneck(variable: str, rng: np.random.Generator) -> MetricResult:
    layers = np.arange(N_LAYERS + 1)
    cost_L = np.exp(-0.5 * ((layers - 2) / 0.8) ** 2) * 0.45 + 0.005 * rng.normal()
    return _result(
        id=f"bottleneck/{variable}", name="bottleneck", family="bottleneck",
        title=f"cost of erasing {variable} at its bottleneck", value=float(cost_L.max()),
        width=0.1, unit="sequence", references={"null": 0.0}, scalars={"layer": 2.0},
        profile=Profile(
            axes=["layer"], index={"layer": [*layers.tolist()]}, value=cost_L.tolist(),
            low=(cost_L - 0.03).tolist(), high=(cost_L + 0.03).tolist(),
            marks={"valid": [False, True, True, True, False]},
            series={"null_low": [-0.02] * 5, "null_high": [0.03] * 5},
        ),
    )  # fmt: skip


def _result(*, width: float, unit: str, value: float | None, **fields: Any) -> MetricResult:
    low, high = fields.get("bounds", (-np.inf, np.inf))
    if value is None:
        return MetricResult(version=1, value=None, n_expected=64, n_scored=0, **fields)
    interval = Uncertainty(
        method="bootstrap", level=0.95, resampled_unit=unit, n_resamples=2000,
        low=float(max(value - width, low)), high=float(min(value + width, high)),
    )  # fmt: skip
    return MetricResult(
        version=1, value=value, uncertainty=interval, n_expected=64, n_scored=64, **fields
    )


def called(name: str, report: Report) -> Report:
    """Return a report whose model has a name that no reader lets pass, as objects can have."""
    model = report.identity.model.model_copy(update={"name": name})
    identity = report.identity.model_copy(update={"model": model})
    return report.model_copy(update={"identity": identity})


def write(root: Path, *reports: Report) -> list[Path]:
    """Write reports to their places under a folder of results."""
    paths = []
    for report in reports:
        path = report_path(root, report.identity)
        if report.partial:
            path = path.with_name(f"{path.stem}+limit={report.identity.limit}.json")
        write_report(report, path)
        paths.append(path)
    return paths


def exchanged(
    report: Report,
    sufficiency_L: list[float | None],
    use_L: list[float],
    *,
    longer: float = 1.0,
    part: str = "",
) -> Report:
    """Return a report with the exchange of a variable, and accuracy on words four times as long.

    Args:
        report: The report, of a task that was learned.
        sufficiency_L: Sufficiency by layer; None where it is not defined.
        use_L: Use by layer.
        longer: Accuracy at the last position of the longer words.
        part: The variable; the only one of the task by default.
    """
    part = part or "+".join(VARIABLES[report.identity.task.name])
    known = [each for each in sufficiency_L if each is not None]
    inner = [each for each in sufficiency_L[1:-1] if each is not None]
    low, high = ([None if each is None else each + by for each in sufficiency_L]
                 for by in (-0.03, 0.03))  # fmt: skip
    ends = {"use_low": [each - 0.02 for each in use_L], "use_high": [each + 0.02 for each in use_L]}
    profile = Profile(
        axes=["layer"], index={"layer": [*range(len(use_L))]},
        value=sufficiency_L, low=low, high=high, series={"use": use_L, **ends},
        marks={"trivial": [layer in (0, len(use_L) - 1) for layer in range(len(use_L))]},
    )  # fmt: skip
    mean = float(np.mean(inner)) if inner else None
    result = _result(
        id=f"exchange/{part}", name="exchange", family="exchange", metric="exchange",
        title=f"lateness of sufficiency of {part}", bounds=(0.0, 1.0), width=0.03, unit="sequence",
        value=float(np.clip(1 - np.mean(known), 0, 1)),
        verdict="tracking predicted" if mean is not None and mean >= 0.8 else
        "tracking not predicted", scalars={"mean_sufficiency": mean}, profile=profile,
    )  # fmt: skip
    at_4x = _result(
        id="last_accuracy/4x", name="behaviour", family="behaviour", metric="behaviour",
        title="last-position accuracy at 4x", bounds=(0.0, 1.0), width=0.02, unit="sequence",
        value=longer,
    )  # fmt: skip
    return report.model_copy(update={"metrics": [*report.metrics, at_4x, result]})


ROLE_NAMES = ["key", "value", "next_key", "value+1", "value+2", "divider", "query"]


def retrieval(
    model: str = "gru", seed: int = 0, *, verdict: str | None = "induction", **changes: Any
) -> Report:
    """Build a report of a task of retrieval, with interchange by role and a verdict."""
    report = synthetic(model, "parity", seed, learned=verdict is not None, **changes)
    rng = np.random.default_rng(seed)
    shape = (3, 2, len(ROLE_NAMES))
    profile = Profile(
        axes=["component", "layer", "role"],
        index={"component": ["block_in", "conv_out", "block_out"], "layer": [0, 1],
               "role": ROLE_NAMES},
        value=rng.random(shape).tolist(),
        marks={"trivial": (rng.random(shape) < 0.3).tolist()},
    )  # fmt: skip
    scalars = {"enough_block_in_key": 0.1, "enough_block_in_value": 0.9}
    known = verdict is not None
    more = [
        _result(
            id="interchange/key", name="interchange", family="intervention", title="interchange",
            value=0.9 if known else None, reason=None if known else REASON, width=0.1, unit="pair",
            profile=profile if known else None,
        ),
        _result(
            id="mechanism", name="mechanism", family="intervention", title="mechanism",
            value=0.97 if known else None, reason=None if known else REASON, verdict=verdict,
            width=0.0, unit="pair", scalars=scalars if known else {},
        ),
    ]  # fmt: skip
    return report.model_copy(update={"metrics": [*report.metrics, *more]})


def snapshots(report: Report, n: int = 4) -> Report:
    """Return a report with results along training."""
    along = [
        Snapshot(
            step=50 * i,
            validation_accuracy=i / n,
            metrics=[
                SnapshotResult(
                    id=m.id, value=m.value, verdict=m.verdict, reason=m.reason, scalars=m.scalars
                )
                for m in report.metrics
            ],
        )
        for i in range(n)
    ]
    return report.model_copy(update={"snapshots": along})
