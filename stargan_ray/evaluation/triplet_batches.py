"""The paper's figure: accuracy on one batch of 256 triplets, 512 pairs, at a threshold fixed beforehand.

84.375 % = 432 / 512: the widely copied recipe takes the first batch of its test triplets, calls every
anchor–positive and anchor–negative pair with a squared L2 distance of at most 1.3 the same person, and draws the
confusion matrix (Fig. 3). One such batch has a standard error of 1.6 points even were its pairs independent, so
several batches stand beside the first.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stargan_ray.errors import InputError
from stargan_ray.evaluation.identity import FloatArray
from stargan_ray.evaluation.intervals import wilson
from stargan_ray.evaluation.pairs import IntArray, Pairs

RECIPE_THRESHOLD = 1.3  # squared L2; ``threshold=1.3`` of classify_images in the copies of the recipe
TRIPLETS = 256  # its batch of test triplets
ALBUM = 10  # images of a person that its triplets are made of
BATCHES = 10


@dataclass(frozen=True)
class Triplets:
    """Batches of triplets, indices (b, t) each; the first batch is what the recipe reports."""

    anchor: IntArray
    positive: IntArray
    negative: IntArray

    def pairs(self, batch: int) -> Pairs:
        """The 2t pairs of a batch: anchor–positive, then anchor–negative."""
        anchor = self.anchor[batch]
        first, same = np.concatenate([anchor, anchor]), np.repeat([True, False], len(anchor))
        second = np.concatenate([self.positive[batch], self.negative[batch]])
        return Pairs(first, second, same, np.zeros(len(first), dtype=np.int64))


def triplet_batches(persons: npt.ArrayLike, *, size: int = TRIPLETS, batches: int = BATCHES, seed: int = 0) -> Triplets:
    """The recipe's triplets: every pair of a person's images, at most ten of them, each with one random negative.

    They are shuffled and cut into batches; no pair of one person is in two.

    Args:
        persons: (n,) who the images show.
        size: triplets of a batch; a set with fewer gives one smaller batch.
        batches: most batches.
        seed: of the shuffle and the negatives.

    Raises:
        InputError: If there is no person with two images, or no other person.
    """
    _, person = np.unique(np.asarray(persons), return_inverse=True)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(person))  # which ten of a person's images
    order = order[np.argsort(person[order], kind="stable")]
    albums = np.split(order, np.flatnonzero(np.diff(person[order])) + 1)
    matches = [pair for album in albums for pair in itertools.combinations(album[:ALBUM].tolist(), 2)]
    if not matches or len(albums) < 2:
        raise InputError("triplets need a person with two images, and another person")
    chosen = np.array(matches)[generator.permutation(len(matches))[: size * batches]]
    size = min(size, len(chosen))
    chosen = chosen[: len(chosen) // size * size]
    # A random image of the others: they are all but a run of consecutive places in the order by person.
    start = np.searchsorted(person[order], person[chosen[:, 0]])
    own = np.bincount(person)[person[chosen[:, 0]]]
    place = generator.integers(len(person) - own)
    negative = order[np.where(place < start, place, place + own)]
    return Triplets(*(column.reshape(-1, size) for column in (chosen[:, 0], chosen[:, 1], negative)))


def confusion(distance: npt.ArrayLike, same: npt.ArrayLike, threshold: float) -> npt.NDArray[np.int64]:
    """Counts (2, 2) as in Fig. 3: row = same, different in truth; column = called same, different.

    Args:
        distance: (n,) squared L2.
        same: (n,) bool.
        threshold: up to it two faces are called one person's.
    """
    called, match = np.asarray(distance) <= threshold, np.asarray(same, dtype=bool)
    counts = [[(called & match).sum(), (~called & match).sum()], [(called & ~match).sum(), (~called & ~match).sum()]]
    return np.array(counts, dtype=np.int64)


def batch_accuracy(distances: FloatArray, same: npt.NDArray[np.bool_], threshold: float) -> dict[str, Any]:
    """The figure of the first batch, and how it spreads over the others.

    Args:
        distances: (b, n) squared L2 of each batch's pairs.
        same: (n,) bool, alike for all batches.
        threshold: squared L2.

    Returns:
        ``accuracy`` of the first batch with Wilson's interval, its binomial ``standard_error`` √(p(1−p)/n), its
        ``confusion``; ``batches``: each one's accuracy, and their ``spread``, the standard deviation (null for one).
    """
    right = ((distances <= threshold) == same).sum(1)
    n = distances.shape[1]
    share = float(right[0]) / n
    each = right / n
    return {
        "threshold": threshold,
        "accuracy": wilson(int(right[0]), n),
        "standard_error": math.sqrt(share * (1 - share) / n),
        "confusion": confusion(distances[0], same, threshold).tolist(),
        "batches": each.tolist(),
        "mean": float(each.mean()),
        "spread": float(each.std(ddof=1)) if len(each) > 1 else None,
    }
