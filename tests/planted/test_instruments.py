"""Instrument checks of the formal-language reference (section 8.4) that stand nowhere else.

A4 also stands in tests/metrics/test_planted_layers.py, A6 in tests/metrics/test_erasers.py, A7 in
tests/interventions/test_grid.py and tests/metrics/test_patching.py, A8 in known.toml (the cases
``parity-at-block`` and ``parity-spread``) and tests/metrics/test_layer_curves.py.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from measured import measured

import mecheval
from mecheval.harness.selftest import subject_of
from mecheval.interventions import trace
from mecheval.metrics import Subject
from mecheval.metrics.bottleneck.erased_runs import erased_runs
from mecheval.metrics.bottleneck.erasers import Eraser
from mecheval.models.contract import Encoding
from mecheval.models.sites import Site
from mecheval.tasks.floors import task_floors
from mecheval.tasks.order_free import ORDER_FREE

SIZES = {"n_train": 800, "n_validation": 400, "n_test": 1000, "n_controls": 2}


@cache
def untrained(model: str, task: str) -> Subject:
    """Return a network with drawn weights as the subject."""
    loaded = mecheval.load_task(task)
    built = mecheval.load_model(f"{model}[layers=2,width=32]", task=loaded)
    n_symbols = len(loaded.symbols)
    return Subject(
        model=built, task=loaded, encoding=Encoding(np.arange(n_symbols), n_symbols), seed=0,
        learned=None, limit=None, batch_size=256, untrained=lambda: built,
    )  # fmt: skip


@pytest.mark.parametrize("model", ["transformer", "lstm", "mamba"])
def test_a4_an_untrained_network_has_nothing_above_the_floor_on_s3(model: str) -> None:
    params = {**SIZES, "variables": ["element"]}
    (result,) = measured("readability", untrained(model, "s3"), **params)
    assert max(result.profile.value) <= 0.05


@pytest.mark.parametrize("model", ["transformer", "lstm", "mamba"])
def test_a4_an_untrained_network_seems_to_know_the_depth_before_the_floor(model: str) -> None:
    """This is the artefact that the floor is there for."""
    params = {**SIZES, "variables": ["depth"]}
    (result,) = measured("readability", untrained(model, "dyck"), **params)
    chance = 1 / 5
    assert result.scalars["accuracy"] > chance + 0.1
    assert result.scalars["floor_accuracy"] > chance + 0.1
    assert result.value < (result.scalars["accuracy"] - chance) / (1 - chance)


@pytest.mark.parametrize(
    ("model", "task"),
    [
        ("planted/lstm-parity", "parity"),
        ("planted/parity-spread[rotated=5]", "parity"),
        ("planted/transformer-count", "parity[longer=[]]"),
    ],
)
def test_a5_the_difference_of_unembeddings_must_kill_the_answer(model: str, task: str) -> None:
    subject = subject_of(model, task)
    runs = erased_runs(subject, 128, 128)
    site = Site(subject.model.n_layers - 1, "block_out")
    one, other = subject.task.answers
    head_CD = subject.model.head.weight.detach().numpy().astype(np.float64)
    direction_D = head_CD[one] - head_CD[other]
    axis_DK = (direction_D / np.linalg.norm(direction_D))[:, None]
    mean_D = stream_mean(subject, site)
    assert runs.clean.token.mean() == 1.0
    erased = runs.answers(site.layer + 1, Eraser(mean_D, axis_DK, axis_DK)).token.mean()
    assert erased == pytest.approx(subject.task.chance, abs=0.1)
    rng = np.random.default_rng(0)
    axes = [np.linalg.qr(rng.standard_normal((len(mean_D), 1)))[0] for _ in range(20)]
    drawn = [Eraser(mean_D, axis_DK, axis_DK) for axis_DK in axes]
    (right,) = runs.tried(site.layer + 1, [runs.on_some(drawn)])
    assert right.token.mean() >= 0.99


def stream_mean(subject: Subject, site: Site) -> np.ndarray:
    batch = subject.test(subject.length, 256)
    return (
        trace(subject.model, batch.tokens_BT, [site])[site]
        .reshape(-1, subject.model.d_model)
        .mean(0)
    )


def test_a6_class_means_are_gone_for_good_and_a_probe_direction_is_not() -> None:
    """Even where the code has a single dimension: the probe's direction is not quite that one."""
    subject = subject_of("planted/parity-at-block", "parity")
    sizes = {"n_train": 500, "n_validation": 250, "n_test": 250, "n_fit": 500, "n_erase": 32}
    found = measured(
        "bottleneck", subject, **sizes, n_per_null=16, erasers=["class_mean", "direction"]
    )
    by_eraser = {result.id.removeprefix("bottleneck/"): result for result in found}
    assert list(by_eraser) == ["parity", "parity/class_mean", "parity/direction"]
    assert by_eraser["parity"].scalars["layer"] == 2
    for name in ("parity", "parity/class_mean"):
        assert by_eraser[name].profile.series["information"][2] == 0
        assert by_eraser[name].profile.series["refit"][2] == pytest.approx(0.5, abs=0.06)
        assert by_eraser[name].profile.marks["removed_linearly"][2]
    direction = by_eraser["parity/direction"].profile
    assert direction.series["refit"][2] > 0.9
    assert not direction.marks["removed_linearly"][2]


