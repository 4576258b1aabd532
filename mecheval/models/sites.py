"""Where activations live, named the same in every architecture; no torch needed to read this.

A site is (layer, component, position). Layers count from 0; ``block_in`` of layer 0 is the
embedding, ``block_out`` of the last layer goes into the final norm.
"""

from __future__ import annotations

from typing import NamedTuple

COMPONENTS = {
    "block_in": "residual stream before the block",
    "mixer_in": "input of the sequence mixer, after its norm",
    "mixer_out": "output of the sequence mixer, before it is added to the stream",
    "mlp_out": "output of the feed-forward part, before it is added to the stream",
    "block_out": "residual stream after the block",
}
"""Every component with what it holds; a model has those that exist in it."""


class Site(NamedTuple):
    """One layer and component; a position is added where it is used."""

    layer: int
    component: str

    def __str__(self) -> str:
        """Return the name as reports write it: ``L3.mixer_out``."""
        return f"L{self.layer}.{self.component}"


class SiteInfo(NamedTuple):
    """Where a site lives in the real module tree."""

    site: Site
    path: str
    side: str
    width: int
