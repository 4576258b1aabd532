"""Suites: grids of models, tasks and recipes that are run together under one name.

A suite is a TOML file: a ``summary``, a ``version``, and ``[[grid]]`` tables with ``models`` and
``tasks``, and perhaps ``seeds``, ``size``, ``metrics``, ``sweep``, ``snapshots`` and a ``recipe``;
what all grids share may stand once, above the first. It may hold ``[[claim]]`` tables, which
:mod:`mecheval.leaderboard.claims` reads, and take those of another suite by ``[[claims_from]]``
tables. What each may hold stands in :mod:`mecheval.harness.suite_schema`. The suites of the package
lie in ``mecheval/suites``; any other file can be given by its path.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError, said_of, unknown
from mecheval.harness.borrowed_claims import borrowed
from mecheval.harness.claim_schema import names_in
from mecheval.harness.request import Request
from mecheval.harness.suite_names import FOLDER, other_version, versioned
from mecheval.harness.suite_names import suite_names as suite_names
from mecheval.harness.suite_schema import merged, validated
from mecheval.harness.users_code import said_in_a_sentence
from mecheval.paths import expanded, is_file
from mecheval.registry import Registry
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.harness.request import Settings

_DECIDING = {
    "metrics": None, "size": None, "recipe": {}, "sweep": None, "snapshots": None, "limit": None,
    "dtype": "float32",
}  # fmt: skip
"""Fields of a request that may be given in place of the suite's, and may be what is wrong."""

_MOST_BYTES = 10_000_000


@dataclass(frozen=True)
class Suite:
    """A named list of grids.

    Attributes:
        name: The name of its file.
        summary: What it is for, in one line.
        grids: Fields of a request, per grid; what the file says for all is in each.
        claims: What others claim about its cells, also where another suite says it.
        path: Its file.
        version: Raised when its cells are others than before.
        superseded_by: The suite that is to be used in its place; empty where there is none.
    """

    name: str
    summary: str
    grids: tuple[Mapping[str, Any], ...]
    claims: tuple[Mapping[str, Any], ...]
    path: Path
    version: int = 1
    superseded_by: str = ""

    @property
    def title(self) -> str:
        """Return its name with its version: ``demo@1``."""
        return f"{self.name}@{self.version}"

    @property
    def warning(self) -> str:
        """Return a sentence that names its successor; empty where there is none."""
        if not self.superseded_by:
            return ""
        return f"Suite {self.title} is superseded by {self.superseded_by}. Use that one."

    @property
    def n_cells(self) -> int:
        """Return the number of cells, with the seeds that the suite itself names."""
        requests = self.requests()
        return sum(len(r.models) * len(r.tasks) * len(r.chosen_seeds) for r in requests)

    def requests(self, **common: Any) -> list[Request]:
        """Return one request per grid.

        Args:
            common: Fields of :class:`Request` for all grids, which take precedence over the
                suite's own; a ``recipe`` is merged into that of every grid, and None is no value.
        """
        given = {key: value for key, value in common.items() if value is not None}
        others = [key for key, usual in _DECIDING.items() if given.get(key, usual) != usual]
        besides = f" with other {' and '.join(others)}" if others else ""
        return [
            _request(grid, {**given, "origin": f"{self.path}, grid {number}{besides}"})
            for number, grid in enumerate(self.grids, 1)
        ]

    def check_claims(self, settings: Settings) -> None:
        """Check that the models and tasks of the claims exist, of whatever version.

        Args:
            settings: Says where those of one's own are.

        Raises:
            UsageError: One does not, or an argument of it; names the claim.
        """
        from mecheval.harness.building import build_source, build_task

        registry, seen = Registry(settings.include_paths), set[str]()
        for number, claim in enumerate(self.claims, 1):
            if claim.get("untestable"):
                continue
            called = claim.get("id") or number
            with said_of(f"{self.path}, claim {called}"), said_in_a_sentence():
                for task in sorted(names_in(claim, "task") - seen):
                    build_task(replace(parse_spec(task), revision=None), registry)
                for model in sorted(names_in(claim, "model") - seen):
                    build_source(parse_spec(model), registry, settings)
            seen |= names_in(claim, "task") | names_in(claim, "model")


def load_suite(name: str) -> Suite:
    """Read a suite.

    Args:
        name: One of :func:`suite_names`, perhaps with its version (``demo@1``), or the path of a
            file that ends in ``.toml``.

    Raises:
        UsageError: There is no such suite, or its file is not of the form above, or it has another
            version.
    """
    stem, version = versioned(name)
    path, content = _content(stem)
    if version is not None and version != content.get("version", 1):
        raise other_version(stem, version, content.get("version", 1))
    claims = [*content.get("claim", ())]
    for number, table in enumerate(content.get("claims_from", ()), 1):
        with said_of(f"{path}, claims_from {number}"):
            claims += borrowed(table, _content(table["suite"], beside=path)[1].get("claim", ()))
    grids = tuple(content["grid"])
    given = {key: content[key] for key in ("version", "superseded_by") if key in content}
    return Suite(path.stem, content.get("summary", ""), grids, tuple(claims), path, **given)


def _content(name: str, beside: Path | None = None) -> tuple[Path, dict[str, Any]]:
    """Return a suite's file and what it holds, checked.

    Args:
        name: What it is called, as for :func:`load_suite`.
        beside: A file in whose folder a path begins.

    Raises:
        UsageError: As for :func:`load_suite`.
    """
    path = expanded(Path(name)) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    path = path if beside is None else beside.parent / path
    if not is_file(path):
        if name.endswith(".toml"):
            raise UsageError(f"There is no file {path}. Give the path of a suite, or its name.")
        raise unknown("suite", name, suite_names(), see="`mecheval ls suites`")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES / 1e6:.0f} MB")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply. Correct it there.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}). Correct it there.") from error
    except ValueError as error:  # no TOML, no UTF-8, a number of very many digits
        raise UsageError(f"{path} is not a TOML file ({error}). Correct it there.") from error
    if not isinstance(content.get("grid"), list) or not content["grid"]:
        raise UsageError(f"{path} has no [[grid]]. Write one with models and tasks.")
    return path, validated(content, path)


def _request(grid: Mapping[str, Any], common: Mapping[str, Any]) -> Request:
    fields = merged(grid, common)
    for key in ("models", "tasks", "metrics"):
        if key in grid and key not in common:
            fields[key] = tuple(parse_spec(name) for name in grid[key])
    if "seeds" in fields:
        fields["seeds"] = tuple(fields["seeds"])
    return Request(**fields)
