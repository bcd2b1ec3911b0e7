"""From a distance to the probability that two faces are one person's, and the threshold between same and different.

Both are fitted on validation pairs, half of them of one person, and travel in a model's metadata as validation
metrics. Distances are squared L2 between unit embeddings, in [0, 4].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stargan_ray.errors import InputError
from stargan_ray.evaluation.identity import best_threshold

FloatArray = npt.NDArray[np.float64]
_NAMES = {"threshold": "val/threshold", "slope": "val/calibration_slope", "intercept": "val/calibration_intercept"}


@dataclass(frozen=True)
class Calibration:
    """How an embedder's distances are to be read.

    Attributes:
        threshold: the squared L2 distance below which two faces are called one person's, with the fewest errors.
        slope, intercept: P(same | d) = 1 / (1 + exp(−(intercept + slope · d))), where as many pairs are of one
            person as are of two; the slope is negative for an embedder that has learnt anything.
    """

    threshold: float
    slope: float
    intercept: float

    def probability(self, distance: npt.ArrayLike) -> FloatArray:
        """P(same person), in [0, 1], of squared L2 distances of any shape."""
        from scipy.special import expit

        found: FloatArray = expit(self.intercept + self.slope * np.asarray(distance, dtype=np.float64))
        return found

    def metrics(self) -> dict[str, float]:
        """As validation metrics, the names that :func:`calibration_of` looks for."""
        return {name: getattr(self, field) for field, name in _NAMES.items()}


def fit_calibration(distance: npt.ArrayLike, same: npt.ArrayLike) -> Calibration:
    """The threshold of the fewest errors and the logistic regression of ``same`` on the distance.

    The targets are Platt's, (N₊ + 1)/(N₊ + 2) and 1/(N₋ + 2) instead of 1 and 0 (Platt, 1999): pairs that a
    threshold separates without an error have no finite slope otherwise.

    Args:
        distance: (n,) squared L2 of validation pairs.
        same: (n,) bool; as many of each kind, or the probability is of another share of same-person pairs.

    Raises:
        InputError: If one kind is missing.
    """
    from sklearn.linear_model import LogisticRegression

    gap, match = np.asarray(distance, dtype=np.float64), np.asarray(same, dtype=bool)
    positives, negatives = int(match.sum()), int((~match).sum())
    if not positives or not negatives:
        raise InputError(f"a calibration needs pairs of both kinds, got {positives} of one person, {negatives} of two")
    target = np.where(match, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # Targets between 0 and 1 are two rows each, weighted by the target and its rest.
    fitted = LogisticRegression(C=np.inf).fit(
        np.concatenate([gap, gap])[:, None],
        np.repeat([1, 0], len(gap)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    return Calibration(best_threshold(gap, match), float(fitted.coef_[0, 0]), float(fitted.intercept_[0]))


def calibration_of(meta: Mapping[str, Any]) -> Calibration | None:
    """What a model's metadata says of its distances; None where it was trained without validation pairs.

    Args:
        meta: ``LoadedModel.meta`` or the meta.json of a checkpoint or model folder.
    """
    metrics = meta.get("metrics", {})
    if not all(name in metrics for name in _NAMES.values()):
        return None
    return Calibration(**{field: float(metrics[name]) for field, name in _NAMES.items()})


def calibrated(distance: npt.ArrayLike, meta: Mapping[str, Any]) -> FloatArray:
    """P(same person), in [0, 1], of squared L2 distances of any shape, by a model's metadata.

    Raises:
        InputError: If the metadata has no calibration.
    """
    found = calibration_of(meta)
    if found is None:
        raise InputError(
            f"the model has no calibration of its distances: its metadata lacks {', '.join(_NAMES.values())}; "
            "train it with a validation split that has people of two images"
        )
    return found.probability(distance)