def test_a9_z6_and_s3_differ_in_commuting_and_in_nothing_else() -> None:
    s3, z6 = (mecheval.load_task(name) for name in ("s3", "z6"))
    for one, other in zip(map(vars, (s3,)), map(vars, (z6,)), strict=True):
        assert one == other  # lengths and rate of no-ops
    assert (len(s3.symbols), s3.answers, s3.chance) == (len(z6.symbols), z6.answers, z6.chance)
    assert sorted(s3.variables.values()) == sorted(z6.variables.values())
    floors = [task_floors(task, 0, 20_000).answer.accuracy for task in (s3, z6)]
    assert set(floors[0]) - set(floors[1]) == {ORDER_FREE}
    for name, value in floors[1].items():
        assert value == pytest.approx(floors[0][name], abs=0.01), name
    for task, commutes in ((s3, False), (z6, True)):
        product = task.product  # type: ignore[attr-defined]
        assert np.array_equal(product, product.T) == commutes
        assert all(sorted(row) == list(range(6)) for row in product.tolist())


@pytest.mark.parametrize(("name", "share"), [("z6", 1.0), ("s3", 1 / 3)])
def test_a9_only_z6_can_be_solved_without_regard_to_order(name: str, share: float) -> None:
    """The product of the same symbols in another order: the same, or of the same sign alone."""
    task = mecheval.load_task(f"{name}[noop_rate=0.16667]")
    rng = np.random.default_rng(0)
    batch = task.sample(rng, 4000, 16)
    shuffled = task._batch(rng.permuted(batch.tokens_BT[:, 1:] - 1, axis=1))  # type: ignore[attr-defined]
    same = batch.targets_BT[:, -1] == shuffled.targets_BT[:, -1]
    assert same.mean() == pytest.approx(share, abs=0.03)
    half = "mod2" if name == "z6" else "sign"
    assert np.array_equal(batch.variables[half][:, -1], shuffled.variables[half][:, -1])


def test_a9_a_network_that_only_counts_solves_z6() -> None:
    task = mecheval.load_task("z6[longer=[]]")
    model = mecheval.load_model("planted/transformer-count", task=task)
    rng = np.random.default_rng(0)
    tokens_BT = task.sample(rng, 64, 16).tokens_BT
    shuffled_BT = np.concatenate([tokens_BT[:, :1], rng.permuted(tokens_BT[:, 1:], axis=1)], 1)
    with torch.inference_mode():
        one, other = (model(torch.as_tensor(t))[:, -1] for t in (tokens_BT, shuffled_BT))
    assert torch.allclose(one, other, atol=1e-2)


def test_a9_the_rotations_of_s3_are_z3_and_its_signs_z2() -> None:
    product = mecheval.load_task("s3").product  # type: ignore[attr-defined]
    index = np.arange(3)
    assert np.array_equal(product[:3, :3], np.add.outer(index, index) % 3)
    sign = np.arange(6) // 3
    assert np.array_equal(sign[product], np.add.outer(sign, sign) % 2)
