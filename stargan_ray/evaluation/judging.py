"""A verdict on translations: did the expression change, did the person stay.

The rows ``copy-input`` and "real images" are judged by the same code as a translator, because a score that
only asks for identity is won by doing nothing, and a judge is no better than it is on real images (METHOD
section 5). The judges must be networks that were never used in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from stargan_ray.errors import InputError
from stargan_ray.evaluation import expression, identity
from stargan_ray.evaluation.evidence import (
    Evidence,
    FloatArray,
    Judge,
    Judges,
    background_l1,
    joined,
    look_at_faces,
    look_at_translations,
)
from stargan_ray.evaluation.intervals import Estimate, bootstrap_mean, paired_difference, proportion
from stargan_ray.evaluation.translations import Faces, Requests

__all__ = ["FIGURES", "SHARES", "Judge", "Judges", "Known", "Verdict", "background_l1", "judge", "judge_real"]

# Values of each image -> the figure they are averaged to.
FIGURES = (
    "target_expression_accuracy",  # share the judge sees as the target
    "rank1",  # share whose nearest template, among all people of the gallery, is the source person's
    "tar",  # share nearer to the source person's template than FAR of the real faces of other people are to theirs
    "similarity_distance",  # squared L2 between unit embeddings of source and translation, in [0, 4]
    "similarity_cosine",  # cosine distance of the same, in [0, 2]
    "training_distance",  # squared L2 by the embedder that trained translators: the paper's Table I, and no judge
    "training_cosine",  # cosine distance of the same
    "expression_gain",  # Δp(target), in [-1, 1]
    "background_l1",  # mean |difference| in the outermost eighth at the top and the sides, in [0, 2]
)
SHARES = ("target_expression_accuracy", "rank1", "tar")
FAR = 1e-3  # false accepts that the threshold of ``tar`` allows among real faces


@dataclass(frozen=True)
class Known:
    """The real side of a judgement: whom and what the sources show, and what the judges see of them.

    Attributes:
        sources: faces that are translated.
        gallery: *other* photos of the same people, from which the templates are made; the sources themselves where
            nobody is named, so that a translation can only be told from those of other sources.
        of_sources, of_gallery: what the judges see of them.
        named: whether there are other photos.
    """

    sources: Faces
    gallery: Faces
    of_sources: Evidence
    of_gallery: Evidence
    named: bool = True

    @staticmethod
    def of(
        sources: Faces, gallery: Faces | None, judges: Judges, on_seen: Callable[[int], None] = lambda _: None
    ) -> Known:
        """Show both to the judges; no gallery = the sources are all that is known of anybody."""
        seen = look_at_faces(sources, judges, on_seen)
        if gallery is None:
            return Known(sources, sources, seen, seen, named=False)
        return Known(sources, gallery, seen, look_at_faces(gallery, judges, on_seen))

    def recognised(self, vectors: FloatArray, persons: npt.NDArray[Any]) -> tuple[FloatArray, FloatArray]:
        """Whether embeddings (n, d) are found as their person first, and accepted as him at FAR; (n,) 0 or 1 each.

        The threshold comes from the real sources against the templates of all other people, so it is the same for
        everything that is judged beside them.
        """
        templates, names = identity.templates(self.of_gallery.identity, self.gallery.persons)
        first = identity.rank1(vectors, persons, templates, names)
        threshold = identity.far_threshold(self.of_sources.identity, self.sources.persons, templates, names, FAR)
        own = templates[np.searchsorted(names, persons)]
        near = np.square(identity.unit(vectors) - own).sum(1) < threshold
        return first.astype(np.float64), near.astype(np.float64)


@dataclass(frozen=True)
class Verdict:
    """What the judges say.

    Attributes:
        values: one number an image, (m,) each, by the names of ``FIGURES``.
        persons: (m,) the source person of each image; intervals are resampled by them.
        confusion: (K, K) counts, row = wanted expression, column = seen.
        targets: (m,) wanted expressions.
    """

    values: dict[str, FloatArray]
    persons: npt.NDArray[Any]
    confusion: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]

    def estimates(self) -> dict[str, Estimate]:
        """Each figure with its interval."""
        found = {}
        for name, values in self.values.items():
            found[name] = (proportion if name in SHARES else bootstrap_mean)(values, self.persons)
        return found

    def section(self, domains: Sequence[str]) -> dict[str, Any]:
        """The verdict as a section of the report, with the accuracy of each target and the confusion."""
        right = self.values[FIGURES[0]]
        by_target = {
            name: proportion(right[self.targets == index], self.persons[self.targets == index])
            for index, name in enumerate(domains)
            if (self.targets == index).any()
        }
        return {**self.estimates(), "by_target": by_target, "confusion": self.confusion.tolist()}


def judge(
    translations: Iterable[Tensor], sources: Faces, requests: Requests, gallery: Faces, judges: Judges
) -> Verdict:
    """Judge translations, or copies of the input, batch by batch; no image is kept.

    Args:
        translations: batches (b, 3, H, W) in the order of the requests.
        sources: the faces that the requests index.
        requests: what was asked for.
        gallery: *other* photos of the same people, from which the templates for rank-1 are made.
        judges: never used in training.

    Raises:
        InputError: If the batches do not add up to the requests.
    """
    seen = joined(list(look_at_translations(translations, sources, requests, judges)))
    return verdict(seen, requests, Known.of(sources, gallery, judges))


def verdict(seen: Evidence, requests: Requests, known: Known) -> Verdict:
    """The verdict on translations that the judges have seen.

    Args:
        seen: of each request, in their order.
        requests: what was asked for.
        known: the real side, seen by the same judges.
    """
    source, persons = requests.source, known.sources.persons[requests.source]
    gap = identity.distances(known.of_sources.identity[source], seen.identity)
    first, near = known.recognised(seen.identity, persons)
    values = {
        "target_expression_accuracy": expression.hits(seen.logits, requests.target).astype(np.float64),
        "rank1": first,
        "tar": near,
        "similarity_distance": gap.squared_l2,
        "similarity_cosine": gap.cosine,
        **_by_training(known.of_sources.training[source], seen.training),
        "expression_gain": expression.gain(seen.logits, known.of_sources.logits[source], requests.target),
        "background_l1": seen.background,
    }
    return Verdict(values, persons, expression.confusion(seen.logits, requests.target), requests.target)


def judge_real(faces: Faces, gallery: Faces, judges: Judges) -> Verdict:
    """The judges' own score on real images: what a perfect translator could be expected to reach.

    Args:
        faces: real images; their own label is the "target".
        gallery: *other* photos of the same people. The similarity distance is that between an image and the
            first of its person's, so it says how far two photos of one person lie apart.
        judges: as for the translations.
    """
    return real_verdict(Known.of(faces, gallery, judges))


def real_verdict(known: Known) -> Verdict:
    """``judge_real`` of what the judges have seen; expressions alone where there is no other photo of anybody."""
    faces, gallery = known.sources, known.gallery
    labels = faces.labels.cpu().numpy()
    logits = known.of_sources.logits
    right = expression.hits(logits, labels).astype(np.float64)
    confusion = expression.confusion(logits, labels)
    if not known.named:
        return Verdict({"target_expression_accuracy": right}, faces.persons, confusion, labels)
    names, first = np.unique(gallery.persons, return_index=True)
    other = first[np.searchsorted(names, faces.persons)]
    gap = identity.distances(known.of_sources.identity, known.of_gallery.identity[other])
    found, near = known.recognised(known.of_sources.identity, faces.persons)
    values = {
        "target_expression_accuracy": right,
        "rank1": found,
        "tar": near,
        "similarity_distance": gap.squared_l2,
        "similarity_cosine": gap.cosine,
        **_by_training(known.of_sources.training, known.of_gallery.training[other]),
    }
    return Verdict(values, faces.persons, confusion, labels)


def compare(first: Verdict, second: Verdict) -> dict[str, Estimate]:
    """First minus second for every figure both have, paired image by image and resampled by person.

    Raises:
        InputError: If they are not verdicts on the same requests.
    """
    same = np.array_equal(first.persons, second.persons) and np.array_equal(first.targets, second.targets)
    if not same:
        raise InputError("only verdicts on the same requests can be compared")
    names = [name for name in FIGURES if name in first.values and name in second.values]
    return {name: paired_difference(first.values[name], second.values[name], first.persons) for name in names}


def _by_training(first: FloatArray, second: FloatArray) -> dict[str, FloatArray]:
    if not first.shape[1]:
        return {}
    gap = identity.distances(first, second)
    return {"training_distance": gap.squared_l2, "training_cosine": gap.cosine}
