"""Which images meet in which step: a pure function of (seed, step, index of the data set).

This file is the contract; ``plan_domains.py`` and ``plan_identities.py`` are the two plans.

A run is one endless sequence of global batches. A batch is cut into ``lanes`` equal parts, fixed by the recipe
and independent of the number of workers; a worker serves whole lanes, so the global batch at a step is the same
for one worker or many. ``window`` consecutive steps of a lane are a *chunk*: its images are decoded once, and
the references of its samples are drawn among its own sources, so decoding costs about one image a sample.

Balance is exact by construction: every K consecutive samples of a lane hold each domain once as source and once
as target, and the stream of a domain passes through all its images before one repeats, whatever the class
sizes. Nothing is stored: a chunk is computed from its number alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stargan_ray.errors import InputError

Ints = npt.NDArray[np.int64]


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

    def require_divisible(self, workers: range) -> None:
        """Refuse numbers of workers of which one cannot share the lanes.

        Raises:
            InputError: there is one.
        """
        if len(workers) == 1:
            self.lanes_of(0, workers[0])
        elif wrong := [number for number in workers if self.lanes % number]:
            raise InputError(
                f"scale.num_workers = {workers[0]} {workers[-1]}: every number of workers between them must divide "
                f"data.shape.lanes = {self.lanes}, and {wrong[0]} does not: allowed are narrower ranges, "
                f"or a new run with a multiple of {math.lcm(*workers)} lanes"
            )

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
    def rows(self) -> Ints:
        """(N,) positions in the index of the rows that samples are drawn from."""
        ...

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
