"""bf16 on processors that have no arithmetic for it: what a GPU computes, at the speed of fp32.

PyTorch's own bf16 convolutions take forty times as long as fp32 there. A matrix unit multiplies bf16 numbers exactly,
adds in fp32 and rounds the sum; so does fp32 arithmetic on the same numbers whose results are rounded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

_ATEN = torch.ops.aten
_PRODUCTS = {
    _ATEN.convolution.default,
    _ATEN.convolution_backward.default,
    _ATEN.mm.default,
    _ATEN.addmm.default,
    _ATEN.bmm.default,
    _ATEN.baddbmm.default,
}


class RoundedProducts(TorchDispatchMode):
    """While it is entered, convolutions and matrix products of bf16 numbers are computed in fp32 and rounded."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Widen, compute, round; everything else as it is."""
        narrow = func in _PRODUCTS and any(isinstance(a, Tensor) and a.dtype == torch.bfloat16 for a in args)
        if not narrow:
            return func(*args, **(kwargs or {}))
        wide = tree_map_only(Tensor, Tensor.float, (args, kwargs or {}))
        return tree_map_only(Tensor, Tensor.bfloat16, func(*wide[0], **wide[1]))


def has_bf16() -> bool:
    """Whether this processor computes in bf16 by itself."""
    available: Callable[[], bool] = torch.backends.mkldnn.is_available
    return available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def rounded(device: torch.device, bf16: bool) -> contextlib.AbstractContextManager[object]:
    """``RoundedProducts`` for forward and backward passes in bf16 on a processor without it, and nothing elsewhere."""
    if not bf16 or device.type != "cpu" or has_bf16():
        return contextlib.nullcontext()
    make: Callable[[], contextlib.AbstractContextManager[object]] = RoundedProducts
    return make()
