"""The layout in which DistributedDataParallel sums gradients, the same from the first step on.

DDP cuts the gradients into buckets, and cuts them again after the first backward pass, in the order in which they came.
The position of a number in its bucket decides in which order the workers' values are added, and with three or more of
them (a + b) + c is not a + (b + c). So the first step after a restart would differ in its last bits from the same step
of a run that was never stopped.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel


def settled(wrapped: DistributedDataParallel) -> DistributedDataParallel:
    """Give DDP its first backward pass now, of zeros, so that every real one has the final buckets.

    The parameters come last to first, as they come about in a real pass, so that sums begin while it goes on. All
    workers must call it; weights, buffers and random streams are not touched.
    """
    network = wrapped.module
    wanted = [value for value in network.parameters() if value.requires_grad]

    def zero() -> Tensor:
        total = torch.zeros((), device=wanted[0].device)
        for value in wanted:  # what is computed last is differentiated first
            total = total + (value * 0).sum()
        return total

    network.forward = zero
    try:
        wrapped().backward()
    finally:
        del network.forward
    wrapped.zero_grad(set_to_none=True)
    return wrapped
