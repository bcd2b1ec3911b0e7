"""Two figures that are both to be high: which points no other one beats, and one number where one is wanted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stargan_ray.errors import InputError


def pareto_front(points: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which points (n, d) no other one dominates: none is as high in everything and higher in something.

    Args:
        points: higher is better; equal points are on the front together.

    Raises:
        InputError: a value is not finite, or the shape is another.
    """
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise InputError(f"points {values.shape}: allowed are finite values (n, d)")
    as_high = np.all(values[None] >= values[:, None], axis=2)  # [i, j]: j is as high as i in everything
    higher = np.any(values[None] > values[:, None], axis=2)
    front: npt.NDArray[np.bool_] = ~np.any(as_high & higher, axis=1)
    return front


def harmonic_mean(first: float, second: float) -> float:
    """Of two shares in [0, 1]: high only where both are; 0 where one is 0."""
    for value in (first, second):
        if not 0 <= value <= 1:
            raise InputError(f"harmonic mean of {first}, {second}: allowed are shares in [0, 1]")
    return 2 * first * second / (first + second) if first + second else 0.0
