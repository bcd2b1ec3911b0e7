"""LAUN (IEEE Access 8, 2020): StarGAN v1 with an attention U-Net, an L2 reconstruction and a contextual loss.

Public are these three changes and the equations of the loss; weights, layer and code are not. What is marked "our
choice" says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from stargan_ray import losses
from stargan_ray.errors import InputError
from stargan_ray.methods.base import Batch, Networks, Step, Term, Terms
from stargan_ray.methods.checks import require_finite
from stargan_ray.methods.stargan_v1 import StarGANv1
from stargan_ray.models.features import Layer
from stargan_ray.models.laun import AttentionUNet


@dataclass(frozen=True)
class LAUN(StarGANv1):
    """Hyperparameters; those of StarGAN v1 without ``blocks``' meaning, and the U-Net's and the contextual loss's.

    The contextual loss compares the translation with its source (our choice: it asks for the same parts of a face
    wherever they moved to, which the reconstruction, pixel against pixel, cannot ask of a translation).

    Attributes:
        depth: resolutions of the U-Net; 4 as published.
        lambda_cx: weight of the contextual loss (our choice: 1, as much as the classification that pulls the other
            way); 0 = none, and no features are needed.
        cx_layer: VGG19's convolution whose maps, after batch norm and ReLU, are compared (our choice: conv4_2, the
            content layer of the loss's authors).
        cx_bandwidth: h of the loss; 0.5 as published.
        cx_side: positions a side that are compared at most (our choice: 32, all of conv4_2's up to 256 pixels, and
            4 MiB of distances an image).
    """

    name: ClassVar[str] = "laun"

    depth: int = 4
    lambda_cx: float = 1.0
    cx_layer: Layer = "conv4_2"
    cx_bandwidth: float = 0.5
    cx_side: int = 32

    def __post_init__(self) -> None:
        """Refuse weights and sizes that no run can mean."""
        super().__post_init__()
        require_finite(self, "lambda_cx")
        if not 0 < self.cx_bandwidth < math.inf:
            raise InputError(f"method.cx_bandwidth = {self.cx_bandwidth}: allowed are finite values > 0")
        if not 2 <= self.cx_side <= 64:
            raise InputError(f"method.cx_side = {self.cx_side}: allowed are 2 to 64 (cost grows with its 4th power)")
        if not 1 <= self.depth <= 8:
            raise InputError(f"method.depth = {self.depth}: allowed are 1 to 8")

    @property
    def helpers(self) -> tuple[str, ...]:
        """The frozen network whose maps the contextual loss compares; training alone needs it."""
        return ("features",) if self.lambda_cx else ()

    def networks(self, size: int, domains: int) -> dict[str, nn.Module]:
        """As StarGAN v1; the U-Net's deepest maps must have 2 positions a side at least, for their norm."""
        self.require_size(size, 2**self.depth, f"method.depth = {self.depth}")
        if self.lambda_cx:
            block = int(self.cx_layer[len("conv")])
            self.require_size(size, 2**block, f"maps of method.cx_layer = {self.cx_layer} with 2 positions a side")
        return super().networks(size, domains)

    def generator(self, domains: int) -> nn.Module:
        """A fresh attention U-Net."""
        return AttentionUNet(domains, first=self.first, depth=self.depth, compose=self.compose)

    def reconstruction(self, back: Tensor, source: Tensor) -> Tensor:
        """L2."""
        return losses.l2(back, source)

    def extra_terms(self, networks: Networks, batch: Batch, step: Step, fake: Tensor) -> Terms:  # noqa: ARG002
        """λ_cx · L_cx; the gradient passes through the frozen features to the fake."""
        if not self.lambda_cx:
            return {}
        features = networks["features"]
        wanted = features(batch["source"], self.cx_layer).detach()
        value = losses.contextual(features(fake, self.cx_layer), wanted, self.cx_bandwidth, self.cx_side)
        return {"cx": Term(value, self.lambda_cx)}
