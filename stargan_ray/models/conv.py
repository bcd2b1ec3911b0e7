"""A convolution whose second derivatives are convolutions of the ordinary kind, for critics with a gradient penalty.

PyTorch differentiates a convolution's gradient by convolving the images with one another, the batch as channels and
whole feature maps as kernels, for which no library has a fast algorithm. The same numbers are the gradient of an
ordinary convolution by its weights: see ``_InputGradient``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

aten = torch.ops.aten


class _Shape(NamedTuple):
    """What a convolution does besides its weights."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]

    def gradients(self, grad: Tensor, x: Tensor, weight: Tensor, mask: tuple[bool, bool]) -> tuple[Tensor, Tensor]:
        """Those by x and by the weights; of each only the shape is read where the other's is asked for."""
        dilation, none = [1, 1], [0, 0]
        by_x, by_weight, _ = aten.convolution_backward(
            grad, x, weight, None, self.stride, self.padding, dilation, False, none, 1, [*mask, False]
        )
        return by_x, by_weight

    def by_weight(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """The gradient by the weights."""
        return self.gradients(grad, x, weight, (False, True))[1]


class _Convolution(torch.autograd.Function):
    """conv(x, w) + b."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, shape: _Shape) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shape = shape
        return F.conv2d(x, weight, bias, shape.stride, shape.padding)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (x, weight) = grads, ctx.saved_tensors
        by_x = _InputGradient.apply(grad, weight, x.shape, ctx.shape)
        if torch.is_grad_enabled():
            # With a graph this is a penalty's first derivative, by x alone: the others would be for nothing.
            return by_x, None, None, None
        by_bias = grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return by_x, ctx.shape.by_weight(grad, x, weight), by_bias, None


class _InputGradient(torch.autograd.Function):
    """The gradient of conv(x, w) by x, which is linear in both of what it takes: the gradient g by the output, and w.

    So its own gradients, for an h by its output, are conv(h, w) by g, and by w the one that conv(h, w) has for g.
    """

    @staticmethod
    def forward(ctx: Any, grad: Tensor, weight: Tensor, size: torch.Size, shape: _Shape) -> Tensor:
        ctx.save_for_backward(grad, weight)
        ctx.shape = shape
        return shape.gradients(grad, grad.new_empty(size), weight, (True, False))[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (again,), (grad, weight) = grads, ctx.saved_tensors
        by_grad = F.conv2d(again, weight, None, ctx.shape.stride, ctx.shape.padding)
        return by_grad, ctx.shape.by_weight(grad, again, weight), None, None


class CriticConv2d(nn.Conv2d):
    """``nn.Conv2d``, cheaper where its gradient by the image is differentiated once more, which is all that it allows.

    Shapes: (b, n_in, H, W) -> (b, n_out, H', W').
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve."""
        twice = torch.is_grad_enabled() and input.requires_grad and self.weight.requires_grad
        if not twice or torch.is_autocast_enabled(input.device.type):
            return super().forward(input)
        shape = _Shape(tuple(self.stride), (self.padding[0], self.padding[1]))  # type: ignore[arg-type]
        found: Tensor = _Convolution.apply(input, self.weight, self.bias, shape)
        return found
