"""What the registered state-space models share: arguments, and how step sizes start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mecheval import exact
from mecheval.models.kernels.scan import Kernel, check_kernel
from mecheval.models.stack.architecture import Architecture
from mecheval.models.stack.shell import PAPER_STATE_SPACE, Shell

EIGENVALUES = ((0, 1), (-1, 1))
STEP_RANGE = (0.001, 0.1)


@dataclass(frozen=True, kw_only=True)
class StateSpaceArchitecture(Architecture):
    """Arguments of Mamba and Mamba-2.

    Attributes:
        expand: Channels of the scan per width of the stream.
        d_state: States N per channel.
        d_conv: Taps of the convolution, the present included: 1 is a scale and a bias per channel
            without lookback, 0 is no convolution at all.
        eigenvalues: Range of the decay: ``[0,1]``, or ``[-1,1]`` (arXiv:2411.12537).
        kernel: ``auto`` takes mamba-ssm's on CUDA if installed, C on the CPU if there is a
            compiler, plain torch otherwise; ``reference`` is the definition, one position at a
            time; ``fused`` is mamba-ssm's or an error.
    """

    embedding_std: ClassVar[float] = 0.02
    paper_shell: ClassVar[Shell] = PAPER_STATE_SPACE

    expand: int = 2
    d_state: int = 16
    d_conv: int = 4
    eigenvalues: tuple[int, int] = (0, 1)
    kernel: Kernel = "auto"

    def __post_init__(self) -> None:
        """Check the arguments."""
        super().__post_init__()
        self.check(self.expand >= 1 and self.d_state >= 1, "expand and d_state of at least 1")
        self.check(self.d_conv >= 0, "d_conv of at least 0")
        self.check(self.eigenvalues in EIGENVALUES, "eigenvalues=[0,1] or eigenvalues=[-1,1]")
        object.__setattr__(self, "eigenvalues", (int(self.eigenvalues[0]), 1))
        check_kernel(self.kernel)
        self.check(self.kernel != "fused" or not self.signed, "eigenvalues=[0,1] for kernel=fused")

    @property
    def signed(self) -> bool:
        """Return whether the decay can be negative."""
        return self.eigenvalues[0] < 0

    @property
    def channels(self) -> int:
        """Return the number of channels of the scan."""
        return self.expand * self.width


def initial_step_bias(entries: int) -> Tensor:
    """Draw biases whose softplus is log-uniform over :data:`STEP_RANGE`, as both papers do."""
    low, high = exact.log(np.array(STEP_RANGE)).tolist()
    step = torch.empty(entries).uniform_(low, high).exp()
    return step + torch.log(-torch.expm1(-step))
