"""Distance between two sets of images as a network sees them: each set a Gaussian of its features.

d² = ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½), Fréchet (1957); Heusel et al. (2017) for images. On Inception's ImageNet
features its name is FID; on features of another network, as here, it is not FID and compares with no published one.
It is biased upwards by small sets: compare rows of the same number of images, and look at what real images give.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from stargan_ray.errors import InputError
from stargan_ray.evaluation.intervals import CONFIDENCE, Estimate

FloatArray = npt.NDArray[np.float64]
ROUNDS = 50


def frechet_distance(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """d² of two sets of features (n, d) and (m, d), at least two of each.

    Raises:
        InputError: a set is too small, or the widths differ.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if min(len(a), len(b)) < 2 or a.shape[1] != b.shape[1]:
        raise InputError(f"features {a.shape} and {b.shape}: allowed are at least 2 rows each, of one width")
    covariances = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    # tr((Σ₁Σ₂)^½) is the sum of the roots of the eigenvalues; rounding leaves imaginary and negative crumbs
    roots = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(min=0)).sum()
    gap = np.square(a.mean(0) - b.mean(0)).sum()
    return float(max(0.0, gap + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * roots))


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
    value = _mean_over_domains(features, targets, real, labels)
    if math.isnan(value):
        return Estimate(math.nan, math.nan, math.nan, 0)
    names, of_row = np.unique(persons, return_inverse=True)
    rows = [np.flatnonzero(of_row == k) for k in range(len(names))]
    generator = np.random.default_rng(seed)
    again = []
    for _ in range(ROUNDS):
        chosen = np.concatenate([rows[k] for k in generator.integers(len(names), size=len(names))])
        again.append(_mean_over_domains(features[chosen], targets[chosen], real, labels))
    half = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * float(np.nanstd(again))
    return Estimate(value, max(0.0, value - half), value + half, len(features))


def _mean_over_domains(
    features: FloatArray, targets: npt.NDArray[np.int64], real: FloatArray, labels: npt.NDArray[np.int64]
) -> float:
    """NaN where no domain has two images on both sides."""
    found = []
    for domain in np.unique(targets):
        made, there = features[targets == domain], real[labels == domain]
        if min(len(made), len(there)) >= 2:
            found.append(frechet_distance(made, there))
    return float(np.mean(found)) if found else math.nan
