"""Freed memory stays with the process inside the block, and no longer."""

import platform
import resource
import threading
from pathlib import Path

import pytest
import torch

from mecheval.interventions.budget import keeping_freed_memory

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not Path("/proc/self/statm").exists(),
    reason="the settings and the counters are those of glibc and Linux",
)

SIZE = 64 << 20
CPU = torch.device("cpu")


def touch() -> None:
    torch.ones(SIZE // 4)


def faults(times: int) -> int:
    for _ in range(times):  # the first ones find their place in the heap
        touch()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        touch()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def test_a_tensor_gets_the_pages_of_the_one_before() -> None:
    with keeping_freed_memory(CPU):
        assert faults(5) < 5 * SIZE // resource.getpagesize() // 4


def test_the_memory_is_given_back_behind_the_block() -> None:
    with keeping_freed_memory(CPU):
        touch()
        inside = resident()
    assert inside - resident() > SIZE // 2


def test_the_memory_stays_until_the_last_of_several_blocks_ends() -> None:
    """Two grids at once, in two threads of a user, do not undo each other's settings."""
    inside, outside = threading.Event(), threading.Event()

    def other() -> None:
        with keeping_freed_memory(CPU):
            inside.set()
            outside.wait()

    thread = threading.Thread(target=other)
    with keeping_freed_memory(CPU):
        thread.start()
        inside.wait()
        with keeping_freed_memory(CPU):
            touch()
        assert faults(5) < 5 * SIZE // resource.getpagesize() // 4
    assert faults(5) < 5 * SIZE // resource.getpagesize() // 4
    before = resident()
    outside.set()
    thread.join()
    assert before - resident() > SIZE // 2


def failing() -> None:
    with keeping_freed_memory(CPU):
        touch()
        raise RuntimeError(resident())


def test_an_error_gives_it_back_too() -> None:
    with pytest.raises(RuntimeError) as caught:
        failing()
    assert caught.value.args[0] - resident() > SIZE // 2


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_TRIM_THRESHOLD_", "0"), ("GLIBC_TUNABLES", "glibc.malloc.check=0")]
)
def test_what_the_environment_says_of_memory_stands(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with keeping_freed_memory(CPU):
        touch()
        inside = resident()
    assert inside - resident() < SIZE // 2


def test_other_devices_are_left_alone() -> None:
    with keeping_freed_memory(torch.device("cuda")):
        touch()
        inside = resident()
    assert inside - resident() < SIZE // 2
