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
    """P people × K images each, for metric learning; people with one image cannot be positives and are left out.

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
    """

    rows: Ints
    labels: Ints
    people: Ints
    groups: Ints
    shape: Shape
    seed: int
    images_per_person: int = 4

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
    def _albums(self) -> tuple[Ints, ...]:
        """The places in ``rows`` of every person with at least two images."""
        order = np.argsort(self.people, kind="stable")
        cuts = np.flatnonzero(np.diff(self.people[order])) + 1
        return tuple(album for album in np.split(order, cuts) if len(album) >= 2)

    @functools.cached_property
    def _streams(self) -> Streams:
        everyone = np.arange(len(self._albums))
        return Streams((everyone,), np.zeros_like(everyone), self.seed ^ PEOPLE)

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
    def left_out(self) -> int:
        """Rows of people with a single image."""
        return len(self.rows) - sum(map(len, self._albums))

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which as many images are drawn as there are."""
        return max(1, (len(self.rows) - self.left_out) // self.shape.batch)

    def chunk(self, lane: int, window: int) -> Chunk:
        """The samples of a lane in a window."""
        shape, k = self.shape, self.images_per_person
        visits = shape.window * shape.share // k
        places, people = [], []
        for visit in range(window * visits, (window + 1) * visits):
            position = visit * shape.lanes + lane
            person = self._streams.row(0, position)
            album = self._albums[person]
            drawn = rng(self.seed, IMAGES, position)
            places.append(np.resize(self._mixed(drawn.permutation(album)), k))
            people.append(np.full(k, person))
        place = np.concatenate(places)
        rows, source = np.unique(self.rows[place], return_inverse=True)
        grid = (shape.window, shape.share)
        return Chunk(
            rows,
            {"source": source.reshape(grid)},
            {
                "source_label": self.labels[place].reshape(grid),
                "person": np.concatenate(people).reshape(grid),
            },
        )
