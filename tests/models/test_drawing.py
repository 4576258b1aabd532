"""The same seed gives the same weights on every processor, with any threads and switches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from drawn_weights import models
from torch import nn

from mecheval.models.drawing import drawing
from mecheval.training.checkpoints import state_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

CAPABILITIES = ("default", "avx2", "avx512")
"""Vector units, each with what comes before it; processors of other makers have the first."""

FEW = (
    "transformer", "mamba[shell=paper]", "rwkv7", "lstm", "hyena[filter_std=0.02]",
    "planted/mamba2-recall",
)  # fmt: skip
"""One of every way of drawing: by a scale, a matrix that turns, steps and decays, a filter."""

CHILD = Path(__file__).parent / "drawn_weights.py"


def capabilities() -> tuple[str, ...]:
    """Return those that this machine has, found where nothing forbids it one."""
    program = "import torch; print(torch.backends.cpu.get_cpu_capability().lower())"
    best = run("-c", program, settings={"ATEN_CPU_CAPABILITY": ""}).strip()
    n = CAPABILITIES.index(best) + 1 if best in CAPABILITIES else 1
    return CAPABILITIES[:n]


def run(*arguments: str, settings: dict[str, str]) -> str:
    inherited = {k: v for k, v in os.environ.items() if k != "NPY_DISABLE_CPU_FEATURES"}
    environment = {k: v for k, v in {**inherited, **settings}.items() if v}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def drawn(capability: str, names: Sequence[str]) -> dict[str, str]:
    """Return the hashes of models, drawn by a process of its own.

    With the plainest unit of torch goes the plainest one of NumPy, with others more threads, and
    with the last one switches that let torch round as it likes.
    """
    place = CAPABILITIES.index(capability)
    settings = {"ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": str(1 + place)}
    if not place:
        found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])  # type: ignore[index]
        settings["NPY_DISABLE_CPU_FEATURES"] = " ".join(found)
    folder = os.pathsep.join([str(CHILD.parents[1]), str(CHILD.parents[2])])
    arguments = (str(CHILD), *(["--switches"] if place == 2 else []))
    made = json.loads(run(*arguments, *names, settings={**settings, "PYTHONPATH": folder}))
    assert made["capability"] == capability
    return made["hashes"]


@pytest.mark.parametrize("names", [FEW, pytest.param([*models()], marks=pytest.mark.slow)])
def test_same_weights_on_every_vector_unit(names: Sequence[str]) -> None:
    """Of all our architectures, planted networks, and shapes of transformers."""
    plain = drawn("default", names)
    assert set(plain) == set(names)
    assert len(set(plain.values())) == len(plain)
    for capability in capabilities()[1:]:
        assert drawn(capability, names) == plain, capability
    for name in {*FEW[:3], "gpt2"} & {*names}:  # and in this process
        assert state_sha256(models()[name]()) == plain[name]


def numbers() -> dict[str, torch.Tensor]:
    """Draw in every way that is ours."""
    matrix_NM = torch.empty(20, 12)
    return {
        "normal_": torch.empty(3, 4).normal_(1.0, 0.1),
        "uniform_": torch.empty(3, 4).uniform_(-1, 2),
        "rand": torch.rand(3, 4, dtype=torch.float64),
        "randn": torch.randn(3, 4),
        "rand_like": torch.rand_like(matrix_NM),
        "randn_like": torch.randn_like(matrix_NM),
        "normal": torch.normal(torch.arange(3.0), torch.ones(3)),
        "normal of a size": torch.normal(0.0, 1.0, (5,)),
        "half precision": torch.randn(9, dtype=torch.bfloat16),
        "Linear": nn.Linear(4, 5).weight.detach(),
        "xavier_normal_": nn.init.xavier_normal_(matrix_NM.clone()),
        "orthogonal_": nn.init.orthogonal_(matrix_NM.clone()),
    }


def test_all_draws_are_ours_and_follow_the_seed() -> None:
    """Whatever torch's own generator does meanwhile; and it is left as it was."""
    before = torch.get_rng_state()
    with drawing(0, "init"):
        first = numbers()
    with drawing(0, "init"):
        torch.default_generator.manual_seed(5)
        again = numbers()
    with drawing(1, "init"):
        other = numbers()
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name]), name
        assert not torch.equal(tensor, other[name]), name


def test_draws_that_are_not_ours_repeat_too() -> None:
    made = []
    for _ in range(2):
        with drawing(0, "init"):
            made.append((torch.randperm(9), torch.randint(9, (9,)), torch.empty(9).bernoulli_()))
    assert all(map(torch.equal, *made))
    generator = torch.Generator().manual_seed(0)
    with drawing(0, "init"):
        given = torch.randn(4, generator=generator)
    assert torch.equal(given, torch.randn(4, generator=torch.Generator().manual_seed(0)))


def test_what_is_drawn_is_what_was_asked_for() -> None:
    with drawing(0, "init"):
        weight = torch.empty(300, 400).t().normal_(2.0, 0.5)
        part = torch.zeros(4, 4)
        part[1:3].uniform_(5, 6)
        orthogonal_NM = nn.init.orthogonal_(torch.empty(12, 30, dtype=torch.float64))
        steps = torch.linspace(-1, 1, 7)
        meta = torch.empty(3, device="meta").normal_()
    assert (weight.mean().item(), weight.std().item()) == pytest.approx((2, 0.5), abs=0.01)
    assert (part != 0).sum(1).tolist() == [0, 4, 4, 0]
    assert part[1:3].min() >= 5
    assert part.max() < 6
    product = orthogonal_NM @ orthogonal_NM.T
    assert torch.allclose(product, torch.eye(12, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(steps, torch.tensor([-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 1]))
    assert meta.is_meta


@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "erfinv"])
def test_functions_are_rounded_from_float64(name: str) -> None:
    x_X = torch.linspace(0.01, 0.99, 1000)
    wanted_X = getattr(torch, name)(x_X.double()).float()
    with drawing(0, "init"):
        found_X, changed_X = getattr(torch, name)(x_X), x_X.clone()
        assert getattr(changed_X, f"{name}_")() is changed_X
    assert torch.equal(found_X, wanted_X)
    assert torch.equal(changed_X, wanted_X)


def test_a_single_number_keeps_its_shape() -> None:
    with drawing(0, "init"):
        assert torch.expm1(torch.tensor(0.8)).shape == torch.randn(()).shape == ()
