"""Instance norm, modulation and activation as one kernel, for GPUs: the step's time between its convolutions.

One after the other they read and write the whole feature map four times, and most of them twice more on the way back.
Statistics are computed in fp32 whatever the maps are in. Off by default: what is compiled differs from the plain form
in the last bits, needs a compiler where it runs, and has no second derivative, so D, which has no norms, keeps clear
of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-5  # of torch's instance norm
SLOPE = 0.2


def modulated(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """LeakyReLU(scale · IN(x) + shift): (b, C, H, W), (b or 1, C), (b or 1, C) -> (b, C, H, W) of x's type."""
    wide = x.float()
    variance, mean = torch.var_mean(wide, (2, 3), correction=0, keepdim=True)
    factor = scale.float()[:, :, None, None] * torch.rsqrt(variance + EPS)
    out = torch.addcmul(shift.float()[:, :, None, None] - mean * factor, wide, factor)
    return F.leaky_relu(out, SLOPE).to(x.dtype)


@functools.cache
def compiled() -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """``modulated`` as one kernel forwards and one backwards, for maps of any size."""
    return torch.compile(modulated, dynamic=True)


def norm_activation(norm: nn.Module, x: Tensor, *, fused: bool) -> Tensor:
    """LeakyReLU of an affine instance norm, or of nothing where ``norm`` is the identity."""
    if fused and isinstance(norm, nn.InstanceNorm2d):
        return compiled()(x, norm.weight[None], norm.bias[None])
    return F.leaky_relu(norm(x), SLOPE)
