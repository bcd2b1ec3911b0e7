"""Whether a face shows the expression it should, in the eyes of a classifier.

Logits are (n, K) over the K domains. The judge must not have been used in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stargan_ray.errors import InputError
from stargan_ray.evaluation.intervals import Estimate, proportion

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def hits(logits: npt.ArrayLike, labels: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether the strongest logit is the label's, (n,) bool."""
    scores, wanted = _checked(logits, labels)
    right: npt.NDArray[np.bool_] = scores.argmax(1) == wanted
    return right


def accuracy(logits: npt.ArrayLike, labels: npt.ArrayLike, persons: npt.ArrayLike | None = None) -> Estimate:
    """Share of images that show their label (for translations: the target-expression accuracy).

    Args:
        logits: (n, K).
        labels: (n,) int in [0, K): what the image should show.
        persons: (n,) who it shows: the interval is then resampled by person.
    """
    return proportion(hits(logits, labels), persons)


def accuracy_by_domain(
    logits: npt.ArrayLike, labels: npt.ArrayLike, domains: Sequence[str], persons: npt.ArrayLike | None = None
) -> dict[str, Estimate]:
    """The same for each label; labels without an image are left out."""
    right, wanted = hits(logits, labels), np.asarray(labels)
    people = None if persons is None else np.asarray(persons)
    found = {}
    for index, name in enumerate(domains):
        chosen = wanted == index
        if chosen.any():
            found[name] = proportion(right[chosen], None if people is None else people[chosen])
    return found


def confusion(logits: npt.ArrayLike, labels: npt.ArrayLike) -> IntArray:
    """Counts (K, K): row = what the image should show, column = what the judge sees."""
    scores, wanted = _checked(logits, labels)
    domains = scores.shape[1]
    counts = np.bincount(wanted * domains + scores.argmax(1), minlength=domains * domains)
    return counts.reshape(domains, domains).astype(np.int64)


def gain(translation: npt.ArrayLike, source: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
    """Expression gain Δp(target) of each image, (n,) in [-1, 1] (METHOD section 5).

    p(target | translation) − p(target | source): a copy of the source gains exactly 0, also where the judge
    is fooled by the source.

    Args:
        translation: (n, K) logits of the translations.
        source: (n, K) logits of their sources.
        labels: (n,) the targets.
    """
    after, wanted = _checked(translation, labels)
    before, _ = _checked(source, labels)
    row = np.arange(len(wanted))
    difference: FloatArray = probabilities(after)[row, wanted] - probabilities(before)[row, wanted]
    return difference


def probabilities(logits: FloatArray) -> FloatArray:
    """Softmax of logits (n, K)."""
    raised: FloatArray = np.exp(logits - logits.max(1, keepdims=True))
    normalised: FloatArray = raised / raised.sum(1, keepdims=True)
    return normalised


def _checked(logits: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[FloatArray, npt.NDArray[Any]]:
    scores, wanted = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if scores.ndim != 2 or scores.shape[:1] != wanted.shape or not len(scores):
        raise InputError(f"expected logits (n, K) and labels (n,), got {scores.shape} and {wanted.shape}")
    if not np.isfinite(scores).all():
        raise InputError("the expression judge gave logits that are not finite")
    if not 0 <= wanted.min() <= wanted.max() < scores.shape[1]:
        raise InputError(f"labels {wanted.min()}..{wanted.max()}: allowed are 0..{scores.shape[1] - 1}")
    return scores, wanted
