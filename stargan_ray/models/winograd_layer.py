"""Convolutions by ``winograd.py`` in networks: differentiable as often as needed, and in the place of plain ones.

The gradient by the images is a convolution with the weights turned round, and the one by the weights a sum over the
same tiles; each is differentiated by the others, so that second derivatives, which R1 needs, cost what the first do.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.models.conv import CriticConv2d
from stargan_ray.models.halving import halved
from stargan_ray.models.winograd import Form, by_weight, convolve

# Below these the changes of basis cost what is saved: measured on two cores without AVX-512 (docs/LOG.md).
_CHANNELS = 128
_TILES = 64
_DOUBLED = Form(double=True)
_HALVED = Form(add=True, scale=1 / 4)


class _Convolution(torch.autograd.Function):
    """What a form says of x and w, and b added."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, form: Form, penalised: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.form, ctx.penalised = form, penalised
        return convolve(x, weight, bias, form)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (x, weight), form = grads, ctx.saved_tensors, ctx.form
        needed = ctx.needs_input_grad
        by_x = _Convolution.apply(grad, weight, None, form.adjoint(), False) if needed[0] else None
        if ctx.penalised and torch.is_grad_enabled():
            return by_x, None, None, None, None  # as models/conv.py: a penalty's first derivative is by x alone
        # of a form that is turned x is what is wanted, and the gradient what is convolved
        whole = (grad, x, form.adjoint()) if form.turned else (x, grad, form)
        by_bias = grad.sum((0, 2, 3)) if needed[2] else None
        return by_x, _ByWeight.apply(*whole) if needed[1] else None, by_bias, None, None


class _ByWeight(torch.autograd.Function):
    """The gradient of a form by w, linear in x and in the gradient g by the result.

    Its own, for an h by what it gives, are the form of x and h by g, and by x the form's gradient by x, of g and h.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, grad: Tensor, form: Form) -> Tensor:
        ctx.save_for_backward(x, grad)
        ctx.form = form
        return by_weight(x, grad, form)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (again,), (x, grad), form = grads, ctx.saved_tensors, ctx.form
        by_x = _Convolution.apply(grad, again, None, form.adjoint(), False) if ctx.needs_input_grad[0] else None
        return by_x, _Convolution.apply(x, again, None, form, False) if ctx.needs_input_grad[1] else None, None


class WinogradConv2d(nn.Conv2d):
    """A 3 × 3 convolution with padding 1, by Winograd's filtering where that is faster; else as its base does it.

    Shapes: (b, n_in, H, W) -> (b, n_out, H, W), by Winograd's with channels last in memory.
    """

    penalised: ClassVar[bool] = False

    @classmethod
    def of(cls, layer: nn.Conv2d) -> WinogradConv2d:
        """One with the parameters of another."""
        bias = layer.bias is not None
        made = cls(layer.in_channels, layer.out_channels, 3, padding=1, bias=bias, device="meta")
        made.weight, made.bias = layer.weight, layer.bias
        return made.train(layer.training)

    def fits(self, x: Tensor, form: Form) -> bool:
        """Whether it is faster: whole tiles and enough of them, on a processor, in the type of the weights."""
        height, width = x.shape[2] // form.read, x.shape[3] // form.read
        whole = (height * form.read, width * form.read) == x.shape[2:]
        plain = x.dtype == self.weight.dtype and not torch.is_autocast_enabled(x.device.type)
        return plain and x.device.type == "cpu" and whole and len(x) * height * width >= _TILES

    def forward(self, input: Tensor) -> Tensor:
        """Convolve."""
        form = Form()
        return self.of_form(input, form) if self.fits(input, form) else super().forward(input)

    def of_form(self, x: Tensor, form: Form) -> Tensor:
        """What a form says, and the bias."""
        found: Tensor = _Convolution.apply(x, self.weight, self.bias, form, self.penalised)
        return found


class WinogradCriticConv2d(WinogradConv2d, CriticConv2d):
    """The same with what ``CriticConv2d`` allows: of a derivative with a graph, the one by the images alone."""

    penalised: ClassVar[bool] = True


def doubled(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer of the image with each pixel repeated 2 × 2: (b, C, H, W) -> that of (b, C, 2H, 2W)."""
    if isinstance(layer, WinogradConv2d) and layer.fits(x, _DOUBLED):
        return layer.of_form(x, _DOUBLED)
    return cast(Tensor, layer(F.interpolate(x, scale_factor=2, mode="nearest")))


def then_halved(layer: nn.Module, x: Tensor) -> Tensor:
    """Means of 2 × 2 of the layer's result: (b, C, H, W), H and W even -> (b, C', H/2, W/2)."""
    if isinstance(layer, WinogradConv2d) and layer.fits(x, _HALVED):
        return layer.of_form(x, _HALVED)
    return halved(layer(x))


def with_winograd(network: nn.Module) -> nn.Module:
    """The network with its wide 3 × 3 convolutions replaced, parameters and their names as before; changed in place."""
    kinds: dict[type[nn.Module], type[WinogradConv2d]] = {
        nn.Conv2d: WinogradConv2d,
        CriticConv2d: WinogradCriticConv2d,
    }
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if type(layer) in kinds and _replaceable(cast(nn.Conv2d, layer)):
                setattr(parent, name, kinds[type(layer)].of(cast(nn.Conv2d, layer)))
    return network


def _replaceable(layer: nn.Conv2d) -> bool:
    same = layer.kernel_size == (3, 3) and layer.stride == layer.dilation == (1, 1) and layer.padding == (1, 1)
    simple = same and layer.groups == 1 and layer.padding_mode == "zeros"
    return simple and min(layer.in_channels, layer.out_channels) >= _CHANNELS
