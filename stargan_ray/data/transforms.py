"""Training augmentation of whole batches on the training device: crop, flip, rotation, scaling, colour.

The draw is separate from its application and is made for the *global* batch from (seed, step, role), so that it
depends neither on the number of workers nor on what ran before. One bilinear resampling does all geometry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stargan_ray.errors import InputError

Range = tuple[float, float]


@dataclass(frozen=True)
class Augment:
    """Ranges of the training augmentation; the defaults are StarGAN v2's crop and flip, and nothing else.

    Attributes:
        crop: probability of a random crop.
        crop_scale: area of the crop as a share of the image.
        crop_ratio: width : height of the crop.
        flip: probability of a mirror image.
        rotation_degrees: drawn from ± this.
        scale: zoom factor range.
        brightness, contrast, saturation: each factor is drawn from 1 ± this. Colour changes the style code of
            a reference, so translators keep these small.
    """

    crop: float = 0.5
    crop_scale: Range = (0.8, 1.0)
    crop_ratio: Range = (0.9, 1.1)
    flip: float = 0.5
    rotation_degrees: float = 0.0
    scale: Range = (1.0, 1.0)
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __post_init__(self) -> None:
        """Refuse probabilities and ranges that do not exist."""
        for name in ("crop", "flip", "brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"data.augment.{name} = {getattr(self, name)}: allowed is 0 to 1")
        for name, most in (("crop_scale", 1), ("crop_ratio", 10), ("scale", 10)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                raise InputError(f"data.augment.{name} = ({low}, {high}): allowed is 0 < low <= high <= {most}")
        if not 0 <= self.rotation_degrees <= 180:
            raise InputError(f"data.augment.rotation_degrees = {self.rotation_degrees}: allowed is 0 to 180")


@dataclass(frozen=True)
class Draw:
    """One draw for a batch.

    Attributes:
        geometry: (b, 2, 3) output to input coordinates, in the units of ``affine_grid`` ([-1, 1]).
        colour: (b, 3) factors of brightness, contrast and saturation, or None when colour is off.
    """

    geometry: Tensor
    colour: Tensor | None

    def rows(self, start: int, stop: int) -> Draw:
        """The part of a worker."""
        colour = None if self.colour is None else self.colour[start:stop]
        return Draw(self.geometry[start:stop], colour)


def draw(config: Augment, batch: int, key: tuple[int, ...]) -> Draw:
    """Draw for a global batch; ``key`` (seed, step, role) names the random stream."""
    rng = np.random.default_rng(key)
    cropped = rng.random(batch) < config.crop
    area = np.where(cropped, rng.uniform(*config.crop_scale, batch), 1.0)
    narrow, broad = map(math.log, config.crop_ratio)
    ratio = np.where(cropped, np.exp(rng.uniform(narrow, broad, batch)), 1.0)
    zoom = rng.uniform(*config.scale, batch)
    # The crop's half-width and half-height as a share of the image; a crop is never larger than the image.
    wide = np.minimum(np.sqrt(area * ratio), 1.0)
    high = np.minimum(np.sqrt(area / ratio), 1.0)
    shift = rng.uniform(-1, 1, (2, batch)) * (1 - np.stack([wide, high]))
    mirror = np.where(rng.random(batch) < config.flip, -1.0, 1.0)
    angle = np.deg2rad(rng.uniform(-config.rotation_degrees, config.rotation_degrees, batch))
    cos, sin = np.cos(angle), np.sin(angle)
    theta = np.array(
        [
            [wide * mirror * cos / zoom, -high * sin / zoom, shift[0]],
            [wide * mirror * sin / zoom, high * cos / zoom, shift[1]],
        ]
    )
    jitter = np.array([config.brightness, config.contrast, config.saturation])
    factors = 1 + rng.uniform(-1, 1, (batch, 3)) * jitter
    return Draw(
        torch.from_numpy(theta.transpose(2, 0, 1).astype(np.float32)),
        torch.from_numpy(factors.astype(np.float32)) if jitter.any() else None,
    )


def to_float(images: Tensor) -> Tensor:
    """uint8 (b, 3, H, W) in 0..255 -> float in [-1, 1]."""
    return images.float().div_(127.5).sub_(1)


def apply(images: Tensor, drawn: Draw) -> Tensor:
    """Augment uint8 images (b, 3, H, W); float in [-1, 1] comes back, of the same shape."""
    x = to_float(images)
    geometry = drawn.geometry.to(x.device, non_blocking=True)
    grid = F.affine_grid(geometry, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if drawn.colour is None:
        return x
    factors = drawn.colour.to(x.device, non_blocking=True)
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(1)
    x = (x + 1) * brightness - 1
    x = torch.lerp(x.mean((1, 2, 3), keepdim=True), x, contrast)
    grey = (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    return torch.lerp(grey, x, saturation).clamp(-1, 1)
