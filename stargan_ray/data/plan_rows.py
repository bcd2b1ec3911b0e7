"""The plan of classifiers that see each class as often as the data has it: every row once a pass, in random order."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from stargan_ray.data.plan import Chunk, Ints, Shape
from stargan_ray.data.row_streams import Streams, Weights
from stargan_ray.errors import InputError


@dataclass(frozen=True)
class RowPlan:
    """Sources without balance, targets or references.

    Chunks have the image ``source`` and the label ``source_label``.

    Args:
        rows: (N,) positions in the index of the rows to train on, ascending.
        labels: (N,) domain of each.
        groups: (size of the index,) row group of every row.
        shape: how batches are cut.
        seed: of the run.
        weights: (N,) how often each is drawn, in (0, 1]; None = alike.
    """

    rows: Ints
    labels: Ints
    groups: Ints
    shape: Shape
    seed: int
    weights: Weights | None = None

    def __post_init__(self) -> None:
        """Refuse nothing to train on."""
        if not len(self.rows):
            raise InputError("no training row has a label: a classifier needs them")

    @functools.cached_property
    def _stream(self) -> Streams:
        return Streams((self.rows,), self.groups, self.seed, None if self.weights is None else (self.weights,))

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which as many sources are drawn as there are images."""
        return max(1, len(self.rows) // self.shape.batch)

    def chunk(self, lane: int, window: int) -> Chunk:
        """The samples of a lane in a window: every lanes-th position of the stream is the lane's."""
        shape = self.shape
        samples = range(window * shape.window * shape.share, (window + 1) * shape.window * shape.share)
        drawn = np.array([self._stream.row(0, sample * shape.lanes + lane) for sample in samples], dtype=np.int64)
        rows, source = np.unique(drawn, return_inverse=True)
        label = self.labels[np.searchsorted(self.rows, drawn)]
        grid = (shape.window, shape.share)
        return Chunk(rows, {"source": source.reshape(grid)}, {"source_label": label.reshape(grid)})
