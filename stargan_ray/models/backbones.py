"""What the supporting networks share: their input size, and trunks of any family by timm name."""

from __future__ import annotations

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.errors import InputError


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
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:3]
        hint = f", for example {', '.join(near)}" if near else ""
        raise InputError(f"backbone {name!r}: allowed are the names of timm.list_models(){hint}")
    trunk: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, in_chans=3)
    # timm's num_features is the last stage; some heads (MobileNetV3) widen it before the classifier
    features = getattr(trunk, "head_hidden_size", None) or trunk.num_features
    return trunk, int(features)  # type: ignore[arg-type]  # timm types attributes of nn.Module as Tensor | Module
