"""The mean of a view is the average pool: values, both derivatives, and the layout that follows.

pytest tests/models/test_halving.py
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from stargan_ray.models.halving import halved, mean_of_view


def maps() -> Tensor:
    made = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 8, 12, generator=made, dtype=torch.float64)
    return x.to(memory_format=torch.channels_last).requires_grad_()


def derivatives(halve: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Of something that is not linear, so that the second one is not nothing."""
    x = maps()
    value = halve(x)
    (first,) = torch.autograd.grad(value.pow(3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    return value, first, second


def test_the_mean_of_a_view_is_the_average_pool_with_both_derivatives() -> None:
    expected = derivatives(lambda x: F.avg_pool2d(x, 2))
    for found in (derivatives(mean_of_view), derivatives(halved)):
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_channels_stay_last_and_nothing_is_copied() -> None:
    found = mean_of_view(maps())
    assert found.shape == (3, 5, 4, 6)
    assert found.is_contiguous(memory_format=torch.channels_last)
