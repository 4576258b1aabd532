"""Milliseconds of the kernels, forward and with backward, beside the definition.

Run ``python -m benchmarks.kernels`` in a checkout. Times are the CPU time of one process, so that
other processes disturb them little; the least of the repeats counts. Every cell is "forward /
forward + backward", both of one call in which all inputs need gradients.

Shape suffixes: as in :mod:`mecheval.models.kernels.scan` and :mod:`mecheval.models.kernels.chunks`.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import machine
from mecheval.models.kernels.c.compile import library
from mecheval.models.kernels.convolution import causal_convolution
from mecheval.models.kernels.delta import delta_rule
from mecheval.models.kernels.linear import linear_attention
from mecheval.models.kernels.scan import Scan
from mecheval.models.kernels.selective import selective_scan
from mecheval.models.kernels.ssd import dual_scan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SHAPES = "32x64x32,32x256x16,32x768x8,128x64x16,128x256x8,128x768x4,512x64x8,512x256x4,512x768x2"
"""Positions, width of the stream and examples."""

STATES, TAPS = 16, 4
HEADS = {64: (4, 4), 256: (8, 8), 768: (24, 12)}
"""Of Mamba-2 and of linear attention, by width; others have heads of 64 channels."""

COLUMNS = ("c", "torch", "reference")


class Sizes(NamedTuple):
    """How large a call is.

    Attributes:
        positions: Of each example.
        width: Of the stream; the scans and the convolution are twice as wide.
        examples: Of the batch.
    """

    positions: int
    width: int
    examples: int

    @property
    def heads(self) -> tuple[int, int]:
        """Return the number of heads of Mamba-2 and of linear attention."""
        return HEADS.get(self.width, (max(1, self.width // 32), max(1, self.width // 64)))


class Kernel(NamedTuple):
    """Something to time.

    Attributes:
        inputs: Draws the inputs, by name.
        run: Calls the kernel with them and an implementation; returns the outputs.
        implementations: Those that there are.
    """

    inputs: Callable[[Sizes], dict[str, Tensor]]
    run: Callable[..., Tensor]
    implementations: tuple[str, ...] = ("torch", "reference")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=summary)
    parser.add_argument("--kernels", default=",".join(KERNELS), help="which, with commas")
    parser.add_argument(
        "--shapes", default=SHAPES, help="positions x width x examples, with commas"
    )
    parser.add_argument("--columns", default=",".join(COLUMNS), help="implementations")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    machine.print_options(options)
    columns = options.columns.split(",")
    print(f"C kernels: {library().origin}\n")
    print("Milliseconds, forward / forward + backward")
    print(f"| kernel | positions, width, examples | {' | '.join(columns)} |")
    print("|---|---|" + "---|" * len(columns))
    for name in options.kernels.split(","):
        for shape in options.shapes.split(","):
            sizes = Sizes(*map(int, shape.split("x")))
            cells = [_cell(KERNELS[name], sizes, column, options.repeats) for column in columns]
            print(f"| {name} | {', '.join(map(str, sizes))} | {' | '.join(cells)} |", flush=True)
    return 0


def _cell(kernel: Kernel, sizes: Sizes, implementation: str, repeats: int) -> str:
    missing = implementation == "c" and library().functions is None
    if missing or implementation not in kernel.implementations:
        return "-"
    inputs = kernel.inputs(sizes)
    for value in inputs.values():
        if isinstance(value, Tensor):
            value.requires_grad_()
    dy = torch.randn_like(kernel.run(**inputs, implementation=implementation))
    forward = both = float("inf")
    # The definition is slow: it is only there to compare with.
    for _ in range(min(repeats, 3) if implementation == "reference" else repeats):
        start = time.process_time()
        y = kernel.run(**inputs, implementation=implementation)
        middle = time.process_time()
        y.backward(dy)
        forward = min(forward, middle - start)
        both = min(both, time.process_time() - start)
    return f"{1000 * forward:.1f} / {1000 * both:.1f}"


def _scan_inputs(sizes: Sizes, *, heads: bool) -> dict[str, Tensor]:
    examples, positions, channels = sizes.examples, sizes.positions, 2 * sizes.width
    groups = sizes.heads[0] if heads else channels
    A = -torch.rand(groups) if heads else -torch.rand(channels, STATES)
    scan = Scan(
        torch.randn(examples, positions, channels), torch.randn(examples, positions, groups),
        torch.randn(examples, positions, channels), torch.randn(examples, positions, STATES),
        torch.randn(examples, positions, STATES), A, torch.randn(groups), torch.randn(groups),
    )  # fmt: skip
    return scan._asdict()


def _selective(implementation: str, **inputs: Tensor) -> Tensor:
    return selective_scan(Scan(**inputs), implementation=implementation)[0]  # type: ignore[arg-type]


def _dual(implementation: str, **inputs: Tensor) -> Tensor:
    return dual_scan(Scan(**inputs), implementation=implementation)[0]  # type: ignore[arg-type]


def _convolution_inputs(sizes: Sizes) -> dict[str, Tensor]:
    channels = 2 * sizes.width
    return {
        "x_BTE": torch.randn(sizes.examples, sizes.positions, channels),
        "weight_EK": torch.randn(channels, TAPS),
        "bias_E": torch.randn(channels),
    }


def _attention_inputs(sizes: Sizes) -> dict[str, Tensor]:
    heads = sizes.heads[1]
    shape = (sizes.examples, sizes.positions, heads, sizes.width // heads)
    keys = functional.normalize(torch.randn(shape), dim=-1)
    return {"q_BTHK": torch.randn(shape), "k_BTHK": keys, "v_BTHV": torch.randn(shape)}


def _with_decay(sizes: Sizes, *, per_channel: bool) -> dict[str, Tensor]:
    inputs = _attention_inputs(sizes)
    shape = inputs["k_BTHK"].shape
    return {**inputs, "log_decay": -torch.rand(shape if per_channel else shape[:3])}


def _delta_inputs(sizes: Sizes, *, gated: bool) -> dict[str, Tensor]:
    inputs = _with_decay(sizes, per_channel=False)
    log_decay_BTH = inputs.pop("log_decay")
    inputs["beta_BTH"] = torch.rand_like(log_decay_BTH)
    return {**inputs, "log_decay_BTH": log_decay_BTH} if gated else inputs


def _linear(**inputs: Tensor) -> Tensor:
    return linear_attention(**inputs)[0]  # type: ignore[arg-type]


def _delta(**inputs: Tensor) -> Tensor:
    return delta_rule(**inputs)[0]  # type: ignore[arg-type]


KERNELS = {
    "convolution": Kernel(_convolution_inputs, causal_convolution, ("c", "torch")),
    "mamba": Kernel(lambda sizes: _scan_inputs(sizes, heads=False), _selective, COLUMNS),
    "mamba2": Kernel(lambda sizes: _scan_inputs(sizes, heads=True), _dual, COLUMNS),
    "linear": Kernel(_attention_inputs, _linear),
    "linear-head-decay": Kernel(lambda sizes: _with_decay(sizes, per_channel=False), _linear),
    "linear-channel-decay": Kernel(lambda sizes: _with_decay(sizes, per_channel=True), _linear),
    "delta": Kernel(lambda sizes: _delta_inputs(sizes, gated=False), _delta),
    "gated-delta": Kernel(lambda sizes: _delta_inputs(sizes, gated=True), _delta),
}


if __name__ == "__main__":
    raise SystemExit(main())
