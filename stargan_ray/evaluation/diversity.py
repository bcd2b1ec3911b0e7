"""How different the several translations of one source are: mean perceptual distance over all pairs of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stargan_ray.errors import InputError
from stargan_ray.evaluation.intervals import Estimate, bootstrap_mean

# Images (n, 3, H, W) and (n, 3, H, W) in [-1, 1] -> (n,) distances >= 0.
Distance = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def pairwise_distances(outputs: Sequence[Tensor], distance: Distance) -> npt.NDArray[np.float64]:
    """Mean distance between the s translations of each source, (n,).

    Args:
        outputs: s >= 2 batches (n, 3, H, W) in [-1, 1]; the i-th image of each is a translation of the i-th source.
        distance: the perceptual distance.

    Raises:
        InputError: there are fewer than two.
    """
    if len(outputs) < 2:
        raise InputError(f"outputs = {len(outputs)}: diversity needs at least 2 translations of a source")
    pairs = itertools.combinations(outputs, 2)
    return np.mean([distance(one, other).double().cpu().numpy() for one, other in pairs], axis=0)


def diversity(distances: npt.ArrayLike, persons: npt.ArrayLike) -> Estimate:
    """Mean over sources (n,) of ``pairwise_distances``, resampled by the person (n,) that each shows.

    Raises:
        InputError: as ``bootstrap_mean``.
    """
    return bootstrap_mean(distances, persons)
