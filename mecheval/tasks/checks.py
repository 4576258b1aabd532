"""The contract of a task, checked by running it: what ``mecheval validate TASK`` and CI assert.

Shape suffixes: ``B`` examples, ``T`` positions (BOS included).
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import numpy as np

from mecheval.checks import Check
from mecheval.own_code.explaining import in_words
from mecheval.seeding import stream
from mecheval.tasks.batch import UNDEFINED, UNSCORED, Batch
from mecheval.tasks.checking import BrokenError, NotApplicableError, check_shapes, need
from mecheval.tasks.contract import BOS, configure
from mecheval.tasks.floors import task_floors
from mecheval.tasks.pair_checks import check_pairs, drawn_pairs
from mecheval.tasks.splits import Split, draw, sequence_hash
from mecheval.tasks.text_task import TextTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from mecheval.tasks.contract import Task

N_EXAMPLES = 1024
N_FLOORS = 8192
GREATEST_MAJORITY = 0.9
"""A task whose most frequent answer is right more often than this asks for nothing."""
FEW_PER_ANSWER = 20
"""With fewer scored positions per answer than this, one may be missing by chance."""

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def check_task(task: Task) -> list[Check]:
    """Check one configured task against the contract of :class:`mecheval.tasks.Task`.

    Returns:
        One result per property; an exception inside the task fails the check that met it.
    """
    checks = []
    for name, check in _CHECKS.items():
        try:
            checks.append(Check(name, True, check(task)))
        except NotApplicableError as reason:
            checks.append(Check(name, None, str(reason)))
        except BrokenError as problem:
            checks.append(Check(name, False, str(problem)))
        except (Exception, SystemExit) as error:  # what contributed code raises
            checks.append(Check(name, False, in_words(error)))
    return checks


def _examples(task: Task, length: int, n: int = N_EXAMPLES) -> Batch:
    return task.sample(stream(0, "check", length), n, length)


def _members(task: Task) -> list[Batch]:
    pairs = drawn_pairs(task).values()
    return [batch for drawn in pairs for batch in (drawn.clean, drawn.corrupted)]


def _symbols(task: Task) -> str:
    symbols, answers = task.symbols, task.answers
    need(symbols[0] == BOS, f"the first symbol is {symbols[0]!r}, not {BOS!r}")
    need(len(set(symbols)) == len(symbols), "a symbol occurs twice")
    counts = {len(task.strings), len(set(task.strings))}
    fits = counts in ({len(symbols)}, {0})
    need(fits, f"{len(symbols)} symbols need as many different strings, or none: {counts}")
    need(len(set(answers)) >= 2, "there are fewer than two answers")
    inside = all(0 < answer < len(symbols) for answer in answers)
    need(inside, f"an answer is not the index of a symbol other than BOS: {answers}")
    return f"{len(symbols)} symbols, {len(answers)} answers"


def _parameters(task: Task) -> str:
    text = json.dumps(task.params, sort_keys=True, allow_nan=False)
    again = configure(type(task), json.loads(text), name=task.card.name)
    need(again == task, "writing the parameters as JSON and reading them gives another task")
    need(task.card.version >= 1, f"the version is {task.card.version}")
    need(task.card.reference, "the reference is empty; write 'none' if there is none")
    return text


def _deterministic(task: Task) -> str:
    first, again = (_examples(task, task.max_length) for _ in range(2))
    need(_same(first, again), "the same stream gives different examples")
    other = task.sample(stream(1, "check"), N_EXAMPLES, task.max_length)
    need(not np.array_equal(first.tokens_BT, other.tokens_BT), "the stream is not used")
    same = all(map(_same, _members(task), _members(task)))
    need(same, "the same stream gives different counterfactuals")
    return "examples and pairs repeat"


def _same(one: Batch, other: Batch) -> bool:
    return (
        np.array_equal(one.tokens_BT, other.tokens_BT)
        and np.array_equal(one.targets_BT, other.targets_BT)
        and all(np.array_equal(v, other.variables[k]) for k, v in one.variables.items())
        and all(np.array_equal(v, other.roles[k]) for k, v in one.roles.items())
    )


def _shapes(task: Task) -> str:
    lengths = sorted({task.min_length, *task.test_lengths.values()})
    for length in lengths:
        check_shapes(task, _examples(task, length, n=8), (8, length + 1))
    return f"{', '.join(map(str, lengths))} symbols"


def _bos(task: Task) -> str:
    for batch in (_examples(task, task.max_length), *_members(task)):
        need((batch.tokens_BT[:, 0] == 0).all(), "a sequence does not start with BOS")
        need((batch.tokens_BT[:, 1:] > 0).all(), "BOS occurs after the first position")
        inside = (batch.tokens_BT < len(task.symbols)).all()
        need(inside, "a token is not the index of a symbol")
    return "examples and pairs"


def _targets(task: Task) -> str:
    targets_BT = _examples(task, task.max_length).targets_BT
    allowed = np.isin(targets_BT, (*task.answers, UNSCORED))
    need(allowed.all(), f"a target is neither an answer nor {UNSCORED}")
    scored_BT = targets_BT != UNSCORED
    need(scored_BT.any(1).all(), "an example has no scored position")
    return f"{scored_BT.mean():.0%} of positions are scored"


def _variables(task: Task) -> str:
    batch = _examples(task, task.max_length)
    for name, n_values in task.variables.items():
        values_BT = batch.variables[name]
        need((values_BT[:, 0] == UNDEFINED).all(), f"{name} is defined at BOS")
        seen = set(np.unique(values_BT).tolist()) - {UNDEFINED}
        need(seen <= set(range(n_values)), f"{name} takes values outside 0 to {n_values - 1}")
        need(len(seen) >= 2, f"{name} never changes")
    return ", ".join(f"{name}: {n} values" for name, n in task.variables.items())


def _readout(task: Task) -> str:
    batch = _examples(task, task.max_length)
    need("readout" in batch.roles, "there is no role 'readout'")
    need((batch.target_at("readout") != UNSCORED).all(), "the readout is not scored")
    need((batch.roles["readout"] > 0).all(), "the readout is at BOS")
    return f"position {batch.roles['readout'].min()} to {batch.roles['readout'].max()}"


def _disjoint(task: Task) -> str:
    rows = {
        split: {
            row.tobytes()
            for row in draw(
                task, stream(0, "check", split), N_EXAMPLES, length=task.max_length, split=split
            ).tokens_BT
        }
        for split in _SPLITS
    }
    shared = [
        f"{one} and {other}"
        for one, other in (("train", "test"), ("train", "validation"), ("validation", "test"))
        if rows[one] & rows[other]
    ]
    need(not shared, f"the same sequence is in {', '.join(shared)}")
    return ", ".join(f"{len(rows[split])} different in {split}" for split in _SPLITS)


def _consistent(task: Task) -> str:
    batches = (_examples(task, task.max_length), *_members(task))
    label_of: dict[tuple[int, ...], tuple[int, ...]] = {}
    n_shared = n_differing = 0
    for batch in batches:
        for position in range(1, batch.n_positions):
            hashes_B = sequence_hash(batch.tokens_BT[:, : position + 1]).tolist()
            columns = [batch.targets_BT[:, position]]
            columns += [batch.variables[name][:, position] for name in task.variables]
            for key, label in zip(hashes_B, zip(*map(np.ndarray.tolist, columns), strict=True),
                                  strict=True):  # fmt: skip
                n_shared += (position, key) in label_of
                known = label_of.setdefault((position, key), label)
                n_differing += known != label
                allowed = known == label or task.ambiguous
                need(allowed, f"one prefix of {position} symbols has two sets of labels")
    return f"{n_shared} prefixes met twice, {n_differing} of them with other labels"


def _balance(task: Task) -> str:
    targets_BT = _examples(task, task.max_length).targets_BT
    counts = np.bincount(targets_BT[targets_BT != UNSCORED], minlength=len(task.symbols))
    missing = [task.symbols[answer] for answer in task.answers if counts[answer] == 0]
    too_few = counts.sum() < FEW_PER_ANSWER * len(task.answers)
    rare = isinstance(task, TextTask)  # most tokens of a text are
    need(too_few or rare or not missing, f"answers never occur: {', '.join(missing)}")
    majority = counts.max() / counts.sum()
    need(
        majority <= GREATEST_MAJORITY,
        f"one answer is right {majority:.3f} of the time, so the task asks for nothing",
    )
    return f"majority {majority:.3f}, chance {task.chance:.3f}"


def _floors(task: Task) -> str:
    floors = task_floors(task, 0, N_FLOORS)
    targets = {"answer": floors.answer, **floors.variables}
    for target, of_target in targets.items():
        for name, value in of_target.accuracy.items():
            need(0.0 <= value <= 1.0, f"{name} of {target} is {value}")
    return ", ".join(f"{target} {of_target.best:.3f}" for target, of_target in targets.items())


def _longer(task: Task) -> str:
    if not task.longer:
        raise NotApplicableError("the task declares no longer tests")
    for factor, length in task.test_lengths.items():
        batch = draw(task, stream(0, "check", factor), 32, length=length, split="test")
        need(batch.n_positions == length + 1, f"{factor} has {batch.n_positions} positions")
    return ", ".join(f"{factor} = {length}" for factor, length in task.test_lengths.items())


def _speed(task: Task) -> str:
    started = time.perf_counter()
    _examples(task, task.max_length, n=4096)
    return f"{4096 / (time.perf_counter() - started):,.0f} examples per second"


_CHECKS: dict[str, Callable[[Task], str]] = {
    "symbols and answers": _symbols,
    "parameters, version and reference": _parameters,
    "deterministic given the stream": _deterministic,
    "shapes and types at every length": _shapes,
    "BOS first and only there": _bos,
    "targets are answers or unscored": _targets,
    "variables in range, undefined at BOS": _variables,
    "readout is scored": _readout,
    "splits share no sequence": _disjoint,
    "pairs": check_pairs,
    "labels follow from the tokens": _consistent,
    "answers are balanced": _balance,
    "floors": _floors,
    "longer tests": _longer,
    "generation speed": _speed,
}
