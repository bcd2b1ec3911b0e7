"""The two networks of StarGAN v1 (Choi et al., CVPR 2018, section 4 and appendix).

Legend of shapes: b batch, H = W image size in pixels, K domains. Images are in [-1, 1]. G is told the target by labels
(b,) int64 in [0, K), or by codes (b, K): one-hot for a domain, anything between two of them for a face between.

``compose="mask"`` is ours and off by default.
"""

from __future__ import annotations

import itertools
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.models.blocks import DomainAxes
from stargan_ray.models.conv import CriticConv2d
from stargan_ray.models.stargan_v2 import Compose


def with_planes(image: Tensor, code: Tensor, domains: int) -> Tensor:
    """Images (b, 3, H, W) with every entry of their codes as a constant plane: (b, 3 + K, H, W)."""
    if code.ndim == 1:
        code = F.one_hot(code, domains)
    planes = code.type_as(image)[:, :, None, None].expand(-1, -1, *image.shape[2:])
    return torch.cat([image, planes], 1)


def painted(image: Tensor, features: Tensor, compose: Compose) -> Tensor:
    """The output image (b, 3, H, W) of a generator's last features.

    ``image``: the tanh of 3 channels. ``mask``: m · tanh(colour) + (1 − m) · x, of 4 channels with the sigmoid of the
    last as m, so that what carries no expression is copied instead of repainted.
    """
    if compose == "image":
        return features.tanh()
    return torch.lerp(image.type_as(features), features[:, :3].tanh(), features[:, 3:].sigmoid())


def output_channels(compose: Compose) -> int:
    """How many ``painted`` needs."""
    return 3 if compose == "image" else 4


def normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    """A convolution without bias, instance norm with one, ReLU."""
    return nn.Sequential(layer, nn.InstanceNorm2d(layer.out_channels, affine=True), nn.ReLU())


class PlainResidual(nn.Module):
    """x + IN(conv(ReLU(IN(conv(x))))): (b, C, H, W) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = normed(nn.Conv2d(channels, channels, 3, padding=1, bias=False))
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        residual: Tensor = self.norm(self.second(self.first(x)))
        return x + residual


class Generator(nn.Module):
    """G(x, c): image (b, 3, H, W), labels (b,) or codes (b, K) -> image (b, 3, H, W).

    A 7×7 convolution, two halvings, residual blocks, two doublings, a 7×7 convolution.

    Args:
        domains: K.
        first: channels at full resolution, doubled at each halving; published 64.
        blocks: residual blocks at a quarter of the resolution; published 6.
        compose: see ``painted``; published ``image``.
    """

    domain_axes: ClassVar[DomainAxes] = {"stem.0.weight": (1, 3)}

    def __init__(self, domains: int, *, first: int = 64, blocks: int = 6, compose: Compose = "image") -> None:
        super().__init__()
        self.domains = domains
        self.compose = compose
        widths = [first, 2 * first, 4 * first]
        self.stem = normed(nn.Conv2d(3 + domains, first, 7, padding=3, bias=False))
        self.down = nn.ModuleList([normed(nn.Conv2d(a, b, 4, 2, 1, bias=False)) for a, b in itertools.pairwise(widths)])
        self.blocks = nn.ModuleList([PlainResidual(widths[-1]) for _ in range(blocks)])
        self.up = nn.ModuleList(
            [normed(nn.ConvTranspose2d(b, a, 4, 2, 1, bias=False)) for a, b in reversed([*itertools.pairwise(widths)])]
        )
        self.paint = nn.Conv2d(first, output_channels(compose), 7, padding=3, bias=False)

    def forward(self, image: Tensor, code: Tensor) -> Tensor:
        """The image with the expression of the code."""
        x = self.stem(with_planes(image, code, self.domains))
        for layer in (*self.down, *self.blocks, *self.up):
            x = layer(x)
        return painted(image, self.paint(x), self.compose)


class Discriminator(nn.Module):
    """D(x): image (b, 3, H, W) -> real/fake logits of patches (b, h, w) and logits of the domain (b, K).

    No norm: the gradient penalty is of each image alone.

    Args:
        size: H, a power of two of at least 2^layers.
        domains: K.
        first: channels of the first layer, doubled by each; published 64.
        largest: channels at most; published 2048.
        layers: 4×4 convolutions of stride 2; published 6. h = w = H / 2^layers.
    """

    domain_axes: ClassVar[DomainAxes] = {"classes.weight": (0, 0)}

    def __init__(self, size: int, domains: int, *, first: int = 64, largest: int = 2048, layers: int = 6) -> None:
        super().__init__()
        widths = [3, *(min(largest, first << layer) for layer in range(layers))]
        self.layers = nn.ModuleList([CriticConv2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(widths)])
        self.patches = CriticConv2d(widths[-1], 1, 3, padding=1, bias=False)
        self.classes = CriticConv2d(widths[-1], domains, size >> layers, bias=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """How real each patch looks, and which domain the image shows."""
        x = image
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.01)
        return self.patches(x).squeeze(1), self.classes(x).flatten(1)
