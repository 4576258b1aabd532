"""Which device is meant, and how many cells run at a time."""

from __future__ import annotations

import os

import pytest
import torch

from mecheval.errors import UsageError
from mecheval.harness import devices
from mecheval.harness.devices import Devices, find_devices


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(devices, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_the_cpu_runs_one_cell_per_core():
    assert find_devices("cpu") == Devices("cpu")
    assert find_devices("cpu").jobs == len(os.sched_getaffinity(0))


@pytest.mark.usefixtures("two_gpus")
def test_gpus_run_one_cell_each(monkeypatch):
    assert find_devices("auto") == find_devices("cuda") == Devices("cuda", ("0", "1"))
    assert find_devices("auto").jobs == 2
    assert find_devices("cuda:1") == Devices("cuda", ("1",))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert find_devices("cuda:1") == Devices("cuda", ("7",))


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(UsageError, match=r"'cuda:2' is not there: torch sees 2 CUDA devices"):
        find_devices("cuda:2")


@pytest.mark.parametrize("text", ["tpu", "cuda:x", "cpu:0", ""])
def test_an_unknown_device_is_named(text):
    with pytest.raises(UsageError, match=r"Give auto, cpu, cuda or cuda:N"):
        find_devices(text)


@pytest.mark.parametrize(
    ("share", "expected"), [("1", 1), ("100000", None), ("", None), ("x", None)]
)
def test_slurms_share_bounds_the_workers(monkeypatch, share, expected):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", share)
    assert find_devices("cpu").jobs == (expected or len(os.sched_getaffinity(0)))
