"""A verdict on translations: did the expression change, did the person stay.

The rows ``copy-input`` and "real images" are judged by the same code as a translator, because a score that
only asks for identity is won by doing nothing, and a judge is no better than it is on real images (METHOD
section 5). The judges must be networks that were never used in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stargan_ray.errors import InputError
from stargan_ray.evaluation import expression, identity
from stargan_ray.evaluation.intervals import Estimate, bootstrap_mean, paired_difference, proportion
from stargan_ray.evaluation.translations import BATCH, Faces, Requests

FloatArray = npt.NDArray[np.float64]
Judge = Callable[[Tensor], Tensor]

# Values of each image -> the figure they are averaged to. The first two are shares of hits.
FIGURES = (
    "target_expression_accuracy",  # share the judge sees as the target
    "rank1",  # share whose nearest template, among all people of the gallery, is the source person's
    "similarity_distance",  # squared L2 between unit embeddings of source and translation, in [0, 4]
    "similarity_cosine",  # cosine distance of the same, in [0, 2]
    "expression_gain",  # Δp(target), in [-1, 1]
    "background_l1",  # mean |difference| in the outermost eighth at the top and the sides, in [0, 2]
)


@dataclass(frozen=True)
class Judges:
    """Networks that never trained a translator, as plain functions of images (b, 3, H, W) in [-1, 1].

    Attributes:
        expression: images -> logits (b, K).
        identity: images -> unit embeddings (b, d).
        features: images -> (b, f), what the expression judge's last layer reads; None where it has no such thing.
    """

    expression: Judge
    identity: Judge
    features: Judge | None = None


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
            shares = name in FIGURES[:2]
            found[name] = (proportion if shares else bootstrap_mean)(values, self.persons)
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
    logits_source, embedded_source = _look(_batches(sources), judges)
    _, embedded_gallery = _look(_batches(gallery), judges)
    logits, embedded, background = [], [], []
    done = 0
    for images in translations:
        real = sources.take(requests.source[done : done + len(images)]).images
        if real.shape != images.shape:
            shapes = f"{tuple(images.shape)} for {tuple(real.shape)}"
            raise InputError(f"translations do not match the requests: got {shapes}")
        seen, vectors = _look([images], judges)
        logits.append(seen)
        embedded.append(vectors)
        background.append(background_l1(real, images))
        done += len(images)
    if done != len(requests) or not done:
        raise InputError(f"{done} translations for {len(requests)} requests: one each is needed, at least one")
    everything, vectors = np.concatenate(logits), np.concatenate(embedded)
    persons = sources.persons[requests.source]
    gap = identity.distances(embedded_source[requests.source], vectors)
    values = {
        "target_expression_accuracy": expression.hits(everything, requests.target).astype(np.float64),
        "rank1": _rank1(vectors, persons, embedded_gallery, gallery).astype(np.float64),
        "similarity_distance": gap.squared_l2,
        "similarity_cosine": gap.cosine,
        "expression_gain": expression.gain(everything, logits_source[requests.source], requests.target),
        "background_l1": np.concatenate(background),
    }
    confusion = expression.confusion(everything, requests.target)
    return Verdict(values, persons, confusion, requests.target)


def judge_real(faces: Faces, gallery: Faces, judges: Judges) -> Verdict:
    """The judges' own score on real images: what a perfect translator could be expected to reach.

    Args:
        faces: real images; their own label is the "target".
        gallery: *other* photos of the same people. The similarity distance is that between an image and the
            first of its person's, so it says how far two photos of one person lie apart.
        judges: as for the translations.
    """
    logits, embedded = _look(_batches(faces), judges)
    _, embedded_gallery = _look(_batches(gallery), judges)
    names, first = np.unique(gallery.persons, return_index=True)
    hits = _rank1(embedded, faces.persons, embedded_gallery, gallery)
    other = embedded_gallery[first[np.searchsorted(names, faces.persons)]]
    gap = identity.distances(embedded, other)
    labels = faces.labels.cpu().numpy()
    values = {
        "target_expression_accuracy": expression.hits(logits, labels).astype(np.float64),
        "rank1": hits.astype(np.float64),
        "similarity_distance": gap.squared_l2,
        "similarity_cosine": gap.cosine,
    }
    return Verdict(values, faces.persons, expression.confusion(logits, labels), labels)


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


def background_l1(source: Tensor, translation: Tensor) -> FloatArray:
    """Mean absolute difference (n,) in [0, 2] at the rim: the outermost eighth at the top and at both sides.

    No mask is needed, and none is used: a portrait's rim is mostly background there, the bottom is shoulders.

    Args:
        source: (n, 3, H, W) in [-1, 1].
        translation: the same shape and range.
    """
    height, width = source.shape[-2:]
    rim = torch.zeros(height, width, dtype=torch.bool, device=source.device)
    rim[: max(1, height // 8)] = True
    rim[:, : max(1, width // 8)] = True
    rim[:, -max(1, width // 8) :] = True
    gap = (source - translation).abs()[:, :, rim].flatten(1).double().mean(1)
    values: FloatArray = gap.cpu().numpy()
    return values


def _batches(faces: Faces) -> Iterator[Tensor]:
    for start in range(0, len(faces), BATCH):
        yield faces.images[start : start + BATCH]


def _look(batches: Iterable[Tensor], judges: Judges) -> tuple[FloatArray, FloatArray]:
    """Logits (n, K) and embeddings (n, d) of all images."""
    logits, embedded = [], []
    with torch.no_grad():
        for images in batches:
            logits.append(judges.expression(images).double().cpu().numpy())
            embedded.append(judges.identity(images).double().cpu().numpy())
    return np.concatenate(logits), np.concatenate(embedded)


def _rank1(
    embedded: FloatArray, persons: npt.NDArray[Any], embedded_gallery: FloatArray, gallery: Faces
) -> npt.NDArray[np.bool_]:
    vectors, names = identity.templates(embedded_gallery, gallery.persons)
    return identity.rank1(embedded, persons, vectors, names)
