"""``mecheval run``: models x tasks x seeds, one report per cell, and a table."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from mecheval.cli import options
from mecheval.cli.printing import say
from mecheval.errors import UsageError
from mecheval.paths import is_dir

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mecheval.harness.events import Outcome
    from mecheval.harness.request import Request
    from mecheval.reports.schema import Report
    from mecheval.spec import Spec


class Stopped(KeyboardInterrupt):
    """SIGINT (Ctrl-C) or SIGTERM (a scheduler) arrived.

    A class of its own, because Python ends itself by SIGINT when a plain KeyboardInterrupt has
    passed through some of its own code, and the exit code would be lost.
    """

    def __init__(self, number: int) -> None:
        """Remember which signal it was."""
        super().__init__(number)
        self.exit_code = 128 + number


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "run",
        help="train, measure and report models on tasks",
        description="Run the grid models x tasks x seeds: train where need be, measure behaviour "
        "and mechanisms, write one report per cell, print a table. The same command again "
        "resumes.",
    )
    _add_grid(parser)
    _add_execution(parser)
    _add_output(parser)
    parser.set_defaults(command=run)


def _add_grid(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--suite", metavar="NAME",
        help="a suite of the package, or a TOML file, in place of models and tasks; other flags "
        "take precedence over what it says",
    )  # fmt: skip
    options.add_list(
        parser, "--models", "--model", "-m", metavar="NAME",
        help="models with arguments: mamba[layers=2],pythia-160m@step1000,hf:DIRECTORY",
    )  # fmt: skip
    options.add_list(
        parser, "--tasks", "--task", "-t", metavar="NAME",
        help="tasks with parameters: parity,dyck[k=3]",
    )  # fmt: skip
    options.add_list(
        parser, "--seeds", "--seed", "-s", metavar="N",
        help="seeds such as 0-3 or 0,2 (default: 0; 0-3 with --size formal)",
    )  # fmt: skip
    parser.add_argument("--size", help="size of our own models: tiny, formal")
    options.add_list(
        parser, "--recipe", "-r", metavar="KEY=VALUE",
        help="fields of the training recipe to replace: lr=1e-3,steps=500",
    )  # fmt: skip
    options.add_list(
        parser, "--sweep", metavar="KEY=VALUE,VALUE",
        help="fields of the recipe to try: lr=1e-3,3e-3 optimizer=adamw,muon trains all four and "
        "measures the one with the best validation accuracy",
    )  # fmt: skip
    parser.add_argument(
        "--snapshots", type=int, metavar="N",
        help="measure the metrics at N points along training as well, from the untrained weights",
    )  # fmt: skip
    options.add_list(
        parser, "--metrics", metavar="NAME",
        help="metrics to measure on any task that has what they need, with parameters if wanted: "
        "bottleneck[eraser=inlp],convolution (default: those that the task declares)",
    )  # fmt: skip
    parser.add_argument(
        "--limit", "-L", type=int, metavar="N",
        help="use at most N examples per metric; marks the reports partial",
    )  # fmt: skip
    parser.add_argument(
        "--dtype", default="float32", help="arithmetic of the measurements (default: float32)"
    )


def _add_execution(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs", "-j", type=int, metavar="N",
        help="cells at a time (default: one per core, or one per GPU)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads per cell (default: 1)"
    )
    parser.add_argument(
        "--batch-size", "-b", type=int, default=128, metavar="N",
        help="sequences per forward pass of the measurements (default: 128)",
    )  # fmt: skip
    parser.add_argument(
        "--ensemble", type=int, metavar="N",
        help="most trainings of one shape that take their steps as one, equal but for rounding "
        "(default: all on CUDA; on the CPU, those of the sweep of a narrow model)",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    options.add_include_path(parser)
    parser.add_argument(
        "--cache", type=options.path, metavar="PATH",
        help="folder for checkpoints (default: the platform's cache folder)",
    )  # fmt: skip
    options.switch(
        parser, "--trust-remote-code", help="let a checkpoint from the hub run code of its own"
    )
    options.switch(parser, "--fail-fast", help="stop at the first cell that fails")
    options.switch(parser, "--allow-failures", help="exit with 0 although cells failed")


def _add_output(parser: argparse.ArgumentParser) -> None:
    options.add_output(parser, help="folder for the reports (default: results)")
    options.switch(parser, "--overwrite", help="measure finished cells again")
    options.switch(parser, "--dry-run", help="print which cells are there and which are to do")
    options.add_quiet(parser)
    options.add_json(parser, help="print a JSON line per cell instead of the table")


def run(args: argparse.Namespace) -> int:
    """Run the grid.

    Returns:
        0 if all cells succeeded, 1 if one failed, 130 or 143 if interrupted.
    """
    try:
        with _stoppable():
            return _run(args)
    except Stopped as stopped:
        say(_where_it_goes_on(args.output), error=True)
        return stopped.exit_code


def _where_it_goes_on(output: Path) -> str:
    """Say what an interrupted run leaves, which is nothing where no cell was finished."""
    if is_dir(output) and next(output.rglob("seed*.json"), None):
        return f"Interrupted. Finished cells are kept in {output}; the same command goes on."
    return "Interrupted. No cell was finished; the same command begins again."


def _run(args: argparse.Namespace) -> int:
    from mecheval.cli.progress import display
    from mecheval.harness.devices import find_devices
    from mecheval.harness.execute import execute
    from mecheval.training import processes

    devices = find_devices(args.device)
    requests = _requests(args, devices.kind)
    if args.dry_run:
        return _dry_run(requests, as_json=args.json)
    jobs = _positive(devices.jobs if args.jobs is None else args.jobs, "--jobs")
    quiet = args.quiet or not processes.is_main()
    with display(quiet=quiet, as_json=args.json and processes.is_main()) as listener:
        outcomes = execute(requests, listener, devices=devices, jobs=jobs, fail_fast=args.fail_fast)
    if not quiet and not args.json:
        _print_table(outcomes)
    return _exit_code(outcomes, allow_failures=args.allow_failures)


def _requests(args: argparse.Namespace, device: str) -> list[Request]:
    """Return what is asked for: the grid of the flags, or those of a suite.

    Raises:
        UsageError: A flag is missing, malformed, or contradicts another one.
    """
    from mecheval.harness.request import Request, Settings
    from mecheval.harness.suites import load_suite
    from mecheval.spec import parse_assignments, parse_spec, parse_sweep

    def specs(names: Sequence[str]) -> tuple[Spec, ...]:
        return tuple(map(parse_spec, names))

    common: dict[str, Any] = {
        "seeds": options.read(
            args.seeds, "--seeds", lambda texts: tuple(options.seeds(",".join(texts)))
        ),
        "size": args.size,
        "recipe": options.read(args.recipe, "--recipe", lambda t: parse_assignments(",".join(t)))
        or {},
        "sweep": options.read(args.sweep, "--sweep", lambda texts: parse_sweep(" ".join(texts))),
        "snapshots": args.snapshots,
        "metrics": options.read(args.metrics, "--metrics", lambda t: specs(options.names(t))),
        "limit": args.limit,
        "dtype": args.dtype,
        "output": args.output,
        "settings": Settings(
            include_paths=tuple(args.include_path or ()),
            trust_remote_code=args.trust_remote_code,
            cache=args.cache,
            device=device,
            threads=_positive(args.threads, "--threads"),
            batch_size=_positive(args.batch_size, "--batch-size"),
            overwrite=args.overwrite,
            ensemble=args.ensemble,
            command=("mecheval", *sys.argv[1:]),
        ),
    }
    if args.suite is None:
        models, tasks = options.some(args.models, "--models"), options.some(args.tasks, "--tasks")
        return [Request(models=specs(models), tasks=specs(tasks), **common)]
    if args.models or args.tasks:
        raise UsageError("--suite names its models and tasks. Leave out --models and --tasks.")
    suite = load_suite(args.suite)
    suite.check_claims(common["settings"])
    return suite.requests(**common)


def _positive(value: int, flag: str) -> int:
    if value < 1:
        raise UsageError(f"{flag} is {value}; give a number of at least 1.")
    return value


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn the two signals that ask to end into exceptions."""

    def stop(number: int, _: object) -> NoReturn:
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _dry_run(requests: Sequence[Request], *, as_json: bool) -> int:
    from mecheval.harness.plan import plan
    from mecheval.harness.store import finished_report
    from mecheval.reports.markdown import table

    cells = {cell.key: cell for request in requests for cell in plan(request)}
    rows: list[dict[str, Any]] = [
        {
            "model": cell.model_title,
            "task": cell.task_title,
            "seed": cell.identity.seed,
            "state": "cached" if finished_report(cell) else "to do",
            "key": cell.key,
            "report": str(cell.path),
        }
        for cell in cells.values()
    ]
    if as_json:
        for row in rows:
            say(json.dumps(row))
        return 0
    shown = [[str(value) for value in (row | {"key": row["key"][:8]}).values()] for row in rows]
    there = sum(row["state"] == "cached" for row in rows)
    say(table(["Model", "Task", "Seed", "State", "Key", "Report"], shown))
    say(f"{there} cells are already there, {len(rows) - there} to do", error=True)
    return 0


def _print_table(outcomes: Sequence[Outcome]) -> None:
    from mecheval.cli.summary import summary

    say(summary([_labelled(outcome) for outcome in outcomes]))


def _labelled(outcome: Outcome) -> Report:
    """Return the report with what was asked for here, which an older one does not say."""
    return outcome.report.model_copy(update={"labels": outcome.cell.labels})


def _exit_code(outcomes: Sequence[Outcome], *, allow_failures: bool) -> int:
    failed = [outcome for outcome in outcomes if outcome.report.status == "error"]
    for outcome in failed:
        if outcome.report.error and outcome.report.error.traceback:
            path = shlex.quote(str(outcome.cell.path))
            say(f"The traceback is in the field 'error' of {path}.", error=True)
    return 1 if failed and not allow_failures else 0
