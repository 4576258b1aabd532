"""What a word on the command line names: a task, a model, a metric, a suite, a report, a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.cli import options
from mecheval.errors import UsageError, did_you_mean
from mecheval.escape import quoted
from mecheval.paths import is_dir, is_file
from mecheval.text.quoting import HUB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.registry import Registry

NAMED = ("task", "model", "metric", "suite")
FILES = ("report", "folder")
KINDS = (*NAMED, *FILES)


def kinds_of(text: str, registry: Registry) -> list[str]:
    """Return all that a word names; files and folders come last.

    Args:
        text: A name, with arguments if wanted, or a path.
        registry: Knows the names.
    """
    name = _bare(text)
    if name.startswith(HUB):
        return ["model"]
    path = options.path(text)
    found = [kind for kind, names in _names(registry).items() if name in names]
    if is_dir(path):
        return [*found, "folder"]
    if is_file(path):
        return [*found, "suite" if path.suffix == ".toml" else "report"]
    return found


def kind_of(text: str, registry: Registry, *, command: str) -> str:
    """Return the one thing that a word names.

    Raises:
        UsageError: It names nothing, or several things.
    """
    found = kinds_of(text, registry)
    _check_read(text, found, registry)
    if len(found) == 1:
        return found[0]
    if found:
        ways = " or ".join(f"`{command} {kind} {text}`" for kind in found)
        raise UsageError(f"{quoted(text)} is a {' and a '.join(found)}. Write {ways}.")
    raise UsageError(
        f"{quoted(text)} is no task, model, metric or suite, and no file or folder."
        f"{advice_for(text, registry)} `mecheval ls tasks`, `ls models`, `ls metrics` and "
        "`ls suites` list what there is."
    )


def advice_for(text: str, registry: Registry) -> str:
    """Return a sentence about what a word that names nothing was probably to name, or nothing."""
    name = _bare(text)
    hint = registry.hint("model", name)
    known = {each for names in _names(registry).values() for each in names}
    return f" {hint}" if hint else did_you_mean(name, known)


def _check_read(text: str, kinds: Sequence[str], registry: Registry) -> None:
    """Refuse the name of a file that cannot be read, which stands for any kind.

    Raises:
        UsageError: It is one.
    """
    from mecheval.registry import KINDS

    for kind in KINDS:
        if kind in kinds and not text.startswith(HUB):
            registry.get(kind, _bare(text))


def advice(text: str) -> str:
    """Return a sentence about what a word names that is no path, or nothing."""
    from mecheval.registry import Registry

    found = kinds_of(text, Registry())
    return f" {quoted(text)} is a {found[0]}: see `mecheval show {text}`." if found else ""


def _bare(text: str) -> str:
    """Return a name without arguments and revision; what cannot be parsed, as it is."""
    from mecheval.spec import parse_spec

    try:
        return parse_spec(text).name
    except UsageError:
        return text.partition("[")[0]


def _names(registry: Registry) -> dict[str, set[str]]:
    """Return all registered names by kind."""
    from mecheval.harness.suites import suite_names
    from mecheval.registry import KINDS

    found = {kind: {entry.name for entry in registry.entries(kind)} for kind in KINDS}
    return {**found, "suite": set(suite_names())}
