"""What is known of the planted models: data beside them, in ``known.toml``.

A new metric or a new model is a few lines there.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mecheval.errors import ContractError
from mecheval.models.planted.planted import FOLDER
from mecheval.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


CLOSE = 1e-3
"""How near to the known value a measured one must be, where nothing else is said."""

SAID = "verdict: "
"""What a verdict begins with where a number would stand, or why there is none."""


@dataclass(frozen=True)
class Known:
    """One number of a result, and what it must be.

    Attributes:
        at: Which number: a result's id, alone for its value; with the name of a scalar or
            reference behind it; or with a cell of its profile, as ``layer=1 role=readout``, where
            ``series=NAME``, ``mark=NAME`` and ``profile=NAME`` choose another array; or with
            ``verdict`` behind it, which is no number.
        equal: The known value.
        within: How far the measured one may be from it.
        least: Lower bound, where only one is known.
        most: Upper bound.
        null: The beginning of the reason why there is no value.
        verdict: The verdict.
    """

    at: str
    equal: float | None = None
    within: float = CLOSE
    least: float | None = None
    most: float | None = None
    null: str | None = None
    verdict: str | None = None

    def __str__(self) -> str:
        """Return what is known, as the table says it."""
        if self.null is not None:
            return f"null: {self.null}"
        if self.verdict is not None:
            return SAID + self.verdict
        bounds = [("at least", self.least), ("at most", self.most)]
        parts = [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
        if self.equal is not None:
            margin = "" if self.within == CLOSE else f" +- {self.within:g}"
            parts.append(f"{self.equal:.4g}{margin}")
        return ", ".join(parts)

    def holds(self, measured: float | str | None) -> bool:
        """Say whether a number, a verdict, or the reason why there is none, is as known."""
        if self.verdict is not None:
            return measured == SAID + self.verdict
        if isinstance(measured, str) or measured is None:
            return self.null is not None and measured is not None and measured.startswith(self.null)
        if self.null is not None:
            return False
        return (
            (self.equal is None or abs(measured - self.equal) <= self.within)
            and (self.least is None or measured >= self.least)
            and (self.most is None or measured <= self.most)
        )


@dataclass(frozen=True)
class Case:
    """A planted model on a task, or two of them, with all that is known.

    Attributes:
        models: Names with arguments: one, or the two of a pair.
        task: Name with arguments.
        known: What the metrics must return.
        params: Parameters of the metrics to measure on each model, by metric.
        pairs: Parameters of the metrics of pairs, by metric; none for one model.
    """

    models: tuple[str, ...]
    task: str
    known: tuple[Known, ...]
    params: Mapping[str, Mapping[str, Any]]
    pairs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Return what the table calls it."""
        return " and ".join(self.models)


def folder() -> Path:
    """Return the folder of the planted models."""
    import mecheval.builtin

    folders = (Path(root) / "model_registry" / FOLDER for root in mecheval.builtin.__path__)
    return next(path for path in folders if path.is_dir())


def known_cases(path: Path | None = None) -> list[Case]:
    """Read what is known.

    Args:
        path: The file; that of the package by default.

    Raises:
        ContractError: The file does not have the form that it should.
    """
    path = path or folder() / "known.toml"
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        trained = content.get("trained", ())
        single = [_case(entry, content["metrics"], trained) for entry in content["case"]]
        return [*single, *(_pair(entry, content["metrics"]) for entry in content.get("pair", ()))]
    except (KeyError, TypeError) as error:
        raise ContractError(f"{path} is not a file of known values ({error}).") from error


def single_cases() -> list[Case]:
    """Return the known cases of one model each."""
    return [case for case in known_cases() if not case.pairs]


def _case(entry: Mapping[str, Any], metrics: Mapping[str, Any], trained: Sequence[str]) -> Case:
    """Read a case of one model: all metrics, of those that are trained the ones it names."""
    own, known = entry.get("metrics", {}), _known(entry)
    params = {
        name: {**metrics.get(name, {}), **own.get(name, {})}
        for name in metric_names("model")
        if name not in trained or any(each.at.startswith(name) for each in known)
    }
    return Case((entry["model"],), entry["task"], known, params)


def _pair(entry: Mapping[str, Any], metrics: Mapping[str, Any]) -> Case:
    first, second = entry["models"]
    params = {name: metrics.get(name, {}) for name in entry["measured"]}
    pairs = {name: metrics.get(name, {}) for name in metric_names("pair")}
    return Case((first, second), entry["task"], _known(entry), params, pairs)


def _known(entry: Mapping[str, Any]) -> tuple[Known, ...]:
    return tuple(
        Known(**{("equal" if key == "is" else key): value for key, value in line.items()})
        for line in entry["known"]
    )


def metric_names(scope: str) -> list[str]:
    """Return the built-in metrics of single models, or of pairs."""
    return [
        entry.name
        for entry in Registry().entries("metric")
        if entry.distribution is None and entry.scope == scope
    ]


def quick_parameters(name: str) -> Mapping[str, Any]:
    """Return parameters under which a metric of pairs takes seconds and its known values hold."""
    of_pairs = (case.pairs for case in known_cases())
    return next((params[name] for params in of_pairs if name in params), {})
