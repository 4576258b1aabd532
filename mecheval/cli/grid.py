"""What commands that compute share: the grid that is asked for, how it is computed and stopped."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from mecheval.cli import options
from mecheval.cli.printing import say
from mecheval.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from mecheval.harness.request import Request
    from mecheval.harness.shards import Shard
    from mecheval.spec import Spec


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say what is measured."""
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
        "measures the one that is best on the validation split",
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


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how it is computed."""
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
    parser.add_argument(
        "--log-with", metavar="TRACKER",
        help="show the curves of trainings in tensorboard (in OUTPUT/curves), wandb or trackio",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add_planning(parser)
    parser.add_argument(
        "--cache", type=options.path, metavar="PATH",
        help="folder for checkpoints (default: the platform's cache folder)",
    )  # fmt: skip
    parser.add_argument(
        "--shard", metavar="I/N",
        help="compute part I of N alone, from 0/N on; what shares a training stays together. auto "
        "is the task of a SLURM job array (SLURM_ARRAY_TASK_ID of SLURM_ARRAY_TASK_COUNT)",
    )  # fmt: skip
    options.switch(parser, "--fail-fast", help="stop at the first cell that fails")
    options.switch(parser, "--allow-failures", help="exit with 0 although cells failed")


def add_planning(parser: argparse.ArgumentParser) -> None:
    """Add the flags that a plan needs besides the grid."""
    options.add_include_path(parser)
    options.switch(
        parser, "--trust-remote-code", help="let a checkpoint from the hub run code of its own"
    )


def requests_of(args: argparse.Namespace, device: str, *, claims: bool = True) -> list[Request]:
    """Return what is asked for: the grid of the flags, or those of a suite.

    Args:
        args: The flags.
        device: ``cpu`` or ``cuda``.
        claims: Whether the claims of a suite are checked, which imports torch.

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
            threads=positive(args.threads, "--threads"),
            batch_size=positive(args.batch_size, "--batch-size"),
            overwrite=args.overwrite,
            ensemble=args.ensemble,
            log_with=args.log_with,
            command=("mecheval", *sys.argv[1:]),
        ),
    }
    if args.suite is None:
        models, tasks = options.some(args.models, "--models"), options.some(args.tasks, "--tasks")
        return [Request(models=specs(models), tasks=specs(tasks), **common)]
    if args.models or args.tasks:
        raise UsageError("--suite names its models and tasks. Leave out --models and --tasks.")
    suite = load_suite(args.suite)
    if suite.warning:
        say(f"mecheval: {suite.warning}", error=True)
    if claims:
        suite.check_claims(common["settings"])
    return suite.requests(**common)


def shard_of(args: argparse.Namespace) -> Shard | None:
    """Return the part that is asked for; None for all.

    Raises:
        UsageError: There is no such part.
    """
    from mecheval.harness.shards import read_shard

    return None if args.shard is None else read_shard(args.shard, os.environ)


def positive(value: int, flag: str) -> int:
    """Return the value of a flag.

    Raises:
        UsageError: It is not positive.
    """
    if value < 1:
        raise UsageError(f"{flag} is {value}; give a number of at least 1.")
    return value


def stoppable() -> AbstractContextManager[None]:
    """Turn the signals that ask to end into exceptions; a training writes its progress first."""
    from mecheval.training import stopping

    return stopping.handled(signal.SIGINT, *stopping.GENTLE)
