"""``mecheval validate``: run the contract checks on tasks, models and metrics; check reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.cli import options
from mecheval.cli.kinds import advice_for
from mecheval.cli.printing import say
from mecheval.errors import UsageError
from mecheval.escape import line, quoted
from mecheval.paths import exists, is_file
from mecheval.text.hints import about_file
from mecheval.text.quoting import HUB, as_word

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mecheval.checks import Check
    from mecheval.registry import Registry
    from mecheval.spec import Spec

Subject = tuple[str, "list[Check]"]
"""What was checked, and the outcomes."""


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "validate",
        help="check reports, tasks, models and metrics",
        description="Check report files or folders of them against the schema, and run the "
        "contract checks on tasks, models and metrics. Exit code 1 if a check failed.",
    )
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="a report, a folder of reports, a task, a model or a metric",
    )
    options.switch(
        parser, "--trust-remote-code", help="let a checkpoint from the hub run code of its own"
    )
    options.add_include_path(parser)
    options.add_quiet(parser)
    options.add_json(parser, help="print one JSON object per check")
    parser.set_defaults(command=validate)


def validate(args: argparse.Namespace) -> int:
    """Check everything that is named and print one line per check.

    Returns:
        0 if no check failed, 1 otherwise.

    Raises:
        UsageError: A name is neither a file or folder, nor a task, a model or a metric.
    """
    registry = options.registry_of(args)
    jobs = [job for name in args.names for job in _jobs(name, registry)]
    n_failed = 0
    for kind, target in jobs:
        label, checks = _check(kind, target, registry, args)
        for check in checks:
            n_failed += check.passed is False
            _print(label, check, args)
    if not args.json and not args.quiet:
        say(f"{n_failed} checks failed." if n_failed else "All checks passed.")
    return 1 if n_failed else 0


def _jobs(name: str, registry: Registry) -> Iterator[tuple[str, str]]:
    """Say what a name stands for: a task, a model, a metric, or files.

    Raises:
        UsageError: It is nothing of the kind.
    """
    from mecheval.registry import KINDS
    from mecheval.reports.files import find_pairs, find_reports
    from mecheval.spec import parse_spec

    path = options.path(name)
    known = {kind: {e.name for e in registry.entries(kind)} for kind in KINDS}
    bare = name if exists(path) else parse_spec(name).name
    kinds = [kind for kind, names in known.items() if bare in names]
    if bare.startswith(HUB):
        yield "model", name
    elif kinds:
        yield from ((kind, name) for kind in kinds)
    elif exists(path):
        reports, other = {*find_reports(path), *find_pairs(path)}, about_file(path)
        if other and is_file(path):
            raise UsageError(f"The file {path} {'. '.join(other)}")
        if exists(path / "config.json"):
            raise UsageError(f"{path} holds a checkpoint. Write it {HUB}{as_word(name)}.")
        if not reports:
            raise UsageError(f"The folder {path} holds no reports. Give one that does.")
        yield from (("report", str(report)) for report in sorted(reports))
    else:
        raise UsageError(
            f"{quoted(name)} is neither a file or folder, nor a task, a model or a metric."
            f"{advice_for(name, registry)} See `mecheval ls tasks`, `ls models` or `ls metrics`."
        )


def _check(kind: str, target: str, registry: Registry, args: argparse.Namespace) -> Subject:
    from mecheval.spec import parse_spec

    if kind == "report":
        from mecheval.reports.validate import validate_file

        return target, validate_file(target)
    if kind == "task":
        return target, _task_checks(parse_spec(target), registry)
    if kind == "metric":
        from mecheval.harness.metric_checks import check_metric

        return target, check_metric(parse_spec(target), registry)
    return target, _model_checks(
        parse_spec(target), registry, trust_remote_code=args.trust_remote_code
    )


def _task_checks(spec: Spec, registry: Registry) -> list[Check]:
    from mecheval.checks import Check
    from mecheval.harness.building import build_task
    from mecheval.harness.measures import metrics_on
    from mecheval.harness.metric_checks import check_behaviour_on
    from mecheval.tasks.checks import check_task

    task = build_task(spec, registry)
    try:
        known = ", ".join(metric.name for metric in metrics_on(task, None, registry))
        registered = Check("metrics are registered", True, known)
    except UsageError as error:
        registered = Check("metrics are registered", False, str(error))
        return [registered, *check_task(task)]
    return [registered, *check_task(task), check_behaviour_on(task, registry)]


def _model_checks(spec: Spec, registry: Registry, *, trust_remote_code: bool) -> list[Check]:
    from mecheval.checks import Check
    from mecheval.harness.building import build_task
    from mecheval.models.checks import check_model
    from mecheval.models.load import resolve
    from mecheval.models.planted.planted import Planted
    from mecheval.spec import Spec as Name

    source = resolve(spec, registry, trust_remote_code=trust_remote_code)
    source.identity()  # a checkpoint that cannot be reached is no failure of the model
    planted = isinstance(source, Planted)
    task = source.task if planted else build_task(Name("parity"), registry)
    name = f"reads the symbols of {task.card.name}"
    try:
        encoding = source.encode(task)
    except UsageError as error:
        return [Check(name, False, str(error))]
    read = Check(name, True, f"vocabulary of {encoding.vocab_size}")
    # By construction, planted weights let much of the network do nothing.
    build = source.untrained if planted else source.build
    return [read, *check_model(build(encoding, seed=0))]


def _print(label: str, check: Check, args: argparse.Namespace) -> None:
    if args.json:
        import dataclasses
        import json

        say(json.dumps({"subject": label, **dataclasses.asdict(check)}))
    elif check.passed is False or not args.quiet:
        say(line(f"{label}: {check}"))
