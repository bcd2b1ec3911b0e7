"""The networks of an FA-GAN-style model: who a face is and how it is deformed, apart, and put together again.

FA-GAN (Wang et al., IEEE TIP 29, 2020) has neither public code nor weights. From its description come an encoder of
identity, a hierarchical one of the deformation, and a graph convolution over facial regions in the generator; every
layer is our choice, built from StarGAN v2's blocks so that a comparison with it is one of ideas and not of blocks.
The discriminator is StarGAN v2's.

Legend of shapes: b batch, H = W image size in pixels, K domains, C × h × h the identity map at the bottleneck, I
identity code, S = coarse + fine deformation code, L latent code. Images are in [-1, 1]; labels (b,) int64 in [0, K).
"""

from __future__ import annotations

import itertools
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.models.blocks import AdaINBlock, DomainAxes, DomainLinear, ResidualBlock, he_init
from stargan_ray.models.regions import RegionGraph, RegionPool
from stargan_ray.models.stargan_v2 import Compose, stage_widths


class IdentityEncoder(nn.Module):
    """Who the face is: image (b, 3, H, W) -> map (b, C, h, h) for the generator, and a unit code (b, I).

    Args:
        size: H, a power of two.
        bottleneck: h.
        first, largest: channels at full resolution and at most.
        depth: residual blocks at the bottleneck.
        parts: facial parts that the code is read from.
        identity_dim: I.
    """

    def __init__(
        self, size: int, *, bottleneck: int, first: int, largest: int, depth: int, parts: int, identity_dim: int
    ) -> None:
        super().__init__()
        widths = stage_widths(size, bottleneck, first, largest)
        self.stem = nn.Conv2d(3, first, 3, padding=1)
        self.blocks = nn.ModuleList(
            [ResidualBlock(a, b, normalize=True, downsample=True) for a, b in itertools.pairwise(widths)]
            + [ResidualBlock(widths[-1], widths[-1], normalize=True) for _ in range(depth)]
        )
        self.pool = RegionPool(parts, bottleneck)
        self.head = nn.Linear((parts + 1) * widths[-1], identity_dim)
        he_init(self)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The map and the code."""
        x = self.stem(image)
        for block in self.blocks:
            x = block(x)
        return x, F.normalize(self.head(self.pool(F.leaky_relu(x, 0.2))))


class AttributeEncoder(nn.Module):
    """How the face is deformed: image (b, 3, H, W), label (b,) -> code (b, S), coarse then fine.

    The coarse part is read from the deepest features, which see the whole face: which expression, and how strong. The
    fine part is read from each facial region of a map of h × h: what this face does with its brows or its mouth. Both
    have one linear head a domain, as StarGAN v2's style encoder, so that a reference says *how* and its label *what*.
    No norm, which would remove how strong a feature is.
    """

    def __init__(
        self,
        size: int,
        domains: int,
        *,
        bottleneck: int,
        first: int,
        largest: int,
        parts: int,
        coarse_dim: int,
        fine_dim: int,
    ) -> None:
        super().__init__()
        widths = stage_widths(size, 4, first, largest)
        self.size, self.domains = size, domains
        self.until_regions = len(stage_widths(size, bottleneck, first, largest)) - 1
        self.stem = nn.Conv2d(3, first, 3, padding=1)
        self.blocks = nn.ModuleList([ResidualBlock(a, b, downsample=True) for a, b in itertools.pairwise(widths)])
        self.last = nn.Conv2d(widths[-1], widths[-1], 4)
        he_init(self)
        self.pool = RegionPool(parts, bottleneck)
        self.coarse = DomainLinear(domains, widths[-1], coarse_dim)
        self.fine = DomainLinear(domains, (parts + 1) * widths[self.until_regions], fine_dim)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """The deformation that the image shows, as one of the domain."""
        x = self.stem(image)
        for block in self.blocks[: self.until_regions]:
            x = block(x)
        regions = self.pool(F.leaky_relu(x, 0.2))
        for block in self.blocks[self.until_regions :]:
            x = block(x)
        whole = F.leaky_relu(self.last(F.leaky_relu(x, 0.2)), 0.2).flatten(1)
        return torch.cat([self.coarse(whole, label), self.fine(regions, label)], 1)


class Prototypes(nn.Module):
    """A deformation code for a domain without a face: latent (b, L), label (b,) -> code (b, S).

    Each domain has a mean and, with L > 0, directions in which the latent code moves it: a Gaussian a domain.
    """

    domain_axes: ClassVar[DomainAxes] = {"mean": (0, 0)}

    def __init__(self, domains: int, *, code_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(domains, code_dim))  # apart from the start: equal ones would mean nothing
        self.spread = DomainLinear(domains, latent_dim, code_dim) if latent_dim else None

    def forward(self, latent: Tensor, label: Tensor) -> Tensor:
        """The code of a latent code in a domain."""
        mean = self.mean[label]
        return mean if self.spread is None else mean + self.spread(latent, label)


class Generator(nn.Module):
    """A face of this identity with this deformation: map (b, C, h, h), code (b, S), image -> image (b, 3, H, W).

    The coarse code modulates the blocks at the bottleneck, the region graph then moves the parts of the face in accord,
    and the blocks that enlarge are modulated by the whole code: a level knows what the coarser one was told.

    Args:
        size: H, a power of two.
        bottleneck: h.
        first, largest: channels at full resolution and at most, as the identity encoder has them.
        depth: AdaIN blocks at the bottleneck.
        parts: facial parts of the graph; 0 = no graph.
        coarse_dim, fine_dim: widths of the two parts of the code.
        compose: ``image`` = the output is painted; ``mask`` = m · tanh(colour) + (1 − m) · image with m in (0, 1)
            for each pixel, so that what carries no expression is copied. As StarGAN v2's generator here.
    """

    def __init__(
        self,
        size: int,
        *,
        bottleneck: int,
        first: int,
        largest: int,
        depth: int,
        parts: int,
        coarse_dim: int,
        fine_dim: int,
        compose: Compose,
    ) -> None:
        super().__init__()
        widths = stage_widths(size, bottleneck, first, largest)
        deep, code_dim = widths[-1], coarse_dim + fine_dim
        self.compose = compose
        self.coarse_dim = coarse_dim
        self.middle = nn.ModuleList([AdaINBlock(deep, deep, coarse_dim) for _ in range(depth)])
        self.graph = RegionGraph(deep, code_dim, parts=parts, side=bottleneck) if parts else None
        up = itertools.pairwise(reversed(widths))
        self.up = nn.ModuleList([AdaINBlock(a, b, code_dim, upsample=True) for a, b in up])
        self.norm = nn.InstanceNorm2d(first, affine=True)
        self.paint = nn.Conv2d(first, 3 if compose == "image" else 4, 1)
        he_init(self)
        if self.graph is not None:
            self.graph.start_from_prior()

    def forward(self, identity: Tensor, code: Tensor, image: Tensor) -> Tensor:
        """The face; the image is what ``mask`` edits, and ``image`` does not look at it."""
        x = identity
        for block in self.middle:
            x = block(x, code[:, : self.coarse_dim])
        if self.graph is not None:
            x = self.graph(x, code)
        for block in self.up:
            x = block(x, code)
        x = self.paint(F.leaky_relu(self.norm(x), 0.2))
        if self.compose == "image":
            return x
        x = x.type_as(image)  # under autocast: the source is copied in full precision
        return torch.lerp(image, x[:, :3].tanh(), x[:, 3:].sigmoid())
