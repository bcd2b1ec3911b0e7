"""Which images meet in which step: a pure function of (seed, step, index of the data set).

A run is one endless sequence of global batches. A batch is cut into ``lanes`` equal parts, fixed by the recipe
and independent of the number of workers; a worker serves whole lanes, so the global batch at a step is the same
for one worker or many. ``window`` consecutive steps of a lane are a *chunk*: its images are decoded once, and
the references of its samples are drawn among its own sources, so decoding costs about one image a sample.

Balance is exact by construction: every K consecutive samples of a lane hold each domain once as source and once
as target, and the stream of a domain passes through all its images before one repeats, whatever the class
sizes. Nothing is stored: a chunk is computed from its number alone.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stargan_ray.errors import InputError

Ints = npt.NDArray[np.int64]

# Salts that keep the random streams of one seed apart.
_ORDER, _SOURCES, _TARGETS, _REFERENCES, _PEOPLE, _IMAGES = range(1, 7)


@dataclass(frozen=True)
class Shape:
    """How batches are cut.

    Attributes:
        batch: images in a global batch.
        lanes: parts of a batch that always stay together; the number of workers must divide it.
        window: steps in a chunk.
    """

    batch: int = 8
    lanes: int = 8
    window: int = 64

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be cut."""
        for name in ("batch", "lanes", "window"):
            if getattr(self, name) < 1:
                raise InputError(f"data.shape.{name} = {getattr(self, name)}: allowed are values >= 1")
        if self.batch % self.lanes:
            raise InputError(
                f"data.shape.lanes = {self.lanes}: allowed are divisors of data.shape.batch = {self.batch}"
            )

    @property
    def share(self) -> int:
        """Samples of one lane in one step."""
        return self.batch // self.lanes

    def lanes_of(self, rank: int, world_size: int) -> range:
        """The lanes that a worker serves."""
        if self.lanes % world_size:
            raise InputError(
                f"scale.num_workers = {world_size}: allowed are divisors of data.shape.lanes = {self.lanes}"
            )
        each = self.lanes // world_size
        return range(rank * each, (rank + 1) * each)


@dataclass(frozen=True)
class Chunk:
    """One lane's samples of one window.

    Attributes:
        rows: (U,) positions in the index of the images to decode, each once.
        images: role -> (window, share) positions in ``rows``.
        labels: name -> (window, share) integers.
    """

    rows: Ints
    images: dict[str, Ints]
    labels: dict[str, Ints]


class Plan(Protocol):
    """A function from (lane, window number) to a chunk."""

    @property
    def shape(self) -> Shape:
        """How batches are cut."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which as many samples are drawn as there are images."""
        ...

    def chunk(self, lane: int, window: int) -> Chunk:
        """The samples of a lane in a window."""
        ...


def _rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


