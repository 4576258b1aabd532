"""What users see when something is wrong: one sentence each, and the exit code it maps to.

Every message says what is wrong, what is allowed, and what to do next.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType


class MechevalError(Exception):
    """Base of all errors that a user can act on; printed without a traceback."""

    exit_code: ClassVar[int] = 1


class UsageError(MechevalError):
    """The command, a name or an argument is wrong. Nothing has been computed."""

    exit_code = 2


class ContractError(UsageError):
    """A registered task or model does not keep the contract of its kind."""


class StorageError(MechevalError):
    """A result or checkpoint could not be read or written."""

    exit_code = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, or an empty string."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""


def unknown(kind: str, name: str, known: Iterable[str], *, see: str) -> UsageError:
    """Build the error for a name that is not registered.

    Args:
        kind: What the name should have been: "task", "model", "argument of mamba".
        name: The name that was given.
        known: All names that would have been accepted.
        see: The command or place that lists them.
    """
    return UsageError(f"Unknown {kind} '{name}'.{did_you_mean(name, known)} See {see}.")


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional package where it is used.

    Raises:
        UsageError: The package is not installed; the message names the extra to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"This needs the package '{module}', which is not usable here ({error}). "
            f"Install it with: pip install 'mecheval[{extra}]'."
        ) from None
