"""Kernel distance between two sets of images as a network sees them (Binkowski et al., 2018).

The squared maximum mean discrepancy under k(x, y) = (x·y / d + 1)³. Its estimate is unbiased, so sets of different
sizes compare, and it can fall below 0. On Inception's ImageNet features its name is KID; on others it is not.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from stargan_ray.errors import InputError
from stargan_ray.evaluation.intervals import CONFIDENCE, Estimate

SUBSETS = 100
LARGEST = 1000  # images of a subset, as published
_DEGREE = 3


def squared_mmd(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Unbiased MMD² of two sets of features (n, d) and (m, d), at least two of each.

    Raises:
        InputError: a set is too small, or the widths differ.
    """
    a, b = _checked(first, second)
    within = sum((_kernel(x, x).sum() - np.trace(_kernel(x, x))) / (len(x) * (len(x) - 1)) for x in (a, b))
    return float(within - 2 * _kernel(a, b).mean())


def kernel_distance(
    first: npt.ArrayLike, second: npt.ArrayLike, *, subsets: int = SUBSETS, largest: int = LARGEST, seed: int = 0
) -> Estimate:
    """Mean MMD² over random subsets of both sets; the interval is that mean ± their spread times the normal quantile.

    A subset has at most half of the smaller set, since subsets that are the whole set would not spread.

    Args:
        first: (n, d).
        second: (m, d).
        subsets: how many, at least 2.
        largest: images of a subset of either set.
        seed: of the subsets.

    Raises:
        InputError: as ``squared_mmd``, or there are fewer than two subsets.
    """
    a, b = _checked(first, second)
    if subsets < 2 or largest < 2:
        raise InputError(f"subsets = {subsets}, largest = {largest}: allowed are values >= 2")
    size = max(2, min(largest, min(len(a), len(b)) // 2))
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(subsets):
        chosen = (x[generator.choice(len(x), size, replace=False)] for x in (a, b))
        found.append(squared_mmd(*chosen))
    value, half = float(np.mean(found)), NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * float(np.std(found))
    return Estimate(value, value - half, value + half, len(a))


def _kernel(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return (a @ b.T / a.shape[1] + 1) ** _DEGREE


def _checked(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if min(len(a), len(b)) < 2 or a.shape[1] != b.shape[1]:
        raise InputError(f"features {a.shape} and {b.shape}: allowed are at least 2 rows each, of one width")
    return a, b
