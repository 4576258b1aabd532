"""``mecheval run``: models x tasks x seeds, one report per cell, and a table."""

from __future__ import annotations

import shlex
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from mecheval.cli import options
from mecheval.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from mecheval.harness.events import Outcome
    from mecheval.harness.request import Request


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
    options.add_list(
        parser, "--models", "--model", "-m", metavar="NAME", required=True,
        help="models with arguments: mamba[layers=2],pythia-160m@step1000,hf:DIRECTORY",
    )  # fmt: skip
    options.add_list(
        parser, "--tasks", "--task", "-t", metavar="NAME", required=True,
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
        parser, "--metrics", metavar="NAME",
        help="mechanistic metrics to measure (default: all that the task declares)",
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
    options.add_json(parser, help="print a JSON line per finished cell instead of the table")


def run(args: argparse.Namespace) -> int:
    """Run the grid.

    Returns:
        0 if all cells succeeded, 1 if one failed, 130 or 143 if interrupted.
    """
    try:
        with _stoppable():
            return _run(args)
    except Stopped as stopped:
        print(
            f"Interrupted. Finished cells are kept in {args.output}; the same command goes on.",
            file=sys.stderr,
        )
        return stopped.exit_code


def _run(args: argparse.Namespace) -> int:
    from mecheval.cli.progress import display
    from mecheval.harness.devices import find_devices
    from mecheval.harness.execute import execute
    from mecheval.training import processes

    devices = find_devices(args.device)
    request = _request(args, devices.kind)
    if args.dry_run:
        return _dry_run(request)
    jobs = _positive(args.jobs or devices.jobs, "--jobs")
    quiet = args.quiet or not processes.is_main()
    with display(quiet=quiet, as_json=args.json and processes.is_main()) as listener:
        outcomes = execute(request, listener, devices=devices, jobs=jobs, fail_fast=args.fail_fast)
    if not quiet and not args.json:
        _print_table(outcomes)
    return _exit_code(outcomes, allow_failures=args.allow_failures)


def _request(args: argparse.Namespace, device: str) -> Request:
    from mecheval.harness.request import Request, Settings
    from mecheval.spec import parse_assignments, parse_spec

    return Request(
        models=tuple(map(parse_spec, _some(args.models, "--models"))),
        tasks=tuple(map(parse_spec, _some(args.tasks, "--tasks"))),
        seeds=tuple(options.seeds(",".join(args.seeds))) if args.seeds else None,
        size=args.size,
        recipe=parse_assignments(",".join(args.recipe)) if args.recipe else {},
        metrics=tuple(options.names(args.metrics)) if args.metrics else None,
        limit=args.limit,
        dtype=args.dtype,
        output=args.output,
        settings=Settings(
            include_paths=tuple(args.include_path or ()),
            trust_remote_code=args.trust_remote_code,
            cache=args.cache,
            device=device,
            threads=_positive(args.threads, "--threads"),
            batch_size=_positive(args.batch_size, "--batch-size"),
            overwrite=args.overwrite,
            command=("mecheval", *sys.argv[1:]),
        ),
    )


def _some(values: Sequence[str], flag: str) -> list[str]:
    names = options.names(values)
    if not names:
        raise UsageError(f"{flag} names nothing. Give at least one name.")
    return names


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


def _dry_run(request: Request) -> int:
    from mecheval.harness.plan import plan
    from mecheval.harness.store import finished_report
    from mecheval.reports.markdown import table

    rows = [
        [
            cell.model_title,
            cell.task_title,
            str(cell.identity.seed),
            "cached" if finished_report(cell) else "to do",
            cell.key[:8],
            str(cell.path),
        ]
        for cell in plan(request)
    ]
    print(table(["Model", "Task", "Seed", "State", "Key", "Report"], rows))
    return 0


def _print_table(outcomes: Sequence[Outcome]) -> None:
    from mecheval.cli.summary import summary

    print(summary(outcomes))


def _exit_code(outcomes: Sequence[Outcome], *, allow_failures: bool) -> int:
    failed = [outcome for outcome in outcomes if outcome.report.status == "error"]
    for outcome in failed:
        if outcome.report.error and outcome.report.error.traceback:
            path = shlex.quote(str(outcome.cell.path))
            print(f"The traceback is in the field 'error' of {path}.", file=sys.stderr)
    return 1 if failed and not allow_failures else 0
