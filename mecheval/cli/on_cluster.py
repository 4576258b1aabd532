"""``mecheval run --executor slurm``: its flags, and what is said of its jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.cli import options
from mecheval.cli.printing import say
from mecheval.errors import UsageError, unknown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mecheval.harness.cluster.executor import Cluster
    from mecheval.harness.events import Outcome
    from mecheval.harness.request import Request

EXECUTORS = ("local", "slurm")


def add_executor(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say where cells are computed."""
    parser.add_argument(
        "--executor", default="local", metavar="NAME",
        help="local: on this machine; slurm: as jobs of a cluster whose nodes share OUTPUT and the "
        "cache (needs the extra slurm)",
    )  # fmt: skip
    options.add_list(
        parser, "--executor-options", "-E", metavar="KEY=VALUE",
        help="what a job gets: partition=gpu,gpus=1,cpus=4,minutes=60,parallel=20 (jobs at once); "
        "also memory (GB), account, qos, constraint, jobs (at most), plan=here",
    )  # fmt: skip
    options.switch(parser, "--detach", help="submit the jobs, print their ids, and wait for none")


def cluster_of(args: argparse.Namespace) -> bool:
    """Say whether cells run on a cluster.

    Raises:
        UsageError: There is no such executor, or a flag has no meaning with the one that is given.
    """
    if args.executor not in EXECUTORS:
        raise unknown("executor", args.executor, EXECUTORS, see=f"these: {', '.join(EXECUTORS)}")
    remote = args.executor != "local"
    flags = {"--jobs": args.jobs is not None, "--shard": args.shard is not None}
    flags |= {"--device": args.device != "auto"}
    if not remote:
        flags = {"-E": args.executor_options is not None, "--detach": args.detach}
    wrong = [flag for flag, given in flags.items() if given]
    if wrong:
        why = "has no meaning for jobs of a cluster: -E says what each of them gets"
        why = why if remote else "is for jobs of a cluster: give --executor slurm as well"
        raise UsageError(f"{wrong[0]} {why}. Leave it out." if remote else f"{wrong[0]} {why}.")
    return remote


def run_on_cluster(args: argparse.Namespace, requests: Sequence[Request]) -> list[Outcome] | None:
    """Run cells as jobs.

    Returns:
        The outcomes; None where nobody waits for them.

    Raises:
        UsageError: A request or an option cannot be met.
        StorageError: A report could not be written.
    """
    from mecheval.cli.progress import display
    from mecheval.harness.cluster.executor import Cluster
    from mecheval.harness.cluster.options import read_options
    from mecheval.harness.cluster.running import execute_on
    from mecheval.spec import parse_assignments

    given = options.read(
        args.executor_options, "-E", lambda texts: parse_assignments(",".join(texts))
    )
    cluster = Cluster.of(read_options(given or {}), requests)
    with display(quiet=args.quiet, as_json=args.json) as listener:
        if not args.detach:
            return execute_on(cluster, listener, fail_fast=args.fail_fast)
    _detach(cluster, args)
    return None


def _detach(cluster: Cluster, args: argparse.Namespace) -> None:
    from mecheval.cli.progress import display
    from mecheval.harness.cluster.running import submit_to

    with display(quiet=args.quiet) as listener:
        submission = submit_to(cluster, listener)
    if submission is None:
        say("Nothing is missing; no job was submitted.", error=True)
        return
    for job in submission.jobs:
        say(job)
    n_cells = sum(map(len, submission.jobs.values()))
    say(
        f"{n_cells} cells went to {len(submission.jobs)} jobs. "
        f"`mecheval status -o {args.output}` says how far they are; the same command submits what "
        "is missing.", error=True,
    )  # fmt: skip
