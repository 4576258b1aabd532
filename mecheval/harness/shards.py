"""Shards: one part of the cells for each of several runs that know nothing of each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.harness.packs import dealt, packed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.harness.pair_plan import PairCell
    from mecheval.harness.request import Cell

AUTO = "auto"
_FORM = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
_ARRAY = "SLURM_ARRAY_TASK_"


@dataclass(frozen=True)
class Shard:
    """A part of a run: number ``index`` of ``count``, from 0 on.

    All parts together are the whole, and no cell is in two of them.
    """

    index: int
    count: int

    def __str__(self) -> str:
        """Write it as it is given."""
        return f"{self.index}/{self.count}"

    def of(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return the cells of this part, in their order."""
        return packed(cells, self.count)[self.index]

    def of_pairs(self, pairs: Sequence[PairCell]) -> list[PairCell]:
        """Return the pairs of this part; those of the same two models stay together if they can."""
        parts = dealt([[pair] for pair in pairs], self.count, cost=lambda _: 1.0, place=_place)
        keys = {pair.key for pair in parts[self.index]}
        return [pair for pair in pairs if pair.key in keys]


def read_shard(text: str, environment: Mapping[str, str]) -> Shard:
    """Read ``I/N``, or ``auto``: the task of the SLURM job array that the process is of.

    Raises:
        UsageError: It is neither, or there is no such part.
    """
    if text == AUTO:
        return _of_array(environment)
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(
            f"Malformed shard {quoted(text)}. Write it like 0/4, the first of four parts, or give "
            f"{AUTO} in a SLURM job array."
        )
    index, count = int(match[1]), int(match[2])
    if index >= count:
        raise UsageError(
            f"There is no shard {index}/{count}: the parts are counted from 0/{count or 1}. In a "
            f"SLURM job array, whatever its numbers, give {AUTO}."
        )
    return Shard(index, count)


def _of_array(environment: Mapping[str, str]) -> Shard:
    found = {name: environment.get(_ARRAY + name, "") for name in ("ID", "MIN", "STEP", "COUNT")}
    found = {"MIN": "0", "STEP": "1"} | {name: value for name, value in found.items() if value}
    if not {"ID", "COUNT"} <= found.keys() or not all(value.isdigit() for value in found.values()):
        raise UsageError(
            f"--shard {AUTO} reads {_ARRAY}ID and {_ARRAY}COUNT, which are not there: this is no "
            "task of a SLURM job array. Give a part such as 0/4."
        )
    index = (int(found["ID"]) - int(found["MIN"])) // max(1, int(found["STEP"]))
    return read_shard(f"{index}/{found['COUNT']}", {})


def _place(pair: PairCell) -> tuple[str, ...]:
    return pair.a.task_title, pair.a.model_title, pair.b.model_title, pair.key
