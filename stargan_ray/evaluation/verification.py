"""How good an embedder is on faces of people it has never seen: the figures of ``jobs/evaluate.py`` on a split.

The paper's figure on one batch, the LFW protocol, the ROC curve, rank-1, whether an expression is taken for a
person, and whether its probabilities can be believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stargan_ray.errors import InputError
from stargan_ray.evaluation.calibration import Calibration
from stargan_ray.evaluation.classification import calibration_error, log_loss
from stargan_ray.evaluation.identity import FloatArray, pair_distances, rank1, templates, verify
from stargan_ray.evaluation.intervals import proportion
from stargan_ray.evaluation.pairs import IntArray, Pairs, sample_pairs, sample_population, split_gallery
from stargan_ray.evaluation.roc import Roc, auc_estimate, roc
from stargan_ray.evaluation.triplet_batches import batch_accuracy, triplet_batches

PROTOCOL = 3_000  # pairs of each kind in the LFW protocol: ten folds of 300 + 300
POPULATION = 50_000  # pairs of each kind at most for the curve and the histogram
PHOTOS = 3  # of a person in the gallery, where enough people have one more
KINDS = ("same person, same expression", "same person, another expression", "different people")
UNTOLD = "same person"  # where no expressions are known


@dataclass(frozen=True)
class Album:
    """Embedded faces of one split.

    Attributes:
        embeddings: (n, d) of unit length.
        persons: (n,) who they show.
        expressions: (n,) what they show, −1 where it is not known.
    """

    embeddings: npt.NDArray[np.float32]
    persons: npt.NDArray[Any]
    expressions: IntArray

    def __len__(self) -> int:
        return len(self.persons)

    def take(self, where: npt.NDArray[Any]) -> Album:
        """Those at some places."""
        return Album(self.embeddings[where], self.persons[where], self.expressions[where])


@dataclass(frozen=True)
class EmbedderScores:
    """An embedder on a split.

    Attributes:
        section: the figures, as plain values and estimates.
        roc: the curve of the population.
        distances: kind of pair -> squared L2 distances of the population.
    """

    section: dict[str, Any]
    roc: Roc
    distances: dict[str, FloatArray]


def judge_embedder(
    album: Album, calibration: Calibration | None, recipe_threshold: float, *, seed: int = 0
) -> EmbedderScores:
    """All figures of one split.

    Args:
        album: its faces; people with one image are in pairs of different people only.
        calibration: the threshold and the probability that are judged; fitted elsewhere. None = there is none.
        recipe_threshold: the fixed one of the paper's figure, squared L2.
        seed: of every draw.

    Raises:
        InputError: If there are fewer than four people, or fewer than two with two images.
    """
    people, counts = np.unique(album.persons, return_counts=True)
    protocol = sample_pairs(album.persons, PROTOCOL, seed=seed)
    verified = verify(album.embeddings, album.persons, protocol)
    population = sample_population(album.persons, POPULATION, seed=seed)
    gaps = pair_distances(album.embeddings, population)
    curve = roc(gaps, population, album.persons)
    distances = by_kind(gaps, population, album.expressions)
    section = {
        "rows": len(album),
        "people": len(people),
        "people_with_one_image": int((counts == 1).sum()),
        "paper": paper_figure(album, calibration, recipe_threshold, seed=seed),
        "lfw_protocol": {
            "pairs": len(protocol.same),
            "folds": len(verified.thresholds),
            "accuracy": verified.accuracy,
            "standard_error": verified.standard_error,
            "threshold": float(verified.thresholds.mean()),
            "at_own_threshold": _at(calibration, verified.distances, protocol, album.persons),
        },
        "roc": curve.section(),
        "rank1": identification(album, seed=seed),
        "expressions": invariance(album, seed=seed),
        "calibration": None if calibration is None else reliability(verified.distances, protocol.same, calibration),
        "distances": {kind: _described(values) for kind, values in distances.items()},
    }
    return EmbedderScores(section, curve, distances)


def paper_figure(
    album: Album, calibration: Calibration | None, recipe_threshold: float, *, seed: int = 0
) -> dict[str, Any]:
    """The accuracy on one batch of triplets at the recipe's threshold and at the model's own."""
    triplets = triplet_batches(album.persons, seed=seed)
    pairs = [triplets.pairs(batch) for batch in range(len(triplets.anchor))]
    distances = np.stack([pair_distances(album.embeddings, each) for each in pairs])
    own = None if calibration is None else batch_accuracy(distances, pairs[0].same, calibration.threshold)
    recipe = batch_accuracy(distances, pairs[0].same, recipe_threshold)
    return {"pairs": distances.shape[1], "at_recipe_threshold": recipe, "at_own_threshold": own}


def judge_pairs(album: Album, pairs: Pairs, calibration: Calibration | None) -> dict[str, Any]:
    """The LFW protocol and the curve on pairs that a file names, fold by fold as it has them.

    Args:
        album: the faces.
        pairs: indices into it.
        calibration: as for :func:`judge_embedder`.

    Raises:
        InputError: If there is no pair of one kind.
    """
    if pairs.same.all() or not pairs.same.any():
        raise InputError("the pairs are all of one kind: a curve needs same and different people")
    gaps = pair_distances(album.embeddings, pairs)
    section: dict[str, Any] = {
        "pairs": len(pairs.same),
        "folds": len(np.unique(pairs.fold)),
        "roc": roc(gaps, pairs, album.persons).section(),
        "at_own_threshold": _at(calibration, gaps, pairs, album.persons),
        "calibration": None if calibration is None else reliability(gaps, pairs.same, calibration),
    }
    if section["folds"] < 2:  # pairsDevTest.txt: there are no other folds to fit a threshold on
        return {**section, "accuracy": None, "standard_error": None, "threshold": None}
    found = verify(album.embeddings, album.persons, pairs)
    threshold = float(found.thresholds.mean())
    return {**section, "accuracy": found.accuracy, "standard_error": found.standard_error, "threshold": threshold}


def identification(album: Album, *, seed: int = 0) -> dict[str, Any]:
    """Rank-1: whether a face is nearest to its own person's template among those of all people.

    The gallery has three photos of each person, one where fewer than two people have four. People without an
    image to probe with are in it too, as strangers to be confused with.
    """
    for photos in (PHOTOS, 1):
        try:
            probes, gallery = split_gallery(album.persons, photos, seed=seed)
        except InputError as error:
            why = str(error)
            continue
        strangers = np.flatnonzero(~np.isin(album.persons, album.persons[gallery]))
        gallery = np.concatenate([gallery, strangers])
        vectors, names = templates(album.embeddings[gallery], album.persons[gallery])
        hits = rank1(album.embeddings[probes], album.persons[probes], vectors, names)
        return {
            "accuracy": proportion(hits, album.persons[probes]),
            "photos": photos,
            "probes": len(probes),
            "people": len(names),
            "strangers": len(np.unique(album.persons[strangers])),
        }
    return {"accuracy": None, "why": why}


def invariance(album: Album, *, seed: int = 0) -> dict[str, Any]:
    """Whether the expression is taken for the person: the curve's area on the pairs that ask exactly this.

    One person with *different* expressions against different people with the *same* expression. An embedder that
    sees nothing but the expression has an area of 0 here, one that does not see it has that of all pairs.
    """
    known = album.take(np.flatnonzero(album.expressions >= 0))
    if not len(known):
        return {"auc": None, "why": "no row has an expression"}
    try:
        pairs = sample_pairs(known.persons, PROTOCOL, seed=seed, expressions=known.expressions, folds=2)
    except InputError as error:
        return {"auc": None, "why": str(error)}
    gaps = pair_distances(known.embeddings, pairs)
    return {"auc": auc_estimate(gaps, pairs, known.persons), "pairs": len(pairs.same)}


def reliability(distance: FloatArray, same: npt.NDArray[np.bool_], calibration: Calibration) -> dict[str, Any]:
    """How far P(same | distance) lies from the share of pairs that are the same person's: expected calibration error.

    Args:
        distance: (p,) squared L2.
        same: (p,), as many of each kind, as the probability supposes.
        calibration: what is judged.
    """
    probability = calibration.probability(distance)
    both = np.stack([1 - probability, probability], axis=1)
    truth = same.astype(np.int64)
    return {"error": calibration_error(both, truth), "log_loss": log_loss(both, truth), "pairs": len(same)}


def by_kind(distance: FloatArray, pairs: Pairs, expressions: IntArray) -> dict[str, FloatArray]:
    """Distances of each kind of pair; without expressions there are two kinds, empty ones are left out."""
    first, second = expressions[pairs.first], expressions[pairs.second]
    known = (first >= 0) & (second >= 0)
    kinds = {
        KINDS[0]: pairs.same & known & (first == second),
        KINDS[1]: pairs.same & known & (first != second),
        UNTOLD: pairs.same & ~known,
        KINDS[2]: ~pairs.same,
    }
    return {kind: distance[chosen] for kind, chosen in kinds.items() if chosen.any()}


def _at(calibration: Calibration | None, distance: FloatArray, pairs: Pairs, persons: npt.NDArray[Any]) -> Any:
    """Accuracy at the model's own threshold, which no pair here has chosen."""
    if calibration is None:
        return None
    right = (distance < calibration.threshold) == pairs.same
    return proportion(right, persons[pairs.first])


def _described(values: FloatArray) -> dict[str, Any]:
    low, median, high = np.quantile(values, [0.05, 0.5, 0.95]).tolist()
    return {"pairs": len(values), "mean": float(values.mean()), "p5": low, "median": median, "p95": high}
