"""Building blocks that several translators share."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.models.fused import compiled, norm_activation
from stargan_ray.models.halving import halved
from stargan_ray.models.winograd_layer import doubled, then_halved

# Which of a module's parameters have an entry for each domain: name -> (axis, index of the first domain on it). A start
# from a network of other domains takes over the entries of those that both know.
DomainAxes = dict[str, tuple[int, int]]


def he_init(module: nn.Module) -> None:
    """He-normal weights (fan in) and zero biases for every convolution and linear layer below ``module``."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class DomainLinear(nn.Module):
    """One linear layer per domain; a row of the batch passes only the one of its own label.

    Shapes: x (b, n_in), label (b,) int64 in [0, domains) -> (b, n_out).
    """

    domain_axes: ClassVar[DomainAxes] = {"weight": (0, 0), "bias": (0, 0)}

    def __init__(self, domains: int, n_in: int, n_out: int) -> None:
        super().__init__()
        # He-normal as he_init gives it, with the fan of one domain's layer
        self.weight = nn.Parameter(torch.randn(domains, n_out, n_in) * math.sqrt(2 / n_in))
        self.bias = nn.Parameter(torch.zeros(domains, n_out))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Apply each row's own layer."""
        weight, bias = self.weight[label], self.bias[label]
        return torch.baddbmm(bias.unsqueeze(2), weight, x.unsqueeze(2)).squeeze(2)


class ResidualBlock(nn.Module):
    """Pre-activation residual block: norm, act, conv, pool, norm, act, conv; the sum divided by √2.

    The shortcut is a 1×1 convolution without bias where channels change, then the pool.
    Shapes: (b, n_in, H, W) -> (b, n_out, H/2, W/2) with ``downsample``, else (b, n_out, H, W). ``conv`` is the kind of
    its convolutions.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        normalize: bool = False,
        downsample: bool = False,
        conv: type[nn.Conv2d] = nn.Conv2d,
    ) -> None:
        super().__init__()
        self.downsample = downsample
        self.fused = False
        self.conv1 = conv(n_in, n_in, 3, padding=1)
        self.conv2 = conv(n_in, n_out, 3, padding=1)
        self.norm1 = nn.InstanceNorm2d(n_in, affine=True) if normalize else nn.Identity()
        self.norm2 = nn.InstanceNorm2d(n_in, affine=True) if normalize else nn.Identity()
        self.shortcut = conv(n_in, n_out, 1, bias=False) if n_in != n_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Residual and shortcut, each of unit variance, added and scaled back to unit variance."""
        # The 1×1 shortcut and the average pool commute exactly; pooling first costs a quarter.
        skip = self.shortcut(halved(x) if self.downsample else x)
        x = norm_activation(self.norm1, x, fused=self.fused)
        x = then_halved(self.conv1, x) if self.downsample else self.conv1(x)
        x = self.conv2(norm_activation(self.norm2, x, fused=self.fused))
        return (x + skip) * math.sqrt(0.5)


class AdaIN(nn.Module):
    """LeakyReLU((1 + γ) · IN(x) + β) with γ, β from a linear layer of the style code.

    Shapes: x (b, C, H, W), style (b, S) -> (b, C, H, W).
    """

    def __init__(self, style_dim: int, channels: int) -> None:
        super().__init__()
        self.affine = nn.Linear(style_dim, 2 * channels)
        self.fused = False

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Normalise, modulate and activate."""
        gamma, beta = self.affine(style).chunk(2, 1)
        if self.fused:
            return compiled()(x, 1 + gamma, beta)
        return F.leaky_relu(torch.addcmul(beta[:, :, None, None], 1 + gamma[:, :, None, None], F.instance_norm(x)), 0.2)


class AdaINBlock(nn.Module):
    """AdaIN, act, up-sample, conv, AdaIN, act, conv; the shortcut up-samples, then 1×1; the sum over √2.

    Shapes: (b, n_in, H, W), style (b, S) -> (b, n_out, 2H, 2W) with ``upsample``, else (b, n_out, H, W).
    """

    def __init__(self, n_in: int, n_out: int, style_dim: int, *, upsample: bool = False) -> None:
        super().__init__()
        self.upsample = upsample
        self.norm1 = AdaIN(style_dim, n_in)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.norm2 = AdaIN(style_dim, n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.shortcut = nn.Conv2d(n_in, n_out, 1, bias=False) if n_in != n_out else nn.Identity()

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Residual and shortcut added and scaled back to unit variance."""
        # A 1×1 convolution and nearest up-sampling commute exactly; convolving first costs a quarter.
        skip = self.shortcut(x)
        skip = F.interpolate(skip, scale_factor=2, mode="nearest") if self.upsample else skip
        x = self.norm1(x, style)
        x = doubled(self.conv1, x) if self.upsample else self.conv1(x)
        x = self.conv2(self.norm2(x, style))
        return (x + skip) * math.sqrt(0.5)
