"""The critics' convolution: torch's own, first and second derivatives, in fp64.

pytest tests/models/test_conv.py
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stargan_ray.models.conv import CriticConv2d

SHAPES = [(3, 1, 1, True), (1, 1, 0, False), (4, 1, 0, True), (4, 2, 1, True)]


def derivatives(layer: nn.Conv2d, image: Tensor) -> list[Tensor]:
    """Of a loss and a gradient penalty, by the image and the weights."""
    x = image.clone().requires_grad_()
    loss = torch.tanh(layer(x)).square().sum()
    (first,) = torch.autograd.grad(loss, x, create_graph=True)
    (first.square().sum() + loss).backward()
    assert x.grad is not None
    return [first, x.grad, *(p.grad for p in layer.parameters() if p.grad is not None)]


@pytest.mark.parametrize(("kernel", "stride", "padding", "bias"), SHAPES)
def test_derivatives_are_those_of_torch(kernel: int, stride: int, padding: int, bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(5, 7, kernel, stride, padding, bias=bias).double()
    ours = CriticConv2d(5, 7, kernel, stride, padding, bias=bias).double()
    ours.load_state_dict(plain.state_dict())
    image = torch.randn(3, 5, 8, 8, dtype=torch.float64)
    expected, found = derivatives(plain, image), derivatives(ours, image)
    assert len(found) == len(expected) == 3 + bias
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_a_penalty_makes_no_kernels_as_large_as_the_image() -> None:
    """What torch's own second derivative does, and what has no fast algorithm on a GPU."""
    seen: list[int] = []

    class Watched(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if func is torch.ops.aten.convolution.default:
                seen.append(args[1].shape[-1])
            return func(*args, **(kwargs or {}))

    image = torch.randn(2, 5, 16, 16)
    for kind, largest in ((CriticConv2d, 3), (nn.Conv2d, 16)):
        seen.clear()
        with Watched():
            derivatives(kind(5, 7, 3, padding=1), image)
        assert max(seen) == largest
