"""How the step sizes of state-space models start."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mecheval import exact

STEP_RANGE = (0.001, 0.1)


def initial_step_bias(entries: int) -> Tensor:
    """Draw biases whose softplus is log-uniform over :data:`STEP_RANGE`, as both papers do."""
    low, high = exact.log(np.array(STEP_RANGE)).tolist()
    step = torch.empty(entries).uniform_(low, high).exp()
    return step + torch.log(-torch.expm1(-step))
