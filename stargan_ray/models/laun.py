"""LAUN's generator: an attention U-Net in the place of StarGAN v1's (IEEE Access 8, 2020; Oktay et al., 2018).

Shapes and codes are those of ``models/stargan_v1.py``. Public are the depth (4), the widths (64 to 512) and the gate
σ(ψ(ReLU(W_x x + W_g g))). The rest is our choice, each for the reason beside it:

- depth 4 is four resolutions, H to H/8: 64 doubled thrice is 512;
- two 3×3 convolutions a resolution, halved by max pooling and doubled by nearest up-sampling and a 3×3 convolution, as
  U-Nets have it: no checkerboard, whatever the size;
- instance norm for batch norm, zero padding and label planes beside the image, as in StarGAN v1, whose place it takes;
- no norm after the first convolution: it would remove whatever is constant over an image, so of label planes all but
  what zero padding makes of them at the edge, which 3×3 see much less of than StarGAN v1's 7×7. With a norm there G had
  not begun to follow its label after 600 iterations of the tiny recipe.
"""

from __future__ import annotations

import itertools
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.models.blocks import DomainAxes
from stargan_ray.models.stargan_v1 import normed, output_channels, painted, with_planes
from stargan_ray.models.stargan_v2 import Compose


def _double(n_in: int, n_out: int) -> nn.Sequential:
    """Two 3×3 convolutions with instance norm and ReLU."""
    first, second = (nn.Conv2d(n, n_out, 3, padding=1, bias=False) for n in (n_in, n_out))
    return nn.Sequential(normed(first), normed(second))


def _entry(n_in: int, n_out: int) -> nn.Sequential:
    """The same without the first norm."""
    second = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(), normed(second))


class AttentionGate(nn.Module):
    """x · σ(ψ(ReLU(W_x x + W_g g))): what of a skip passes, by what the deeper features g ask for.

    Shapes: x, g (b, C, H, W) -> (b, C, H, W). W_x and W_g map to C/2 channels, ψ to one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.of_skip = nn.Conv2d(channels, inner, 1, bias=False)
        self.of_gate = nn.Conv2d(channels, inner, 1)  # its bias is that of the sum
        self.psi = nn.Conv2d(inner, 1, 1)

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """The skip, weighted position by position."""
        share: Tensor = self.psi(F.relu(self.of_skip(skip) + self.of_gate(gate))).sigmoid()
        return skip * share


class AttentionUNet(nn.Module):
    """G(x, c): image (b, 3, H, W), labels (b,) or codes (b, K) -> image (b, 3, H, W).

    Args:
        domains: K.
        first: channels at full resolution, doubled at each halving; published 64.
        depth: resolutions; published 4.
        compose: see ``painted``; published ``image``.
    """

    domain_axes: ClassVar[DomainAxes] = {"encode.0.0.weight": (1, 3)}

    def __init__(self, domains: int, *, first: int = 64, depth: int = 4, compose: Compose = "image") -> None:
        super().__init__()
        self.domains = domains
        self.compose = compose
        widths = [first << level for level in range(depth)]
        steps = list(itertools.pairwise(widths))
        self.encode = nn.ModuleList([_entry(3 + domains, first), *(_double(a, b) for a, b in steps)])
        self.up = nn.ModuleList([normed(nn.Conv2d(b, a, 3, padding=1, bias=False)) for a, b in reversed(steps)])
        self.gates = nn.ModuleList([AttentionGate(a) for a, _ in reversed(steps)])
        self.decode = nn.ModuleList([_double(2 * a, a) for a, _ in reversed(steps)])
        self.paint = nn.Conv2d(first, output_channels(compose), 1)

    def forward(self, image: Tensor, code: Tensor) -> Tensor:
        """The image with the expression of the code."""
        x = with_planes(image, code, self.domains)
        skips = []
        for level, block in enumerate(self.encode):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for up, gate, block in zip(self.up, self.gates, self.decode, strict=True):
            x = up(F.interpolate(x, scale_factor=2, mode="nearest"))
            x = block(torch.cat([gate(skips.pop(), x), x], 1))
        return painted(image, self.paint(x), self.compose)
