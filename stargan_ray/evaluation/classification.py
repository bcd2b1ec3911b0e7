"""How good an expression classifier is, and how far its confidence can be believed.

Probabilities are (n, K) over the K classes, rows summing to 1; labels are (n,) in [0, K).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stargan_ray.evaluation import expression
from stargan_ray.evaluation.intervals import Estimate, proportion, wilson

FloatArray = npt.NDArray[np.float64]
_LEAST = 1e-12  # a probability of exactly 0 would make one row decide the log loss
_BINS = 15
_COLDEST, _HOTTEST = 0.05, 20.0


@dataclass(frozen=True)
class ClassScores:
    """One class: shares of right rows among those called it, and among those that are it."""

    rows: int
    precision: Estimate
    recall: Estimate
    f1: float


@dataclass(frozen=True)
class ClassifierScores:
    """A classifier on n labelled images.

    Attributes:
        accuracy: share whose likeliest class is the label.
        macro_f1: mean F1 over the classes that have rows.
        log_loss: mean −ln p(label), in nats.
        calibration_error: see :func:`calibration_error`, in [0, 1].
        by_class: name -> scores, of the classes that have rows.
        confusion: (K, K) counts, row = label, column = seen.
    """

    rows: int
    accuracy: Estimate
    macro_f1: float
    log_loss: float
    calibration_error: float
    by_class: dict[str, ClassScores]
    confusion: npt.NDArray[np.int64]

    def section(self) -> dict[str, Any]:
        """The scores as nested JSON values and estimates."""
        by_class = {name: vars(scores) for name, scores in self.by_class.items()}
        return {**vars(self), "by_class": by_class, "confusion": self.confusion.tolist()}


def judge_classifier(probabilities: npt.ArrayLike, labels: npt.ArrayLike, classes: Sequence[str]) -> ClassifierScores:
    """Score probabilities against labels.

    Raises:
        InputError: there are no rows, or shapes or labels do not fit.
    """
    given, wanted = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    right = expression.hits(given, wanted)
    counts = expression.confusion(given, wanted)
    by_class = {name: _of_class(counts, k) for k, name in enumerate(classes) if counts[k].sum()}
    return ClassifierScores(
        rows=len(wanted),
        accuracy=proportion(right),
        macro_f1=float(np.mean([scores.f1 for scores in by_class.values()])),
        log_loss=log_loss(given, wanted),
        calibration_error=calibration_error(given, wanted),
        by_class=by_class,
        confusion=counts,
    )


def _of_class(counts: npt.NDArray[np.int64], k: int) -> ClassScores:
    hit, called, rows = int(counts[k, k]), int(counts[:, k].sum()), int(counts[k].sum())
    return ClassScores(rows, wilson(hit, called), wilson(hit, rows), 2 * hit / (called + rows))


def log_loss(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Mean −ln p(label) in nats."""
    given, wanted = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    return float(-np.log(np.maximum(given[np.arange(len(wanted)), wanted], _LEAST)).mean())


def calibration_error(probabilities: npt.ArrayLike, labels: npt.ArrayLike, bins: int = _BINS) -> float:
    """Expected calibration error (Guo et al., ICML 2017, eq. 3): Σ_b n_b / n · |accuracy_b − confidence_b|.

    Args:
        probabilities: (n, K).
        labels: (n,).
        bins: of equal width over the confidence, the probability of the likeliest class.
    """
    given, wanted = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    confidence, right = given.max(1), given.argmax(1) == wanted
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(place, right - confidence, minlength=bins)  # n_b · (accuracy_b − confidence_b)
    return float(np.abs(gap).sum() / len(wanted))


def tempered(probabilities: npt.ArrayLike, temperature: float) -> FloatArray:
    """Probabilities ∝ p^(1/T): above 1 a temperature takes confidence away; the likeliest class stays."""
    logits = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _LEAST)) / temperature
    raised: FloatArray = np.exp(logits - logits.max(1, keepdims=True))
    normalised: FloatArray = raised / raised.sum(1, keepdims=True)
    return normalised


def fit_temperature(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """The temperature in [0.05, 20] of the least log loss (Guo et al., section 4.2); fit it on validation rows."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log_t: log_loss(tempered(probabilities, float(np.exp(log_t))), labels),
        bounds=(np.log(_COLDEST), np.log(_HOTTEST)),
        method="bounded",
    )
    return float(np.exp(found.x))
