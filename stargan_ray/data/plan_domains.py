"""The plan of translators and classifiers: balanced sources, targets and references."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stargan_ray.data.plan import Chunk, Ints, Shape
from stargan_ray.data.row_streams import REFERENCES, SOURCES, TARGETS, Streams, Weights, rng
from stargan_ray.errors import InputError


@dataclass(frozen=True)
class DomainPlan:
    """Balanced sources, a target domain for each, two references of that domain.

    Chunks have the images ``source``, ``reference``, ``reference2`` and the labels ``source_label``,
    ``target_label``; without ``pairs`` only ``source`` and ``source_label`` (classifiers).

    Args:
        rows: (N,) positions in the index of the rows to train on.
        labels: (N,) domain of each, in [0, len(domains)).
        domains: names, for messages.
        groups: (size of the index,) row group of every row.
        shape: how batches are cut.
        seed: of the run.
        pairs: whether targets and references are drawn.
        weights: (N,) how often each row is drawn among those of its domain, in (0, 1]; None = alike.
    """

    rows: Ints
    labels: Ints
    domains: Sequence[str]
    groups: Ints
    shape: Shape
    seed: int
    pairs: bool = True
    weights: Weights | None = None

    def __post_init__(self) -> None:
        """Refuse domains without images and windows too small to hold references of every domain."""
        counts = np.bincount(self.labels, minlength=len(self.domains))
        if empty := [name for name, n in zip(self.domains, counts, strict=True) if n == 0]:
            raise InputError(
                f"domain {empty[0]!r} has no training images: every domain of the data set needs at least one"
            )
        samples, least = self.shape.window * self.shape.share, 2 * len(self.domains)
        if self.pairs and samples < least:
            raise InputError(
                f"data.shape.window = {self.shape.window}: a lane's window holds {samples} samples, "
                f"allowed are at least {least} (two for each of {len(self.domains)} domains)"
            )

    @functools.cached_property
    def _streams(self) -> Streams:
        members = [self.labels == domain for domain in range(len(self.domains))]
        weights = None if self.weights is None else tuple(self.weights[each] for each in members)
        return Streams(tuple(self.rows[each] for each in members), self.groups, self.seed, weights)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which as many sources are drawn as there are images."""
        return max(1, len(self.rows) // self.shape.batch)

    def chunk(self, lane: int, window: int) -> Chunk:
        """The samples of a lane in a window."""
        shape, domains = self.shape, len(self.domains)
        samples = np.arange(window * shape.window * shape.share, (window + 1) * shape.window * shape.share)
        source_label = self._balanced(SOURCES, lane, samples)
        drawn = [
            # block j of a lane takes one image of every domain: position j·lanes + lane of its stream
            self._streams.row(label, int(sample // domains) * shape.lanes + lane)
            for label, sample in zip(source_label, samples, strict=True)
        ]
        rows, source = np.unique(np.asarray(drawn, dtype=np.int64), return_inverse=True)
        images, labels = {"source": source}, {"source_label": source_label}
        if self.pairs:
            target = self._balanced(TARGETS, lane, samples)
            first, second = self._references(rng(self.seed, REFERENCES, lane, window), source, source_label, target)
            images |= {"reference": first, "reference2": second}
            labels |= {"target_label": target}
        grid = (shape.window, shape.share)
        return Chunk(
            rows,
            {name: value.reshape(grid) for name, value in images.items()},
            {name: value.reshape(grid) for name, value in labels.items()},
        )

    def _balanced(self, salt: int, lane: int, samples: Ints) -> Ints:
        """A label for every sample number: each block of K holds every domain once, in random order."""
        domains = len(self.domains)
        blocks = range(int(samples[0]) // domains, int(samples[-1]) // domains + 1)
        order = np.concatenate([rng(self.seed, salt, lane, block).permutation(domains) for block in blocks])
        start = int(samples[0]) - blocks[0] * domains
        return order[start : start + len(samples)]

    def _references(
        self, drawn: np.random.Generator, source: Ints, source_label: Ints, target: Ints
    ) -> tuple[Ints, Ints]:
        """Two different references of each target domain among the chunk's sources, never the source itself.

        Where a domain has too few images in the chunk for that, an image is used twice.
        """
        first, second = np.empty_like(source), np.empty_like(source)
        for domain in range(len(self.domains)):
            pool = drawn.permutation(np.unique(source[source_label == domain]))
            users = np.flatnonzero(target == domain)
            place = np.arange(len(users)) + drawn.integers(len(pool))
            place += pool[place % len(pool)] == source[users]  # step past the source itself
            first[users] = pool[place % len(pool)]
            place += drawn.integers(1, max(2, len(pool)), len(users))
            clash = pool[place % len(pool)] == source[users]
            place += clash
            place += pool[place % len(pool)] == first[users]
            again = pool[place % len(pool)]
            second[users] = np.where(again == source[users], first[users], again)  # two images, one the source
        return first, second
