"""What the supporting networks share: their input size, and trunks of any family by timm name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.errors import InputError


@dataclass(frozen=True)
class View:
    """How a network looks at an image, whatever the image's size; differentiable, without parameters.

    Attributes:
        size: pixels that the network works at.
        centre: share of the image's side around its centre that is looked at; below 1 leaves the background
            and the hair out, which say nothing about an expression.
        grey: whether colour is left out; for a network trained on grey data (FER2013) that meets colour.
        cut: share of the side of a whole image that the network's ``size`` pixels are; below 1 for a network that
            trained on windows (44 of 48 pixels). An image of ``size`` pixels is such a window, of any other the central
            one is looked at: at 48 pixels it is one of those that training saw, without resampling, and at 256 the
            face is as large in it as in training.
        standardize: whether each image gets mean 0 and variance 1, which takes most of the light out.
    """

    size: int
    centre: float = 1.0
    grey: bool = False
    standardize: bool = False
    cut: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what no network here can look at."""
        if self.size < 32:
            raise InputError(f"input_size = {self.size}: allowed are values >= 32")
        if not 0.25 <= self.centre <= 1:
            raise InputError(f"centre = {self.centre}: allowed is 0.25 to 1 (1 = the whole image)")
        if not 0.25 <= self.cut <= 1:
            raise InputError(f"cut = {self.cut}: allowed is 0.25 to 1 (1 = the network takes whole images)")

    def __call__(self, image: Tensor) -> Tensor:
        """Images (b, 3, H, W) in [-1, 1] to (b, 3, size, size), in the same range unless standardised."""
        if image.shape[2:] != (self.size, self.size):
            image = _central(image, self.cut)
        image = _central(image, self.centre)
        if self.grey:
            luma = image.new_tensor([0.299, 0.587, 0.114])[:, None, None]
            image = (image * luma).sum(1, keepdim=True).expand(-1, 3, -1, -1)
        image = fit(image, self.size)
        if self.standardize:
            # the constant keeps a flat image flat: it has no contrast to normalise
            deviation, mean = torch.std_mean(image, (1, 2, 3), keepdim=True)
            image = (image - mean) / (deviation + 0.05)
        return image


def _central(image: Tensor, share: float) -> Tensor:
    """The central part of images (b, 3, H, W), ``share`` of each side."""
    high, wide = image.shape[2:]
    top, left = round(high * (1 - share) / 2), round(wide * (1 - share) / 2)
    return image[:, :, top : high - top, left : wide - left]


def fit(image: Tensor, size: int) -> Tensor:
    """Resize images (b, 3, H, W) to (b, 3, size, size), antialiased, unless they have that size already.

    Bilinear weights are a convex combination, so the range [-1, 1] is kept; gradients reach the image. What
    comes back is stored channels last, which the convolutions after it keep: Xception trains 1.6 times as fast
    on a CPU core.
    """
    if image.shape[2:] != (size, size):
        # the antialiased kernel has no half precision on the CPU
        wide = image if image.dtype == torch.float64 else image.float()
        small = F.interpolate(wide, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
        image = small.to(image.dtype)
    return image.contiguous(memory_format=torch.channels_last)


def timm_trunk(name: str) -> tuple[nn.Module, int]:
    """A convolutional timm model without its head and with random weights, and the width of its features.

    It maps (b, 3, H, W) to (b, features). Random weights on purpose: what a judge has seen must be known.
    """
    import timm  # takes seconds to import: only who builds a network pays

    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:3]
        hint = f", for example {', '.join(near)}" if near else ""
        raise InputError(f"backbone {name!r}: allowed are the names of timm.list_models(){hint}")
    trunk: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, in_chans=3)
    # timm's num_features is the last stage; some heads (MobileNetV3) widen it before the classifier
    features = getattr(trunk, "head_hidden_size", None) or trunk.num_features
    return trunk, int(features)  # type: ignore[arg-type]  # timm types attributes of nn.Module as Tensor | Module
