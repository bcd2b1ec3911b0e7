"""The mean of 2 × 2 pixels, in the form that the device has a fast kernel for."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def halved(x: Tensor) -> Tensor:
    """Mean of 2 × 2 pixels: (b, C, H, W) -> (b, C, H/2, W/2), H and W even.

    On a GPU pooling with channels last, forwards and backwards, takes nearly five times as long as the mean of a view
    (``docs/LOG.md``); on a processor the view takes two to four times as long as pooling.
    """
    if x.is_cuda and x.is_contiguous(memory_format=torch.channels_last):
        return mean_of_view(x)
    return F.avg_pool2d(x, 2)


def mean_of_view(x: Tensor) -> Tensor:
    """The same for a map with channels last, without a copy; the result has them last too."""
    b, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1).view(b, height // 2, 2, width // 2, 2, channels)
    return pixels.mean((2, 4)).permute(0, 3, 1, 2)
