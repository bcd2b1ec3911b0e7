"""Batches of real and translated images from memory, for classifiers that learn from both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stargan_ray.data.plan import Chunk, Ints, Shape
from stargan_ray.data.plan_rows import RowPlan
from stargan_ray.data.pools import Pixels, Window
from stargan_ray.errors import InputError


@dataclass(frozen=True)
class MixedPlan:
    """Every batch has the same number of translated images; each kind passes through all its rows before one repeats.

    A fixed share, instead of draws from the union: translations outnumber their sources (six to one, if every image
    is translated to the other expressions of KDEF), so that of a union the real images would be a seventh, batch
    norm's statistics those of translations, and two sets of different size two different experiments.

    Rows are positions in the real images followed by the translated ones. There is one lane.

    Args:
        real: of the real images alone.
        translated: of the translated images alone, counted from the first of them; None = none.
        offset: how many real images there are, used or not.
    """

    real: RowPlan
    translated: RowPlan | None
    offset: int

    @property
    def rows(self) -> Ints:
        """All positions that samples are drawn from, ascending."""
        if self.translated is None:
            return self.real.rows
        return np.concatenate([self.real.rows, self.translated.rows + self.offset])

    @property
    def shape(self) -> Shape:
        """Of the batches of both kinds together."""
        extra = 0 if self.translated is None else self.translated.shape.batch
        return Shape(self.real.shape.batch + extra, 1, self.real.shape.window)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every real image is drawn once."""
        return self.real.steps_per_epoch

    def chunk(self, lane: int, window: int) -> Chunk:
        """The samples of a window: in every step real ones first, then translated ones."""
        first = self.real.chunk(lane, window)
        if self.translated is None:
            return first
        second = self.translated.chunk(lane, window)
        joined = len(first.rows)
        return Chunk(
            np.concatenate([first.rows, second.rows + self.offset]),
            {"source": np.concatenate([first.images["source"], second.images["source"] + joined], axis=1)},
            {"source_label": np.concatenate([first.labels["source_label"], second.labels["source_label"]], axis=1)},
        )


def mixed_plan(
    shape: Shape, seed: int, share: float, real: tuple[Ints, Ints], translated: tuple[Ints, Ints] | None, offset: int
) -> MixedPlan:
    """The plan of a batch of which a share, rounded to whole images, is translated.

    Args:
        shape: batch and window; lanes are joined.
        seed: of the run.
        share: of translated images, 0 < share < 1.
        real: rows to train on, ascending, and the labels of these rows.
        translated: the same of the translated images; None = the whole batch is real.
        offset: how many real images there are, used or not.

    Raises:
        InputError: one kind would have no place in a batch, or no rows.
    """
    many = 0 if translated is None else round(share * shape.batch)
    if translated is not None and not 0 < many < shape.batch:
        raise InputError(f"share = {share}: {many} of the {shape.batch} images of a batch; both kinds need a place")

    def plan(rows: Ints, labels: Ints, batch: int) -> RowPlan:
        # one group: what is in memory needs no order of reading
        groups = np.zeros(int(rows.max(initial=0)) + 1, np.int64)
        return RowPlan(rows, labels, groups, Shape(batch, 1, shape.window), seed)

    extra = None if translated is None else plan(*translated, many)
    return MixedPlan(plan(*real, shape.batch - many), extra, offset)


@dataclass(frozen=True)
class MemorySource:
    """Windows of a plan over images that are decoded.

    Args:
        images: (N, 3, H, W) parts that follow one another: real, and translated.
        plan: over these.
    """

    images: tuple[Pixels, ...]
    plan: MixedPlan

    def windows(self, start: int, stop: int) -> Iterator[Window]:
        """See ``stream.Source``."""
        for window in range(start, stop):
            chunk = self.plan.chunk(0, window)
            yield Window([chunk], self._take(chunk.rows))

    def _take(self, rows: Ints) -> Pixels:
        """The images at rows; those of each part follow one another in a chunk."""
        ends = np.cumsum([len(part) for part in self.images])
        parts = np.searchsorted(ends, rows, side="right")
        starts = np.concatenate([[0], ends[:-1]])
        return np.concatenate(
            [part[rows[parts == k] - starts[k]] for k, part in enumerate(self.images) if (parts == k).any()]
        )
