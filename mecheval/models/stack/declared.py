"""What is common to registered models that are a frozen dataclass of arguments.

Architectures that are trained, and networks with weights set by hand.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from mecheval.errors import ContractError, UsageError
from mecheval.models.contract import ModelCard, ModelSource
from mecheval.registry import declare
from mecheval.spec import configured

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Declared(ModelSource):
    """A model that is declared by a class, whose fields are its arguments."""

    @property
    def args(self) -> dict[str, Any]:
        """Return all arguments by name; the size is a label and no argument."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "size"}

    @classmethod
    def defaults(cls, args: Mapping[str, Any], *, name: str) -> Mapping[str, Any]:
        """Return what stands for arguments that are not given, where it is not the class's own."""
        return {}

    @classmethod
    def configure(cls, args: Mapping[str, Any], *, name: str | None = None) -> Self:
        """Return the model with arguments from the command line.

        Args:
            args: Its arguments; ``size`` picks defaults for the others, where there are sizes.
            name: The registered name where it differs from the declared one: ``local/mine``.

        Raises:
            UsageError: An argument or size is unknown, or a value is of the wrong type or out of
                range.
        """
        name = name or cls.card.name
        values = {**cls.defaults(args, name=name), **args}
        chosen = configured(cls, values, what=name, see=f"`mecheval show model {name}`")
        if name != cls.card.name:
            object.__setattr__(chosen, "card", dataclasses.replace(cls.card, name=name))
        return chosen

    def check(self, holds: bool, needs: str) -> None:
        """Check a condition on the arguments.

        Raises:
            UsageError: It does not hold; the message says what the model needs.
        """
        if not holds:
            given = ", ".join(f"{name}={value}" for name, value in self.args.items())
            raise UsageError(f"Model '{self.card.name}' needs {needs}; it was given {given}.")


def register(cls: type[Declared], name: str, *, folder: str = "", **card: Any) -> None:
    """Register a class under a name.

    Args:
        cls: The class; the first line of its docstring is the model's summary.
        name: The name, as it stands in the source.
        folder: What the model's name begins with where it is more than that.
        **card: The rest of its card.

    Raises:
        ContractError: The class has no docstring.
    """
    summary = (cls.__doc__ or "").strip().partition("\n")[0]
    if not summary:
        raise ContractError(f"Model '{name}' has no docstring. Say in one line what it is.")
    cls.card = ModelCard(name=folder + name, summary=summary, **card)
    declare("model", name, cls.__module__, cls)
