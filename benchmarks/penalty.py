"""D's update with R1 by the critics' convolution (``models/conv.py``) against torch's own second derivatives.

    python benchmarks/penalty.py              32, 64 and 128 px on a core
    python benchmarks/penalty.py cuda 256     on a GPU, at 256 px

StarGAN v2's published discriminator, one step of its real half: logits, gradient by the image, gradient by the weights.
"""

from __future__ import annotations

import sys
from functools import partial

import torch
from torch import Tensor, nn

from measure import alternate, report, throughput  # isort: skip
from stargan_ray.losses import r1_penalty
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.models.conv import CriticConv2d
from stargan_ray.training.loop import placed

BATCHES = {32: 16, 64: 4, 128: 2, 256: 8}


def plain(network: nn.Module) -> nn.Module:
    """The same network with torch's own convolution."""
    for module in network.modules():
        if isinstance(module, CriticConv2d):
            module.__class__ = nn.Conv2d
    return network


def step(network: nn.Module, images: Tensor) -> None:
    """The real half of D's update without its optimiser."""
    real = images.clone().requires_grad_()
    logits = network(real)[:, 0]
    (r1_penalty(logits, real) + logits.mean()).backward()
    network.zero_grad()
    if images.device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure every size and report."""
    torch.set_num_threads(1)
    device = torch.device(sys.argv[1] if len(sys.argv) > 1 else "cpu")
    for size in map(int, sys.argv[2:] or (32, 64, 128)):
        torch.manual_seed(0)
        images = torch.rand(BATCHES[size], 3, size, size, device=device) * 2 - 1
        own, ours = (placed(StarGANv2().networks(size, 8)["discriminator"], device) for _ in range(2))
        seconds = alternate(7, torch=partial(step, plain(own), images), ours=partial(step, ours, images))
        report(
            f"penalty-{size}" + ("-gpu" if device.type == "cuda" else ""),
            f"python benchmarks/penalty.py {device.type} {size}",
            seconds,
            batch=BATCHES[size],
            size=size,
            times_as_fast=throughput(seconds, "ours", "torch"),
            times_as_fast_cpu=throughput(seconds, "ours_cpu", "torch_cpu"),
        )


if __name__ == "__main__":
    main()
