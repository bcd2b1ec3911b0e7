"""Training augmentation of whole batches on the training device: crop, flip, rotation, scaling, colour.

The draw is separate from its application and is made for the *global* batch from (seed, step, role), so that it
depends neither on the number of workers nor on what ran before. One bilinear resampling does all geometry; mirror
images and windows of a number of pixels without rotation and zoom keep the pixels as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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
        crop: probability of a random crop, which is enlarged to the image's size.
        crop_scale: area of the crop as a share of the image.
        crop_ratio: width : height of the crop.
        crop_pixels: side of a random window that every image is cut to, without enlarging; 0 = none. It takes the place
            of ``crop``, which must be 0 then.
        flip: probability of a mirror image.
        rotation_degrees: drawn from ± this.
        scale: zoom factor range.
        brightness, contrast, saturation: each factor is drawn from 1 ± this. Colour changes the style code of
            a reference, so translators keep these small.
        grey: probability that an image loses its colours.
        erase: probability that a rectangle of the image becomes grey, for networks that are to look at more than one
            place (Zhong et al., 2020).
        erase_side: its height and its width, each as a share of the image's.
    """

    crop: float = 0.5
    crop_scale: Range = (0.8, 1.0)
    crop_ratio: Range = (0.9, 1.1)
    crop_pixels: int = 0
    flip: float = 0.5
    rotation_degrees: float = 0.0
    scale: Range = (1.0, 1.0)
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    grey: float = 0.0
    erase: float = 0.0
    erase_side: Range = (0.125, 0.375)

    def __post_init__(self) -> None:
        """Refuse probabilities and ranges that do not exist."""
        for name in ("crop", "flip", "brightness", "contrast", "saturation", "grey", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"data.augment.{name} = {getattr(self, name)}: allowed is 0 to 1")
        if self.crop_pixels < 0 or (self.crop_pixels and self.crop):
            raise InputError(
                f"data.augment.crop_pixels = {self.crop_pixels} with crop = {self.crop}: allowed are values >= 0, "
                "and with a window no crop"
            )
        for name, most in (("crop_scale", 1), ("crop_ratio", 10), ("scale", 10), ("erase_side", 1)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                raise InputError(f"data.augment.{name} = ({low}, {high}): allowed is 0 < low <= high <= {most}")
        if not 0 <= self.rotation_degrees <= 180:
            raise InputError(f"data.augment.rotation_degrees = {self.rotation_degrees}: allowed is 0 to 180")

    @property
    def beyond_mirror(self) -> tuple[str, ...]:
        """The fields that do more to an image than to mirror it."""
        plain = Augment(crop=0.0)
        moved = ("crop", "crop_pixels", "rotation_degrees", "scale")
        names = (*moved, "brightness", "contrast", "saturation", "grey", "erase")
        return tuple(name for name in names if getattr(self, name) != getattr(plain, name))


@dataclass(frozen=True)
class Draw:
    """One draw for a batch.

    Attributes:
        geometry: (b, 2, 3) output to input coordinates, in the units of ``affine_grid`` ([-1, 1]).
        colour: (b, 3) factors of brightness, contrast and saturation, or None when colour is off.
        corner: (b, 2) in [0, 1): where the window's upper left corner is among the places it can have, down and
            across; None when no window is cut.
        pixels: side of the window.
        still: whether the geometry is at most a mirror image, so that nothing need be resampled.
        grey: (b,) which images lose their colours, or None.
        erased: (b, 4) top, left, bottom and right of the rectangle that becomes grey, as shares of the image, all 0
            where there is none; or None.
    """

    geometry: Tensor
    colour: Tensor | None
    corner: Tensor | None = None
    pixels: int = 0
    still: bool = False
    grey: Tensor | None = None
    erased: Tensor | None = None

    def rows(self, start: int, stop: int) -> Draw:
        """The part of a worker."""
        every = {name: getattr(self, name) for name in ("geometry", "colour", "corner", "grey", "erased")}
        return replace(self, **{name: each[start:stop] for name, each in every.items() if each is not None})

    @property
    def mirrored(self) -> Tensor:
        """(b,) whether each image is mirrored, where it is turned by less than a right angle."""
        return self.geometry[:, 0, 0] < 0

    def of_view(self, known: Tensor) -> Tensor:
        """(b, V, I), what is known of each image first and of its mirror image last, -> (b, I) of the one drawn."""
        mirrored = self.mirrored.to(known.device, non_blocking=True)
        return torch.where(mirrored[:, None], known[:, -1], known[:, 0])


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
    corner = torch.from_numpy(rng.random((batch, 2))) if config.crop_pixels else None
    grey = torch.from_numpy(rng.random(batch) < config.grey) if config.grey else None
    return Draw(
        torch.from_numpy(theta.transpose(2, 0, 1).astype(np.float32)),
        torch.from_numpy(factors.astype(np.float32)) if jitter.any() else None,
        corner,
        config.crop_pixels,
        still=not config.crop and not config.rotation_degrees and config.scale == (1.0, 1.0),
        grey=grey,
        erased=_rectangles(config, batch, rng) if config.erase else None,
    )


def _rectangles(config: Augment, batch: int, rng: np.random.Generator) -> Tensor:
    """Those of ``Draw.erased``; every place within the image is as likely."""
    side = rng.uniform(*config.erase_side, (batch, 2))
    first = rng.random((batch, 2)) * (1 - side)
    found = np.concatenate([first, first + side], axis=1) * (rng.random((batch, 1)) < config.erase)
    return torch.from_numpy(found.astype(np.float32))


def to_float(images: Tensor) -> Tensor:
    """uint8 (b, 3, H, W) in 0..255 -> float in [-1, 1]."""
    return images.float().div_(127.5).sub_(1)


def apply(images: Tensor, drawn: Draw) -> Tensor:
    """Augment uint8 images (b, 3, H, W); float in [-1, 1] comes back, (b, 3, H, W) or (b, 3, pixels, pixels)."""
    x = to_float(images)
    if drawn.still:
        mirrored = drawn.mirrored.nonzero()[:, 0].to(x.device, non_blocking=True)
        x.index_copy_(0, mirrored, x.index_select(0, mirrored).flip(3))
    else:
        geometry = drawn.geometry.to(x.device, non_blocking=True)
        grid = F.affine_grid(geometry, list(x.shape), align_corners=False)
        x = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if drawn.corner is not None:
        x = _windows(x, drawn.corner.to(x.device, non_blocking=True), drawn.pixels)
    if drawn.colour is not None:
        x = _coloured(x, drawn.colour.to(x.device, non_blocking=True))
    if drawn.grey is not None:
        x = torch.where(drawn.grey.to(x.device, non_blocking=True)[:, None, None, None], _grey(x), x)
    return x if drawn.erased is None else _erased(x, drawn.erased.to(x.device, non_blocking=True))


def _windows(x: Tensor, corner: Tensor, pixels: int) -> Tensor:
    """A window (b, 3, pixels, pixels) of each image; every place is as likely."""
    places = corner.new_tensor([x.shape[2] - pixels + 1, x.shape[3] - pixels + 1])
    top, left = (corner * places).long().unbind(1)
    span = torch.arange(pixels, device=x.device)
    image = torch.arange(len(x), device=x.device)[:, None, None]
    rows, columns = (top[:, None] + span)[:, :, None], (left[:, None] + span)[:, None, :]
    return x[image, :, rows, columns].permute(0, 3, 1, 2)


def _erased(x: Tensor, rectangle: Tensor) -> Tensor:
    """Middle grey within rectangles (b, 4): the pixels whose centres lie in them."""
    top, left, bottom, right = rectangle[:, :, None].unbind(1)
    down, across = ((torch.arange(n, device=x.device) + 0.5) / n for n in x.shape[2:])
    rows, columns = (top <= down) & (down < bottom), (left <= across) & (across < right)
    return x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def _coloured(x: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast and saturation, in that order, by factors (b, 3)."""
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(1)
    x = (x + 1) * brightness - 1
    # the mean of what is seen as grey, as everywhere else: a plain mean gives blue as much weight as green
    x = torch.lerp(_grey(x).mean((2, 3), keepdim=True), x, contrast)
    return torch.lerp(_grey(x), x, saturation).clamp(-1, 1)


def _grey(x: Tensor) -> Tensor:
    """Luma (b, 1, H, W) of ITU-R BT.601."""
    return (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
