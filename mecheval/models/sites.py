"""Where activations live, named the same in every architecture; no torch needed to read this.

A site is (layer, component, position). Layers count from 0; ``block_in`` of layer 0 is the
embedding, ``block_out`` of the last layer goes into the final norm.
"""

from __future__ import annotations

from typing import NamedTuple

COMPONENTS = {
    "block_in": "residual stream before the block",
    "mixer_in": "input of the sequence mixer, after its norm",
    "conv_out": "output of the mixer's short convolution, before its activation; in RWKV-7, which "
    "has a token shift in its place, the mixtures of that, side by side",
    "write": "what one position writes into the mixer's memory, all else as it was",
    "state": "the mixer's long-range memory after a position",
    "cache": "the same with the last inputs of its short convolution: all that later positions see",
    "q": "queries of all heads, before rotary positions",
    "k": "keys of all heads, before rotary positions",
    "v": "values of all heads",
    "z": "what the heads read, side by side, before the output projection",
    "mixer_out": "output of the sequence mixer, before it is added to the stream",
    "mlp_out": "output of the feed-forward part, before it is added to the stream",
    "block_out": "residual stream after the block",
}
"""Every component with what it holds; a model has those that exist in it."""

MEMORY = ("write", "state", "cache")
"""Components that are no tensor of the forward pass: they exist in a model that is taken apart."""


class Site(NamedTuple):
    """One layer and component; a position is added where it is used."""

    layer: int
    component: str

    def __str__(self) -> str:
        """Return the name as reports write it: ``L3.mixer_out``."""
        return f"L{self.layer}.{self.component}"


def stream_sites(n_layers: int) -> list[Site]:
    """Return the sites of the residual stream: before every block, and behind the last one."""
    before = [Site(layer, "block_in") for layer in range(n_layers)]
    return [*before, Site(n_layers - 1, "block_out")]


class SiteInfo(NamedTuple):
    """Where a site lives in the real module tree."""

    site: Site
    path: str
    side: str
    shape: str
