"""What translations are compared by: FID's own Inception and LPIPS, or the features of a judge in their place.

The published names belong to the published networks alone: on any other, a figure says whose features it is of.
Inception's and LPIPS's code is torch-fidelity's and torchmetrics'; nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.errors import InputError
from stargan_ray.evaluation.diversity import Distance
from stargan_ray.evaluation.judging import Judge

INSTALL = "torchmetrics and torch-fidelity are not installed: pip install 'stargan-ray[metrics]'"
_PUBLISHED = {"frechet": "FID", "kernel": "KID", "diversity": "LPIPS"}


@dataclass(frozen=True)
class FeatureNetworks:
    """Networks of the distances.

    Attributes:
        features: images (b, 3, H, W) in [-1, 1] -> (b, f), for the Fréchet and the kernel distance.
        distance: perceptual distance of two batches of images, (b,).
        names: what the figures ``frechet``, ``kernel`` and ``diversity`` are called.
        content_hash: SHA-256 of the weights of both.
    """

    features: Judge
    distance: Distance
    names: Mapping[str, str] = field(hash=False)
    content_hash: str


class Inception(nn.Module):
    """The Inception of FID, with resizing and scaling as in the original graph.

    Args:
        weights: its state dict as torch-fidelity publishes it (``weights-inception-2015-12-05-6726825d.pth``).
        layer: ``2048`` as published, or ``64``, ``192`` or ``768``.

    Raises:
        InputError: the weights are of another network, or torch-fidelity is not installed.
    """

    def __init__(self, weights: Mapping[str, Tensor], layer: str = "2048") -> None:
        super().__init__()
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise InputError(INSTALL) from error
        with tempfile.TemporaryDirectory() as folder:
            # The library reads a file and would run code in it: it gets one that is written here, of tensors alone.
            file = Path(folder) / "inception.pth"
            torch.save(dict(weights), file)
            try:
                self.network = FeatureExtractorInceptionV3("inception", [layer], str(file))
            except RuntimeError as error:
                raise InputError(f"not the weights of FID's Inception: {_brief(error)}") from error
        self.network.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (b, 3, H, W) in [-1, 1], seen as bytes, to features (b, f)."""
        (found,) = self.network(to_bytes(images))
        return found


class Lpips(nn.Module):
    """LPIPS on AlexNet, version 0.1: the linear heads ship with torchmetrics.

    Args:
        weights: torchvision's state dict of AlexNet (``alexnet-owt-7be5be79.pth``).

    Raises:
        InputError: the weights are of another network, or torchmetrics is not installed.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        try:
            from torchmetrics.functional.image.lpips import _LPIPS
        except ImportError as error:
            raise InputError(INSTALL) from error
        self.network = _LPIPS(net="alex", pnet_rand=True)
        slices = {layer: part for part in self.network.net.children() for layer in part._modules}
        ours = {name for name in weights if name.startswith("features.")}
        wanted = {f"features.{k}.{n}": p for k, part in slices.items() for n, p in part._modules[k].named_parameters()}
        wrong = [name for name, p in wanted.items() if name not in ours or weights[name].shape != p.shape]
        if wrong or ours - wanted.keys():
            raise InputError(f"not the weights of AlexNet: {sorted(wrong or ours - wanted.keys())[0]} does not fit")
        for name, parameter in wanted.items():
            parameter.data.copy_(weights[name])
        self.network.eval().requires_grad_(False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances (b,) of images (b, 3, H, W) in [-1, 1]."""
        return self.network(first, second).flatten()


@dataclass(frozen=True)
class FeatureDistance:
    """Squared L2 between unit features of two batches, in [0, 4]: a perceptual distance of whoever sees them."""

    features: Judge

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances (b,) of images (b, 3, H, W) in [-1, 1]."""
        one, other = (F.normalize(self.features(images).flatten(1)) for images in (first, second))
        return (one - other).square().sum(1)


def names_of(*, inception: bool, lpips: bool, judge: str) -> dict[str, str]:
    """What the figures are called, each by its published name only on its published network."""
    mine = {
        "frechet": f"Fréchet distance on {judge}",
        "kernel": f"kernel distance on {judge}",
        "diversity": f"perceptual distance on {judge}",
    }
    published = {"frechet": inception, "kernel": inception, "diversity": lpips}
    return {figure: _PUBLISHED[figure] if published[figure] else mine[figure] for figure in mine}


def to_bytes(images: Tensor) -> Tensor:
    """Images in [-1, 1] as the uint8 of an image file."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def weights_hash(*networks: nn.Module) -> str:
    """SHA-256 of the tensors of networks, in their order."""
    digest = hashlib.sha256()
    for network in networks:
        for name, tensor in sorted(network.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
