"""The kernel benchmark on a small shape."""

from benchmarks import kernels


def test_every_kernel_is_timed_in_every_implementation_that_it_has(capsys):
    assert kernels.main(["--shapes", "5x8x2", "--repeats", "1"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "5, 8, 2" in line]
    assert [row[0].removeprefix("| ") for row in rows] == list(kernels.KERNELS)
    assert all(" / " in row[3] for row in rows)
    assert not any("-" in row[4] for row in rows[1:])
