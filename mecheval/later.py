"""Parameters that came later than what has them, and leave older identities as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def deciding(values: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that are part of an identity.

    One that came later is left out where it leaves all as it was before it was there, so that
    whatever was made then keeps its key.

    Args:
        values: All parameters by name.
        later: Those that came later, at the value that leaves all as it was.
    """
    return {name: v for name, v in values.items() if name not in later or v != later[name]}
