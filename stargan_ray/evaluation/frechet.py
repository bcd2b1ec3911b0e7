"""Distance between two sets of images as a network sees them: each set a Gaussian of its features.

d² = ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½), Fréchet (1957); Heusel et al. (2017) for images. On Inception's ImageNet
features its name is FID; on features of another network, as here, it is not FID and compares with no published one.
It is biased upwards by small sets: compare rows of the same number of images, and look at what real images give.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from stargan_ray.errors import InputError
from stargan_ray.evaluation.intervals import CONFIDENCE, Estimate

FloatArray = npt.NDArray[np.float64]
ROUNDS = 50


@dataclass(frozen=True)
class Gaussian:
    """A set of features as its mean and covariance, with a root of the latter, since it is compared many times.

    Attributes:
        mean: (d,).
        covariance: (d, d), unbiased.
    """

    mean: FloatArray
    covariance: FloatArray

    @staticmethod
    def of(features: npt.ArrayLike) -> Gaussian:
        """Of features (n, d), at least two.

        Raises:
            InputError: there are fewer.
        """
        rows = np.asarray(features, dtype=np.float64)
        if len(rows) < 2:
            raise InputError(f"features {rows.shape}: allowed are at least 2 rows")
        return Gaussian(rows.mean(0), np.atleast_2d(np.cov(rows, rowvar=False)))

    @cached_property
    def root(self) -> FloatArray:
        """R (d, d) with R Rᵀ the covariance."""
        values, vectors = np.linalg.eigh(self.covariance)
        root: FloatArray = vectors * np.sqrt(values.clip(min=0))  # rounding leaves negative crumbs
        return root

    def distance(self, other: Gaussian) -> float:
        """d² to another Gaussian of the same width.

        The eigenvalues of Σ₁ Σ₂ are those of Rᵀ Σ₁ R with Σ₂ = R Rᵀ, which is symmetric: they come ten times as fast
        as those of the product, without imaginary crumbs, and ``other``'s root is made once.
        """
        inner = np.linalg.eigvalsh(other.root.T @ self.covariance @ other.root)
        gap = np.square(self.mean - other.mean).sum()
        traces = np.trace(self.covariance) + np.trace(other.covariance)
        return float(max(0.0, gap + traces - 2 * np.sqrt(inner.clip(min=0)).sum()))


def frechet_distance(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """d² of two sets of features (n, d) and (m, d), at least two of each.

    Raises:
        InputError: a set is too small, or the widths differ.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if min(len(a), len(b)) < 2 or a.shape[1] != b.shape[1]:
        raise InputError(f"features {a.shape} and {b.shape}: allowed are at least 2 rows each, of one width")
    return Gaussian.of(a).distance(Gaussian.of(b))


def by_domain(
    features: FloatArray,
    targets: npt.NDArray[np.int64],
    persons: npt.NDArray[np.generic],
    real: FloatArray,
    labels: npt.NDArray[np.int64],
    *,
    seed: int = 0,
) -> Estimate:
    """Mean over the domains of d² between what was made for a domain and what is real of it.

    Per domain, since over all of them at once copies of the input would be perfect. The interval is the value ± its
    standard deviation over resampled people times the normal quantile.

    Args:
        features: (n, d) of the translations.
        targets: (n,) the domains that they were made for.
        persons: (n,) whom they show.
        real: (m, d) of real images.
        labels: (m,) their domains.
        seed: of the resampling.
    """
    there = {k: Gaussian.of(real[labels == k]) for k in np.unique(targets) if (labels == k).sum() >= 2}
    value = _mean_over_domains(features, targets, there)
    if math.isnan(value):
        return Estimate(math.nan, math.nan, math.nan, 0)
    names, of_row = np.unique(persons, return_inverse=True)
    generator = np.random.default_rng(seed)
    drawn = [np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names)) for _ in range(ROUNDS)]
    weights = np.stack(drawn)[:, of_row].astype(np.float64)
    # Small matrices gain nothing from threads of BLAS, which get in the way of ours: three times slower.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(torch.get_num_threads()) as executor:
        again = list(
            executor.map(lambda k: _resampled(features[targets == k], weights[:, targets == k], there[k]), there)
        )
    half = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * float(np.std(np.nanmean(again, axis=0)))
    return Estimate(value, max(0.0, value - half), value + half, len(features))


def _resampled(features: FloatArray, weights: FloatArray, real: Gaussian) -> FloatArray:
    """d² (r,) of the features (n, d), each row taken as often as one of r resamples (r, n) says; NaN for a single row.

    All covariances are made from the same products, and all their eigenvalues found in one call.
    """
    total = weights.sum(1)
    centred = features - features.mean(0)  # sums of squares lose no digits to a large mean
    means = weights @ centred / np.maximum(total, 1)[:, None]
    factor = np.where(total >= 2, 1 / np.maximum(total - 1, 1), np.nan)
    spread = (weights @ np.square(centred).sum(1) - total * np.square(means).sum(1)) * factor
    seen, middle = centred @ real.root, means @ real.root
    inner = (seen.T[None] * weights[:, None]) @ seen - total[:, None, None] * middle[:, :, None] * middle[:, None]
    shared = np.linalg.eigvalsh(inner) * factor[:, None]
    gap = np.square(means + features.mean(0) - real.mean).sum(1)
    found: FloatArray = gap + spread + np.trace(real.covariance) - 2 * np.sqrt(shared.clip(min=0)).sum(1)
    return found.clip(min=0)


def _mean_over_domains(features: FloatArray, targets: npt.NDArray[np.int64], real: Mapping[int, Gaussian]) -> float:
    """NaN where no domain has two images on both sides."""
    made = {domain: features[targets == domain] for domain in real}
    found = [Gaussian.of(rows).distance(real[domain]) for domain, rows in made.items() if len(rows) >= 2]
    return float(np.mean(found)) if found else math.nan
