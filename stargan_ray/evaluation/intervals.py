"""Intervals: how far a measured number can be trusted.

Every figure of a report is an :class:`Estimate`. Images of one person are not independent, so whatever is
averaged over images is resampled by person (cluster bootstrap; Field and Welsh, 2007), and a share's sample
size is corrected for it, where people are given. All intervals are 95 % unless told otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from stargan_ray.errors import InputError

CONFIDENCE = 0.95
ROUNDS = 2000  # bootstrap rounds: the ends of a 95 % interval then move by about 2 % of its width between seeds
_BLOCK = 1 << 22  # resampling weights held at once (32 MiB)


@dataclass(frozen=True)
class Estimate:
    """A measured number with its interval.

    Attributes:
        value: what was measured; NaN where there was nothing to measure (``n`` = 0).
        low, high: ends of the interval.
        n: how many images, rows or pairs it was measured on.
    """

    value: float
    low: float
    high: float
    n: int


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """A proportion of independent trials with its score interval (Wilson, 1927).

    Unlike value ± 2 s.e. it stays within [0, 1] and has a width at 0 and 1. Nothing tried (``n`` = 0) gives
    NaN within [0, 1].

    Args:
        successes: in [0, n].
        n: trials.
        confidence: in (0, 1).

    Raises:
        InputError: If the counts are impossible.
    """
    if n < 0 or not 0 <= successes <= n:
        raise InputError(f"{successes} of {n} is no proportion: allowed are counts with 0 <= successes <= n")
    if n == 0:
        return Estimate(math.nan, 0.0, 1.0, 0)
    return Estimate(successes / n, *score_interval(successes / n, n, confidence), n)


def score_interval(share: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Ends of Wilson's interval for a share of n trials.

    Args:
        share: in [0, 1].
        n: > 0, not necessarily whole: an effective number of trials; infinite = the share is known.
        confidence: in (0, 1).
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # The ends are exact at 0 and 1, where rounding would leave 1e-17.
    return (centre - half if share > 0 else 0.0), (centre + half if share < 1 else 1.0)


def proportion(hits: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> Estimate:
    """A share of hits with Wilson's interval, at the effective number of trials where groups are given.

    Images of one person that agree count for less: n is replaced by p(1 − p) / var(p), with the variance
    between the groups and a t quantile for their number (Korn and Graubard, 1998; with Wilson's interval:
    Franco et al., 2019). Where all hits agree, n is the number of groups. A single group says nothing of
    others: [0, 1].

    Args:
        hits: (n,) bool.
        groups: (n,) the person of each image, or None.
    """
    from scipy.stats import t  # slow to import, and most of the package never needs it

    flags = np.asarray(hits, dtype=bool)
    right, n = int(flags.sum()), len(flags)
    if groups is None or n == 0:
        return wilson(right, n)
    sums, counts = _by_group(flags.astype(np.float64), groups)
    size, share = len(sums), right / n
    if size == 1:
        return Estimate(share, 0.0, 1.0, n)
    effective = float(size)
    if 0 < right < n:
        variance = size / (size - 1) * float(np.square(sums - share * counts).sum()) / n**2
        shrink = (NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) / float(t.ppf(0.5 + CONFIDENCE / 2, size - 1))) ** 2
        # Groups that happen to be equal (variance 0) do not make more trials than there are images.
        effective = min(float(n), shrink * share * (1 - share) / max(variance, 1e-12))
    return Estimate(share, *score_interval(share, effective, CONFIDENCE), n)


def bootstrap_mean(
    values: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    confidence: float = CONFIDENCE,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Estimate:
    """A mean with its bootstrap interval, resampled by group where groups are given.

    The interval is the percentile interval widened for few groups (Hesterberg, 2015, section 5.3): a plain
    one is too narrow by √((G − 1)/G) and by the ratio of the normal to the t quantile.

    Args:
        values: (n,) one number an image.
        groups: (n,) the person of each image, any comparable values; None = every value is its own group.
        confidence: in (0, 1).
        rounds: resamples.
        seed: of the resampling; the same seed gives the same interval.

    Raises:
        InputError: If there are fewer than two groups or a value is not finite.
    """
    from scipy.stats import t

    numbers = np.asarray(values, dtype=np.float64)
    sums, counts = _by_group(numbers, groups)
    size = len(sums)
    if size < 2:
        raise InputError(f"an interval needs at least 2 groups (people), got {size}")
    if not np.isfinite(numbers).all():
        raise InputError(f"{int((~np.isfinite(numbers)).sum())} of {len(numbers)} values are not finite")
    means = [(weights @ sums) / (weights @ counts) for weights in _resamples(size, rounds, seed)]
    quantile = float(t.ppf(0.5 - confidence / 2, size - 1)) * math.sqrt(size / (size - 1))
    tail = NormalDist().cdf(quantile)
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Estimate(float(numbers.mean()), float(low), float(high), len(numbers))


def proportion_difference(first: Estimate, second: Estimate) -> Estimate:
    """First minus second, two independent proportions with Wilson intervals (Newcombe, 1998, method 10)."""
    gap = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(gap, gap - below, gap + above, min(first.n, second.n))


def paired_difference(
    first: npt.ArrayLike, second: npt.ArrayLike, groups: npt.ArrayLike | None = None, *, seed: int = 0
) -> Estimate:
    """Mean of first − second, measured on the same images, resampled by group.

    Args:
        first: (n,) one number an image.
        second: (n,) the same images in the same order.
        groups: (n,) the person of each image, or None.
        seed: of the resampling.

    Raises:
        InputError: If the lengths differ, or as :func:`bootstrap_mean`.
    """
    ours, theirs = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if ours.shape != theirs.shape:
        raise InputError(f"a paired difference needs the same images: got {ours.shape} and {theirs.shape}")
    return bootstrap_mean(ours - theirs, groups, seed=seed)


def is_above(difference: Estimate, bar: float = 0.0) -> bool:
    """Whether a difference exceeds the bar by more than its interval."""
    return difference.low > bar


def _resamples(size: int, rounds: int, seed: int) -> Iterable[npt.NDArray[np.int64]]:
    """How often each of the groups is drawn, (rounds, size) in blocks; kept where it is one block.

    An evaluation asks for dozens of intervals over the same people, and drawing costs more than all else in them.
    """
    return _kept(size, rounds, seed) if size * rounds <= _BLOCK else _drawn(size, rounds, seed)


@lru_cache(maxsize=4)
def _kept(size: int, rounds: int, seed: int) -> tuple[npt.NDArray[np.int64], ...]:
    return tuple(_drawn(size, rounds, seed))


def _drawn(size: int, rounds: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    for start in range(0, rounds, block := max(1, _BLOCK // size)):
        yield generator.multinomial(size, np.full(size, 1 / size), size=min(block, rounds - start))


def _by_group(values: npt.NDArray[Any], groups: npt.ArrayLike | None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Sum and count of the values of each group, (G,) and (G,)."""
    if groups is None:
        return values, np.ones(len(values))
    names = np.asarray(groups)
    if names.shape != values.shape:
        raise InputError(f"a group is needed for every value: got {names.shape} groups and {values.shape} values")
    _, index = np.unique(names, return_inverse=True)
    return np.bincount(index, weights=values), np.bincount(index).astype(np.float64)
