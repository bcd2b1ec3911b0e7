"""The plan of metric learning: P people × K images."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from stargan_ray.data.plan import Chunk, Ints, Shape
from stargan_ray.data.row_streams import IMAGES, PEOPLE, Streams, rng
from stargan_ray.errors import InputError


@dataclass(frozen=True)
class IdentityPlan:
    """P people × K images each, for metric learning; people with one image are negatives alone.

    Every so many visits of a person is one of K people with one image each, as ``singles`` says.

    Chunks have the image ``source`` and the labels ``source_label``, ``person``; a person's K images are
    consecutive, different as long as there are K of them, and of different expressions as far as the person shows
    them: positives that differ in the very thing that the translator changes.

    Args:
        rows: (N,) positions in the index of the rows to train on.
        labels: (N,) domain of each, −1 for none.
        people: (N,) person number of each.
        groups: (size of the index,) row group of every row.
        shape: how batches are cut; a lane's share must be a multiple of ``images_per_person``.
        seed: of the run.
        images_per_person: K.
        singles: share of the images that are of people with one image, in [0, 1); none where there are fewer than K.
    """

    rows: Ints
    labels: Ints
    people: Ints
    groups: Ints
    shape: Shape
    seed: int
    images_per_person: int = 4
    singles: float = 0.0

    def __post_init__(self) -> None:
        """Refuse batches that cannot hold whole people and sets without any pair."""
        if self.images_per_person < 2 or self.shape.share % self.images_per_person:
            raise InputError(
                f"data.images_per_person = {self.images_per_person}: allowed are divisors >= 2 of "
                f"{self.shape.share} (data.shape.batch / data.shape.lanes)"
            )
        if len(self._albums) < 2:
            raise InputError(
                f"the data set has {len(self._albums)} people with two or more training images: "
                "learning an identity needs at least 2"
            )

    @functools.cached_property
    def _everyone(self) -> list[Ints]:
        """The places in ``rows`` of every person."""
        order = np.argsort(self.people, kind="stable")
        cuts = np.flatnonzero(np.diff(self.people[order])) + 1
        return np.split(order, cuts)

    @functools.cached_property
    def _albums(self) -> tuple[Ints, ...]:
        """Those of the people with at least two images."""
        return tuple(album for album in self._everyone if len(album) >= 2)

    @functools.cached_property
    def _lonely(self) -> Ints:
        """Those of the people with one image, when they are wanted and fill a visit."""
        alone = [album[0] for album in self._everyone if len(album) == 1]
        return np.array(alone if self.singles and len(alone) >= self.images_per_person else [], dtype=np.int64)

    @functools.cached_property
    def _streams(self) -> Streams:
        """Of people with albums, and of those without."""
        pools = tuple(np.arange(len(each)) for each in (self._albums, self._lonely) if len(each))
        return Streams(pools, np.zeros(max(map(len, pools)), np.int64), self.seed ^ PEOPLE)

    def _mixed(self, album: Ints) -> Ints:
        """An album with the first image of each expression before any second one; images without a label stay apart."""
        seen: dict[int, int] = {}
        turn = []
        for label in self.labels[album].tolist():
            turn.append(seen.get(label, 0))
            if label >= 0:
                seen[label] = turn[-1] + 1
        return album[np.argsort(turn, kind="stable")]

    @property
    def classes(self) -> int:
        """How many people are drawn, negatives included; every ``person`` is below it."""
        return len(self._albums) + len(self._lonely)

    @property
    def left_out(self) -> int:
        """Rows that no batch will hold: those of people with a single image, where they are no negatives."""
        return len(self.rows) - sum(map(len, self._albums)) - len(self._lonely)

    @property
    def counts(self) -> dict[str, int]:
        """People with several images, those with one who are negatives, and those with one who are left out."""
        return {"people": len(self._albums), "negatives_only": len(self._lonely), "left_out": self.left_out}

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which as many images are drawn as there are."""
        return max(1, (len(self.rows) - self.left_out) // self.shape.batch)

    def chunk(self, lane: int, window: int) -> Chunk:
        """The samples of a lane in a window."""
        shape, k = self.shape, self.images_per_person
        visits = shape.window * shape.share // k
        drawn = [self._visit(lane, visit) for visit in range(window * visits, (window + 1) * visits)]
        place, people = (np.concatenate(column) for column in zip(*drawn, strict=True))
        rows, source = np.unique(self.rows[place], return_inverse=True)
        grid = (shape.window, shape.share)
        return Chunk(
            rows,
            {"source": source.reshape(grid)},
            {
                "source_label": self.labels[place].reshape(grid),
                "person": people.reshape(grid),
            },
        )

    def _visit(self, lane: int, visit: int) -> tuple[Ints, Ints]:
        """K images and their people at a lane's place in its endless sequence of visits."""
        k, lanes = self.images_per_person, self.shape.lanes
        before, after = (self._alone_before(lane, n) for n in (visit, visit + 1))
        if after > before:
            alone = [self._streams.row(1, (before * lanes + lane) * k + n) for n in range(k)]
            return self._lonely[alone], len(self._albums) + np.array(alone, dtype=np.int64)
        person = self._streams.row(0, (visit - before) * lanes + lane)
        album = rng(self.seed, IMAGES, visit * lanes + lane).permutation(self._albums[person])
        return np.resize(self._mixed(album), k), np.full(k, person)

    def _alone_before(self, lane: int, visit: int) -> int:
        """How many of a lane's visits before this one are of people with one image; lanes take turns."""
        return int(visit * self.singles + lane / self.shape.lanes) if len(self._lonely) else 0
