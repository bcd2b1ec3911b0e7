"""The four networks of StarGAN v2 (Choi et al., CVPR 2020, appendix A), w_hpf = 0, with the identity inputs.

Legend of shapes: b batch, H = W image size in pixels, K domains, S style code, L latent code, I identity
embedding. Images are in [-1, 1]; labels are (b,) int64 in [0, K).

Three things are ours, all off by default, and with all off the parameter counts are the published ones:
the identity embedding as an input of G (where, is ``inject``; the paper's Fig. 2 shows it added to the features)
and of D (a projection term); ``compose="mask"``, an output that edits the source instead of repainting it; and
``patch``, which folds p × p pixels into channels before the stem and costs about p² less (for machines without a GPU).
"""

from __future__ import annotations

import itertools
import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.models.blocks import AdaINBlock, DomainAxes, DomainLinear, ResidualBlock, he_init
from stargan_ray.models.conv import CriticConv2d
from stargan_ray.models.fused import norm_activation

Compose = Literal["image", "mask"]
Inject = Literal["stem", "channels", "style"]
_MAP = 4  # side of the map that G projects the identity embedding to
_PLANES = 8  # channels of that map where it is an input beside the image


def stage_widths(size: int, smallest: int, first: int, largest: int) -> list[int]:
    """Channels at each resolution from ``size`` down to ``smallest``: doubled at each halving up to ``largest``.

    >>> stage_widths(256, 16, 64, 512)
    [64, 128, 256, 512, 512]
    """
    stages = int(math.log2(size // smallest)) + 1
    return [min(largest, first << stage) for stage in range(stages)]


def _fold(image: Tensor, patch: int) -> Tensor:
    return F.pixel_unshuffle(image, patch) if patch > 1 else image


def _unfold(image: Tensor, patch: int) -> Tensor:
    return F.pixel_shuffle(image, patch) if patch > 1 else image


class Generator(nn.Module):
    """G(x, s): image (b, 3, H, W), style (b, S) -> image (b, 3, H, W); no tanh at the end.

    Args:
        size: H, a power of two.
        first: channels at full resolution; published 2^14 / H.
        largest: channels at most; published 512.
        bottleneck: resolution of the deepest features; published 16.
        depth: residual blocks with IN, and as many with AdaIN, at that resolution; published 2.
        style_dim: S.
        embedding_dim: I, 0 for none.
        inject: where the embedding enters. ``stem``: projected to a 4×4 map, enlarged and added to the stem's
            features; ``channels``: such a map of 8 channels is concatenated to the image; ``style``: projected to S
            numbers that are concatenated to the style code, which AdaIN reads. Maps, because what is constant over an
            image is removed whole by the instance norms.
        compose: ``image`` = the published output; ``mask`` = m · tanh(colour) + (1 − m) · x with m in
            (0, 1) predicted per pixel, so that what carries no expression is copied instead of repainted.
        patch: p, pixels folded into channels per side; published 1 (none). ``first`` counts at H / p.
    """

    def __init__(
        self,
        size: int,
        *,
        first: int,
        largest: int = 512,
        bottleneck: int = 16,
        depth: int = 2,
        style_dim: int = 64,
        embedding_dim: int = 0,
        inject: Inject = "stem",
        compose: Compose = "image",
        patch: int = 1,
    ) -> None:
        super().__init__()
        widths = stage_widths(size // patch, bottleneck, first, largest)
        deep = widths[-1]
        self.compose = compose
        self.inject = inject
        self.patch = patch
        planes = _PLANES if embedding_dim and inject == "channels" else 0
        self.stem = nn.Conv2d(3 * patch**2 + planes, first, 3, padding=1)
        if embedding_dim and inject == "style":
            style_dim *= 2
        down = itertools.pairwise(widths)
        self.encode = nn.ModuleList(
            [ResidualBlock(a, b, normalize=True, downsample=True) for a, b in down]
            + [ResidualBlock(deep, deep, normalize=True) for _ in range(depth)]
        )
        up = itertools.pairwise(reversed(widths))
        self.decode = nn.ModuleList(
            [AdaINBlock(deep, deep, style_dim) for _ in range(depth)]
            + [AdaINBlock(a, b, style_dim, upsample=True) for a, b in up]
        )
        self.norm = nn.InstanceNorm2d(first, affine=True)
        self.fused = False
        self.paint = nn.Conv2d(first, (4 if compose == "mask" else 3) * patch**2, 1)
        he_init(self)
        entry = {"stem": first * _MAP**2, "channels": _PLANES * _MAP**2, "style": style_dim // 2}
        self.identity = nn.Linear(embedding_dim, entry[inject], bias=False) if embedding_dim else None
        if self.identity is not None:
            nn.init.zeros_(self.identity.weight)  # training starts as StarGAN v2; the gradient is not zero

    def forward(self, image: Tensor, style: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Translate; ``embedding`` (b, I) is the source's, needed exactly when the network has an input for it."""
        x, style = self._enter(_fold(image, self.patch), style, embedding)
        for block in self.encode:
            x = block(x)
        for block in self.decode:
            x = block(x, style)
        x = _unfold(self.paint(norm_activation(self.norm, x, fused=self.fused)), self.patch)
        if self.compose == "image":
            return x
        x = x.type_as(image)  # under autocast: the source is copied in full precision
        return torch.lerp(image, x[:, :3].tanh(), x[:, 3:].sigmoid())

    def _enter(self, image: Tensor, style: Tensor, embedding: Tensor | None) -> tuple[Tensor, Tensor]:
        """The stem's features and the style, one of them with the identity."""
        if self.identity is None:
            return self.stem(image), style
        person = self.identity(embedding)
        if self.inject == "style":
            return self.stem(image), torch.cat([style, person], 1)
        person = F.interpolate(person.unflatten(1, (-1, _MAP, _MAP)), image.shape[-2:], mode="nearest")
        if self.inject == "channels":
            return self.stem(torch.cat([image, person], 1)), style
        return self.stem(image) + person, style


class MappingNetwork(nn.Module):
    """F_y(z): latent (b, L), label (b,) -> style (b, S); a shared trunk and one branch a domain."""

    def __init__(self, domains: int, *, latent_dim: int = 16, style_dim: int = 64, hidden: int = 512) -> None:
        super().__init__()
        widths = [latent_dim] + 4 * [hidden]
        self.shared = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(widths)])
        he_init(self)
        self.branch = nn.ModuleList([DomainLinear(domains, hidden, hidden) for _ in range(3)])
        self.out = DomainLinear(domains, hidden, style_dim)

    def forward(self, latent: Tensor, label: Tensor) -> Tensor:
        """The style of a latent code in a domain."""
        x = latent
        for layer in self.shared:
            x = F.relu(layer(x))
        for layer in self.branch:
            x = F.relu(layer(x, label))
        return self.out(x, label)


class _Critic(nn.Module):
    """What E and D share: a stem, residual blocks without norm down to 4×4, a 4×4 valid convolution."""

    def __init__(self, size: int, first: int, largest: int, patch: int) -> None:
        super().__init__()
        widths = stage_widths(size // patch, 4, first, largest)
        self.patch = patch
        self.stem = CriticConv2d(3 * patch**2, first, 3, padding=1)
        pairs = itertools.pairwise(widths)
        self.blocks = nn.ModuleList([ResidualBlock(a, b, downsample=True, conv=CriticConv2d) for a, b in pairs])
        self.last = CriticConv2d(widths[-1], widths[-1], 4)
        self.width = widths[-1]

    def features(self, image: Tensor) -> Tensor:
        """(b, 3, H, W) -> (b, width)."""
        x = self.stem(_fold(image, self.patch))
        for block in self.blocks:
            x = block(x)
        return F.leaky_relu(self.last(F.leaky_relu(x, 0.2)), 0.2).flatten(1)


class StyleEncoder(_Critic):
    """E_y(x): image (b, 3, H, W), label (b,) -> style (b, S); one linear head a domain."""

    def __init__(
        self, size: int, domains: int, *, first: int, largest: int = 512, style_dim: int = 64, patch: int = 1
    ) -> None:
        super().__init__(size, first, largest, patch)
        he_init(self)
        self.head = DomainLinear(domains, self.width, style_dim)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """The style that the image shows in the domain."""
        return self.head(self.features(image), label)


class Discriminator(_Critic):
    """D(x): image (b, 3, H, W) -> real/fake logits (b, K), one a domain; a loss reads the one of its domain.

    With ``embedding_dim`` > 0 each logit gains ⟨W e, features(x)⟩ / √width, a projection term on the identity
    embedding e (b, I) of the person that the image should show. L_id itself does not depend on D's parameters,
    so this input is how the identity reaches D at all: it can reject a face whose person changed.
    """

    domain_axes: ClassVar[DomainAxes] = {"head.weight": (0, 0), "head.bias": (0, 0)}

    def __init__(
        self,
        size: int,
        domains: int,
        *,
        first: int,
        largest: int = 512,
        embedding_dim: int = 0,
        patch: int = 1,
    ) -> None:
        super().__init__(size, first, largest, patch)
        self.head = nn.Linear(self.width, domains)
        he_init(self)
        self.identity = nn.Linear(embedding_dim, self.width, bias=False) if embedding_dim else None
        if self.identity is not None:
            nn.init.zeros_(self.identity.weight)  # as in G

    def forward(self, image: Tensor, embedding: Tensor | None = None) -> Tensor:
        """How real the image is as one of each domain (and as this person)."""
        x = self.features(image)
        logits: Tensor = self.head(x)
        if self.identity is None:
            return logits
        return logits + (self.identity(embedding) * x).sum(1, keepdim=True) / math.sqrt(self.width)
