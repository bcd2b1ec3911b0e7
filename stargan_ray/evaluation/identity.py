"""Whether a face is still the same person, in the eyes of an embedder.

Embeddings are (n, d) of unit length. Distances are squared L2 in [0, 4], the paper's measure (Table I), and
cosine in [0, 2]; for unit embeddings the first is twice the second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stargan_ray.errors import InputError
from stargan_ray.evaluation.intervals import Estimate, proportion, wilson
from stargan_ray.evaluation.pairs import Pairs

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
_CHUNK = 4096  # pairs or probes compared at once


class Distances(NamedTuple):
    """Per image, (n,) each."""

    squared_l2: FloatArray
    cosine: FloatArray


@dataclass(frozen=True)
class Verification:
    """Telling "same person" from "another person" by distance, after the LFW protocol.

    Attributes:
        accuracy: mean over the folds of the accuracy with the threshold fitted on the other folds; interval
            from the spread of the folds, which share no people.
        standard_error: of that mean, as LFW tables print it.
        thresholds: (folds,) the squared L2 distance below which a fold's pairs were accepted.
        auc: area under the ROC curve, all pairs together.
        tar: share of same-person pairs accepted where at most ``far`` of the others are.
        far: the false-accept rate of ``tar``. With fewer than 1/far pairs it means "no false accept".
        distances: (n,) squared L2 distance of each pair, for the histogram.
    """

    accuracy: Estimate
    standard_error: float
    thresholds: FloatArray
    auc: float
    tar: Estimate
    far: float
    distances: FloatArray

    def section(self) -> dict[str, Any]:
        """The figures as a section of the report."""
        return {
            "verification_accuracy": self.accuracy,
            "verification_standard_error": self.standard_error,
            "threshold": float(self.thresholds.mean()),
            "auc": self.auc,
            "tar": self.tar,
            "far": self.far,
        }


def unit(embeddings: npt.ArrayLike) -> FloatArray:
    """Embeddings (n, d) as float64, refused unless every one has length 1 within 1 %."""
    vectors = np.asarray(embeddings, dtype=np.float64)
    if vectors.ndim != 2 or not len(vectors):
        raise InputError(f"expected embeddings (n, d), got {vectors.shape}")
    lengths = np.linalg.norm(vectors, axis=1)
    if not (np.abs(lengths - 1) < 0.01).all():  # also False for NaN
        raise InputError(f"embeddings must have unit length, got lengths {lengths.min():.3g}..{lengths.max():.3g}")
    # Lengths that are 1 in fp32 only would tie the cosine to the squared distance to 1e-8 only.
    normalised: FloatArray = vectors / lengths[:, None]
    return normalised


def distances(source: npt.ArrayLike, translation: npt.ArrayLike) -> Distances:
    """Similarity distance of each translation to its source (Table I of the paper, per image).

    Args:
        source: (n, d) unit embeddings.
        translation: (n, d) unit embeddings in the same order.
    """
    first, second = unit(source), unit(translation)
    if first.shape != second.shape:
        raise InputError(f"every translation needs its source: got {first.shape} and {second.shape}")
    squared: FloatArray = np.square(first - second).sum(1)
    # 1 − ⟨a, b⟩ in a form that is exactly 0 for a copy, where the product would leave ±1e-17.
    return Distances(squared, squared / 2)


def pair_distances(embeddings: npt.ArrayLike, pairs: Pairs) -> FloatArray:
    """Squared L2 distance (p,) in [0, 4] of each pair.

    Args:
        embeddings: (n, d) unit embeddings of the images that the pairs index.
        pairs: p of them.
    """
    vectors = unit(embeddings)
    gap = np.empty(len(pairs.first))
    for start in range(0, len(gap), _CHUNK):  # a hundred thousand pairs at once would need gigabytes
        part = slice(start, start + _CHUNK)
        gap[part] = np.square(vectors[pairs.first[part]] - vectors[pairs.second[part]]).sum(1)
    return gap


def templates(embeddings: npt.ArrayLike, persons: npt.ArrayLike) -> tuple[FloatArray, npt.NDArray[Any]]:
    """One template a person: the normalised mean of the embeddings of several photos.

    Args:
        embeddings: (n, d) unit embeddings of photos that are not among the probes.
        persons: (n,) who they show.

    Returns:
        Templates (P, d) of unit length and the person of each (P,), sorted.
    """
    vectors, people = unit(embeddings), np.asarray(persons)
    names, index = np.unique(people, return_inverse=True)
    sums = np.zeros((len(names), vectors.shape[1]))
    np.add.at(sums, index, vectors)
    return sums / np.linalg.norm(sums, axis=1, keepdims=True), names


def rank1(
    probes: npt.ArrayLike,
    probe_persons: npt.ArrayLike,
    gallery_templates: npt.ArrayLike,
    gallery_persons: npt.ArrayLike,
) -> BoolArray:
    """Whether the nearest template to each probe is its person's, (n,) bool (closed-set identification).

    Args:
        probes: (n, d) unit embeddings.
        probe_persons: (n,) who they should show.
        gallery_templates: (P, d) from :func:`templates`.
        gallery_persons: (P,).

    Raises:
        InputError: If a probe's person is not in the gallery: it could never be found.
    """
    wanted, known = np.asarray(probe_persons), np.asarray(gallery_persons)
    absent = np.setdiff1d(wanted, known)
    if len(absent):
        raise InputError(f"{len(absent)} people are not in the gallery, the first is {str(absent[0])!r}")
    ours, theirs = unit(probes), unit(gallery_templates).T
    parts = (ours[start : start + _CHUNK] for start in range(0, len(ours), _CHUNK))
    nearest = np.concatenate([(part @ theirs).argmax(1) for part in parts])
    found: BoolArray = known[nearest] == wanted
    return found


def far_threshold(
    probes: npt.ArrayLike,
    probe_persons: npt.ArrayLike,
    gallery_templates: npt.ArrayLike,
    gallery_persons: npt.ArrayLike,
    far: float,
) -> float:
    """The squared L2 distance below which at most ``far`` of the probes lie to another person's template.

    With fewer than 1 / far comparisons it is the least of their distances: no false accept at all.

    Args:
        probes: (n, d) unit embeddings of real faces.
        probe_persons: (n,) who they show.
        gallery_templates: (P, d) from :func:`templates`, P >= 2.
        gallery_persons: (P,).
        far: in [0, 1).
    """
    wanted, known = np.asarray(probe_persons), np.asarray(gallery_persons)
    gap = 2 - 2 * unit(probes) @ unit(gallery_templates).T
    others = np.sort(gap[wanted[:, None] != known[None]])
    return float(others[int(far * len(others))])


def verify(embeddings: npt.ArrayLike, persons: npt.ArrayLike, pairs: Pairs, far: float = 1e-3) -> Verification:
    """Verification accuracy, AUC and TAR at a false-accept rate.

    Args:
        embeddings: (n, d) unit embeddings of the images that the pairs index.
        persons: (n,) who they show.
        pairs: from :func:`stargan_ray.evaluation.pairs.sample_pairs`.
        far: false-accept rate of the TAR.
    """
    from sklearn.metrics import roc_auc_score

    people = np.asarray(persons)
    gap = pair_distances(embeddings, pairs)
    folds = np.unique(pairs.fold)
    thresholds, right = np.zeros(len(folds)), np.zeros(len(gap), dtype=bool)
    for position, fold in enumerate(folds):
        held = pairs.fold == fold
        thresholds[position] = best_threshold(gap[~held], pairs.same[~held])
        right[held] = (gap[held] < thresholds[position]) == pairs.same[held]
    by_fold = np.array([right[pairs.fold == fold].mean() for fold in folds])
    error = float(by_fold.std(ddof=1) / math.sqrt(len(folds)))
    return Verification(
        accuracy=_fold_estimate(by_fold, error, len(gap), len(np.unique(people))),
        standard_error=error,
        thresholds=thresholds,
        auc=float(roc_auc_score(pairs.same, -gap)),
        tar=_true_accepts(gap, pairs, people, far),
        far=far,
        distances=gap,
    )


def best_threshold(distance: npt.ArrayLike, same: npt.ArrayLike) -> float:
    """The distance that separates the pairs with the fewest errors; pairs strictly below it are accepted.

    Args:
        distance: (n,).
        same: (n,) bool.
    """
    order = np.argsort(np.asarray(distance, dtype=np.float64), kind="stable")
    ordered, match = np.asarray(distance, dtype=np.float64)[order], np.asarray(same, dtype=bool)[order]
    # right[k]: pairs decided rightly when the k nearest are accepted.
    right = np.concatenate([[0], np.cumsum(match)]) + (~match).sum() - np.concatenate([[0], np.cumsum(~match)])
    padded = np.concatenate([[ordered[0] - 1], ordered, [ordered[-1] + 1]])
    possible = padded[:-1] < padded[1:]  # equal distances cannot be parted
    cut = int(np.where(possible, right, -1).argmax())
    return float(padded[cut] + padded[cut + 1]) / 2


def _fold_estimate(by_fold: FloatArray, error: float, pairs: int, people: int) -> Estimate:
    """Mean ± t·s.e. over the folds; where no fold differs, Wilson's over the people instead of no width."""
    from scipy.stats import t

    mean = float(by_fold.mean())
    if error == 0.0:
        agreed = wilson(round(mean * people), people)
        return Estimate(mean, min(mean, agreed.low), max(mean, agreed.high), pairs)
    half = float(t.ppf(0.975, len(by_fold) - 1)) * error
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), pairs)


def _true_accepts(gap: FloatArray, pairs: Pairs, people: npt.NDArray[Any], far: float) -> Estimate:
    from sklearn.metrics import roc_curve

    false_accepts, _, scores = roc_curve(pairs.same, -gap, drop_intermediate=False)
    # The loosest threshold that keeps the false accepts at or below the rate; the first point accepts none.
    threshold = scores[np.flatnonzero(false_accepts <= far)[-1]]
    accepted = -gap[pairs.same] >= threshold
    return proportion(accepted, people[pairs.first[pairs.same]])
