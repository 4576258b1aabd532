"""What the arguments of a call from Python may be: of the wrong kind, they get one sentence."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mecheval.errors import UsageError, unknown
from mecheval.escape import quoted
from mecheval.paths import expanded
from mecheval.spec import GREATEST_WHOLE
from mecheval.text.allowed import refused

if TYPE_CHECKING:
    from collections.abc import Callable


def _path(given: Any) -> Any:
    return expanded(Path(given)) if isinstance(given, str) else given


def _whole(given: Any) -> Any:
    """Return numbers of other libraries as Python's; True and False are none."""
    is_number = not isinstance(given, bool) and hasattr(given, "__index__")
    return operator.index(given) if is_number else given


def _each(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what converts the items of a list, a range or an array; other things stay."""

    def converted(given: Any) -> Any:
        several = isinstance(given, Sequence) or hasattr(given, "tolist")
        if isinstance(given, str) or not several:
            return given
        return tuple(map(convert, given))

    return converted


def _paths(given: Any) -> Any:
    return (_path(given),) if isinstance(given, str | Path) else _each(_path)(given)


def _table(given: Any) -> Any:
    return dict(given) if isinstance(given, Mapping) else given


Where = Annotated[Path, BeforeValidator(_path)]
Places = Annotated[tuple[Path, ...], BeforeValidator(_paths)]
Whole = Annotated[int, BeforeValidator(_whole)]
Count = Annotated[Whole, Field(ge=1, le=GREATEST_WHOLE)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**64)], ...], BeforeValidator(_each(_whole))]
Table = Annotated[dict[str, Any], BeforeValidator(_table)]


class Arguments(BaseModel):
    """The arguments of :func:`mecheval.evaluate` but for models, tasks and metrics.

    They are documented there and in :class:`mecheval.harness.request.Settings`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    seeds: Seeds | None = None
    output: Where | None = None
    size: str | None = None
    recipe: Table | None = None
    sweep: Table | None = None
    snapshots: Whole | None = None
    limit: Whole | None = None
    dtype: str | None = None
    device: str = "auto"
    jobs: Count | None = None
    progress: bool = False
    include_path: Places = ()
    trust_remote_code: bool = False
    cache: Where | None = None
    threads: Whole = 1
    batch_size: Whole = 128
    overwrite: bool = False
    command: tuple[str, ...] = ()
    ensemble: Whole | None = None
    log_with: str | None = None


def checked_losses(given: Any) -> tuple[float, ...]:
    """Return the losses of ``at_loss``: one number, several, or None for none.

    Raises:
        UsageError: It is something else.
    """
    listed: Any = [] if given is None else given
    if isinstance(listed, int | float) or not hasattr(listed, "__iter__"):
        listed = [listed]
    try:
        if isinstance(given, str | bool):
            raise TypeError
        return tuple(dict.fromkeys(map(float, listed)))
    except (TypeError, ValueError):
        raise UsageError(
            f"mecheval.similarity: at_loss is {quoted(given)}; it should be a number, or a list of "
            "numbers. See `help(mecheval.similarity)`."
        ) from None


def checked_arguments(function: str, given: Mapping[str, Any]) -> Arguments:
    """Check arguments, and bring paths and numbers to Python's own types.

    Args:
        function: Who was called, for messages.
        given: The arguments by name.

    Raises:
        UsageError: There is no argument of that name, or its value is of the wrong kind.
    """
    known = Arguments.model_fields
    for name in given:
        if name not in known:
            raise unknown(f"argument of {function}", name, known, see=f"`help({function})`")
    try:
        return Arguments.model_validate(given)
    except ValidationError as error:
        found = refused(error)
        name, value = str(found.where[0]), found.problem["input"]
        place = "".join(f"[{part}]" for part in found.where[1:2] if isinstance(part, int))
        said = "it should be a path" if "Path" in found.said else found.said
        said = said.replace("a table", "a dictionary")
        raise UsageError(
            f"{function}: {name}{place} is {quoted(value)}; {said}. See `help({function})`."
        ) from None
