"""CPU seconds of planning, status and tables where there are thousands of cells.

Run ``python -m benchmarks.store`` in a checkout. The reports are invented: those of real cells have
other numbers, and are as large where ``--template`` names one of them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine
from mecheval.harness.cluster.states import states_of
from mecheval.harness.cluster.submissions import rows_of
from mecheval.harness.events import Silence
from mecheval.harness.execute import kept, planned_cells
from mecheval.harness.request import Request
from mecheval.harness.shards import Shard
from mecheval.reports.files import dumps, find_reports, sealed
from mecheval.reports.reading import read_report
from mecheval.reports.schema import MetricResult, Report, TaskCardPart, Uncertainty
from mecheval.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mecheval.harness.request import Cell

MODELS = ("lstm", "gru", "mamba", "mamba2", "attention", "transformer", "based", "deltanet")
TASKS = ("parity", "dyck", "s3", "z6", "ar")
N_METRICS = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=summary)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--template", type=Path, help="a report whose results all are given")
    options = parser.parse_args(arguments)
    machine.print_options(options)
    with tempfile.TemporaryDirectory() as folder:
        for name, seconds in measured(Path(folder), options.cells, options.template).items():
            print(f"| {name} | {seconds:.1f} |")
    return 0


def measured(root: Path, n_cells: int, template: Path | None) -> dict[str, float]:
    """Return CPU seconds by what takes them.

    Args:
        root: An empty folder for the reports.
        n_cells: How many there are at least.
        template: A report whose results all of them have; None for invented ones.
    """
    n_seeds = -(-n_cells // (len(MODELS) * len(TASKS)))
    request = Request(
        models=tuple(map(Spec, MODELS)), tasks=tuple(map(Spec, TASKS)),
        seeds=tuple(range(n_seeds)), output=root,
    )  # fmt: skip
    planned_cells([Request(models=request.models, tasks=request.tasks, output=root)])  # imports
    found: dict[str, float] = {}

    def timed(name: str, do: Callable[[], Any]) -> Any:
        began = time.process_time()
        value = do()
        found[name] = time.process_time() - began
        return value

    cells = timed("plan", lambda: planned_cells([request]))
    timed("a shard of 20", lambda: Shard(0, 20).of(cells))
    write(cells, None if template is None else read_report(template))
    states = timed("status", lambda: states_of(rows_of(cells, root), root))
    assert {each.state for each in states} == {"done"}
    timed("list the reports", lambda: find_reports(root))
    assert len(timed("read what is finished", lambda: kept(cells, Silence()))) == len(cells)
    timed("leaderboard build", lambda: build(root))
    return found


def build(root: Path) -> None:
    """Make the tables, as the command does."""
    from mecheval.cli import main as mecheval

    with redirect_stdout(StringIO()):
        code = mecheval(["leaderboard", "build", str(root), "-o", str(root / "tables"), "--quiet"])
    assert code == 0


def write(cells: Sequence[Cell], template: Report | None) -> None:
    """Write a report of every cell, without the pauses that a loss of power asks for."""
    for cell in cells:
        report = sealed(_report(cell, template))
        assert cell.path is not None
        cell.path.parent.mkdir(parents=True, exist_ok=True)
        cell.path.write_text(dumps(report))


def _report(cell: Cell, template: Report | None) -> Report:
    given: dict[str, Any] = {
        "key": cell.key, "identity": cell.identity, "labels": cell.labels, "status": "success",
        "partial": False,
    }  # fmt: skip
    if template is not None:
        return template.model_copy(update=given)
    return Report(
        **given, learned=True, created="2026-01-01T00:00:00Z", finished="2026-01-01T00:00:07Z",
        task_card=TaskCardPart(
            summary="A task.", reference="none", chance=0.5, vocab_size=3,
            test_lengths={"1x": 16}, variables={"x": 2}, floors={"majority": 0.5},
        ),
        metrics=[_result(i, cell.identity.seed) for i in range(N_METRICS)],
    )  # fmt: skip


def _result(i: int, seed: int) -> MetricResult:
    value = 0.9 + 0.001 * ((7 * i + 13 * seed) % 100)
    interval = Uncertainty(
        method="bootstrap", level=0.95, resampled_unit="sequence", n_resamples=2000,
        low=value - 0.01, high=value + 0.01,
    )  # fmt: skip
    id = "token_accuracy/1x" if i == 0 else f"recovery/{i}"
    return MetricResult(
        id=id, name="behaviour" if i == 0 else "recovery", version=1, title=id, value=value,
        family="behaviour" if i == 0 else "intervention", uncertainty=interval, n_expected=64,
        n_scored=64, references={"chance": 0.5, "floor": 0.5},
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
