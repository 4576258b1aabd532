"""Models of our own for tests: how to build them, take one mixer out, and check whole models."""

from __future__ import annotations

import inspect

import numpy as np
import torch

import mecheval
from mecheval.checks import all_passed
from mecheval.interventions import recovery_grid
from mecheval.models.checks import check_model
from mecheval.models.stack.architecture import Architecture
from mecheval.registry import Registry

REGISTRY = Registry()
OWN = [
    entry.name
    for entry in REGISTRY.entries("model")
    if "/" not in entry.name
    and inspect.isclass(cls := REGISTRY.load("model", entry.name))
    and issubclass(cls, Architecture)
]
"""The names of our architectures."""


def build(text: str, vocab_size: int = 6) -> mecheval.SequenceModel:
    return mecheval.load_model(text, vocab_size=vocab_size)


def mixer_of(text: str, layer: int = 0):
    """Return a mixer in float64, and an input of more positions than a chunk has."""
    mixer = build(text).double().blocks[layer].mixer
    generator = torch.Generator().manual_seed(0)
    return mixer, torch.randn(2, 40, 32, generator=generator, dtype=torch.float64)


def n_parameters(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def agree(found, expected) -> bool:
    return torch.allclose(found, expected, rtol=1e-9, atol=1e-10)


def keeps_the_contract(built):
    checks = check_model(built)
    assert all_passed(checks), "\n".join(map(str, checks))
    assert all(check.passed for check in checks)


def tails_equal_hooks(built) -> None:
    """Compare the engines on every component; one that a layer lacks has no value in either."""
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 7, (4, 9))
    corrupted = clean.copy()
    corrupted[:, 3] = (clean[:, 3] + 1) % 7
    components = tuple(dict.fromkeys(site.component for site in built.taps()))
    grids = [
        recovery_grid(
            built, clean_BT=clean, corrupted_BT=corrupted, answers_B=np.array([0, 1, 2, 0]),
            foils_B=np.array([3, 4, 5, 6]), readout_B=np.array([8, 7, 8, 6]),
            components=components, engine=engine,
        )
        for engine in ("tails", "hooks")
    ]  # fmt: skip
    assert grids[0].execution.engine == "tails"
    assert np.isfinite(grids[1].patched).any()
    np.testing.assert_allclose(grids[0].patched, grids[1].patched, rtol=1e-9, atol=1e-11)
