"""A worker's share of a step as the method gets it: augmented, cut for accumulation, with its own noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stargan_ray.config import Recipe
from stargan_ray.data import transforms
from stargan_ray.methods.base import Batch

_ROLES = ("source", "reference", "reference2")
Part = tuple[Batch, Callable[[str, int], Tensor]]


def cut(recipe: Recipe, raw: Batch, lanes: Sequence[int], step: int) -> list[Part]:
    """The parts of a worker's share, each with the noise that belongs to it (``Step.normal``).

    Augmentation and noise are drawn for the global batch from (seed, step): they depend neither on the number of
    workers nor on that of the parts.

    Args:
        recipe: of the run.
        raw: what ``Batches`` yields, on the device.
        lanes: that the worker serves, side by side.
        step: iterations done.
    """
    shape, seed = recipe.data.shape, recipe.train.seed
    start = lanes[0] * shape.share
    mine = len(lanes) * shape.share
    batch = dict(raw)
    for salt, role in enumerate(_ROLES):
        if role in batch:
            drawn = transforms.draw(recipe.data.augment, shape.batch, (seed, step, salt)).rows(start, start + mine)
            batch[role] = transforms.apply(batch[role], drawn)
            if (stored := f"{role}_embedding") in batch:
                batch[stored] = drawn.of_view(batch[stored])
    device = batch["source"].device
    each = mine // recipe.train.accumulate
    parts: list[Part] = []
    for rows in (slice(at, at + each) for at in range(0, each * recipe.train.accumulate, each)):
        noise = _Noise(seed, step, shape.batch, slice(start + rows.start, start + rows.stop), device)
        parts.append(({name: value[rows] for name, value in batch.items()}, noise))
    return parts


@dataclass(frozen=True)
class _Noise:
    """Standard normal numbers of a step: drawn for the global batch, cut to a part of it."""

    seed: int
    step: int
    batch: int
    rows: slice
    device: torch.device

    def __call__(self, name: str, width: int) -> Tensor:
        rng = np.random.default_rng((self.seed, self.step, *name.encode()))
        numbers = rng.standard_normal((self.batch, width), dtype=np.float32)[self.rows]
        return torch.from_numpy(numbers).to(self.device, non_blocking=True)