@dataclass(frozen=True)
class _Streams:
    """Endless streams over several pools of rows; each passes its whole pool before a row repeats.

    The order of a pass is a two-level shuffle: row groups are permuted, then rows among ``span`` neighbouring
    groups. Readers of large buckets thus fetch a row group once or twice a pass; small sets are fully shuffled.
    """

    pools: tuple[Ints, ...]
    groups: Ints  # row group of every row of the index
    seed: int
    span: int = 64
    _orders: dict[tuple[int, int], Ints] = field(default_factory=dict, compare=False, repr=False)

    def _order(self, pool: int, turn: int) -> Ints:
        """The pool's rows in the order of one pass; the last few are remembered."""
        if (pool, turn) not in self._orders:
            while len(self._orders) >= 4 * len(self.pools):
                del self._orders[next(iter(self._orders))]
            rng = _rng(self.seed, _ORDER, pool, turn)
            rows = self.pools[pool]
            _, group = np.unique(self.groups[rows], return_inverse=True)
            place = rng.permutation(int(group.max()) + 1)[group] // self.span
            self._orders[pool, turn] = rows[np.lexsort((rng.random(len(rows)), place))]
        return self._orders[pool, turn]

    def row(self, pool: int, position: int) -> int:
        """The row at a position of a pool's stream."""
        turn, place = divmod(position, len(self.pools[pool]))
        return int(self._order(pool, turn)[place])


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
    """

    rows: Ints
    labels: Ints
    domains: Sequence[str]
    groups: Ints
    shape: Shape
    seed: int
    pairs: bool = True

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
    def _streams(self) -> _Streams:
        pools = tuple(self.rows[self.labels == domain] for domain in range(len(self.domains)))
        return _Streams(pools, self.groups, self.seed)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which as many sources are drawn as there are images."""
        return max(1, len(self.rows) // self.shape.batch)

    def chunk(self, lane: int, window: int) -> Chunk:
        """The samples of a lane in a window."""
        shape, domains = self.shape, len(self.domains)
        samples = np.arange(window * shape.window * shape.share, (window + 1) * shape.window * shape.share)
        source_label = self._balanced(_SOURCES, lane, samples)
        drawn = [
            # block j of a lane takes one image of every domain: position j·lanes + lane of its stream
            self._streams.row(label, int(sample // domains) * shape.lanes + lane)
            for label, sample in zip(source_label, samples, strict=True)
        ]
        rows, source = np.unique(np.asarray(drawn, dtype=np.int64), return_inverse=True)
        images, labels = {"source": source}, {"source_label": source_label}
        if self.pairs:
            target = self._balanced(_TARGETS, lane, samples)
            first, second = self._references(_rng(self.seed, _REFERENCES, lane, window), source, source_label, target)
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
        order = np.concatenate([_rng(self.seed, salt, lane, block).permutation(domains) for block in blocks])
        start = int(samples[0]) - blocks[0] * domains
        return order[start : start + len(samples)]

    def _references(
        self, rng: np.random.Generator, source: Ints, source_label: Ints, target: Ints
    ) -> tuple[Ints, Ints]:
        """Two different references of each target domain among the chunk's sources, never the source itself.

        Where a domain has too few images in the chunk for that, an image is used twice.
        """
        first, second = np.empty_like(source), np.empty_like(source)
        for domain in range(len(self.domains)):
            pool = rng.permutation(np.unique(source[source_label == domain]))
            users = np.flatnonzero(target == domain)
            place = np.arange(len(users)) + rng.integers(len(pool))
            place += pool[place % len(pool)] == source[users]  # step past the source itself
            first[users] = pool[place % len(pool)]
            place += rng.integers(1, max(2, len(pool)), len(users))
            clash = pool[place % len(pool)] == source[users]
            place += clash
            place += pool[place % len(pool)] == first[users]
            again = pool[place % len(pool)]
            second[users] = np.where(again == source[users], first[users], again)  # two images, one the source
        return first, second


@dataclass(frozen=True)
class IdentityPlan:
    """P people × K images each, for metric learning; people with one image cannot be positives and are left out.

    Chunks have the image ``source`` and the labels ``source_label``, ``person``; a person's K images are
    consecutive and different as long as there are K of them.

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
    def _streams(self) -> _Streams:
        everyone = np.arange(len(self._albums))
        return _Streams((everyone,), np.zeros_like(everyone), self.seed ^ _PEOPLE)

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
            rng = _rng(self.seed, _IMAGES, position)
            places.append(np.resize(rng.permutation(album), k))
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


def epoch_plan(plan: Plan, epoch: int) -> dict[str, Ints]:
    """Every sample of an epoch in global order: the rows of each role and the labels, (steps, batch) each."""
    shape = plan.shape
    steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
    windows = range(steps[0] // shape.window, steps[-1] // shape.window + 1)
    parts: dict[str, list[Ints]] = {}
    for window in windows:
        chunks = [plan.chunk(lane, window) for lane in range(shape.lanes)]
        for name in chunks[0].images:
            rows = [chunk.rows[chunk.images[name]] for chunk in chunks]
            parts.setdefault(name, []).append(np.concatenate(rows, axis=1))
        for name in chunks[0].labels:
            parts.setdefault(name, []).append(np.concatenate([c.labels[name] for c in chunks], axis=1))
    start = steps[0] - windows[0] * shape.window
    return {name: np.concatenate(value)[start : start + len(steps)] for name, value in parts.items()}
