"""Decoded images of chunks, each once. Processes that do nothing else import no PyTorch with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stargan_ray.data.arena import Arena
from stargan_ray.data.decode import UndecodableError, decode
from stargan_ray.data.plan import Chunk
from stargan_ray.data.shards import Dataset
from stargan_ray.errors import InputError

Pixels = npt.NDArray[np.uint8]


def rows_of(chunks: list[Chunk]) -> npt.NDArray[np.int64]:
    """The positions of a window's images, one lane after another: what is loaded at once is copied no more."""
    return np.concatenate([chunk.rows for chunk in chunks])


class Window(NamedTuple):
    """A window of a worker: the chunk of each of its lanes, and their images end to end, (U, 3, H, W) by ``rows``."""

    chunks: list[Chunk]
    pool: Pixels


Load = Callable[[npt.NDArray[np.int64]], Pixels]  # (U,) positions in an index -> (U, 3, H, W)


def load_pool(
    dataset: Dataset, rows: npt.NDArray[np.int64], size: int, threads: int = 1, arena: Arena | None = None
) -> Pixels:
    """Read and decode the images at some positions of the index; (U, 3, size, size) uint8, in an arena's memory."""
    pool = (arena or Arena()).empty((len(rows), 3, size, size))
    encoded = dataset.images(rows)

    def fill(places: Iterable[int]) -> None:
        for place in places:
            try:
                decode(encoded[place], size, pool[place])
            except UndecodableError as error:
                key = dataset.index["key"][int(rows[place])].as_py()
                raise InputError(
                    f"{dataset.uri}: image {key!r} could be decoded at ingest and cannot now ({error}): "
                    "the shard changed, or was ingested by --limits.verify header; ingest the data again"
                ) from error

    if threads == 1:
        fill(range(len(rows)))
    else:
        with ThreadPoolExecutor(threads) as executor:
            list(executor.map(fill, (range(first, len(rows), threads) for first in range(threads))))
    return pool


def pool_loader(dataset: Dataset, rows: npt.NDArray[np.int64], size: int, keep_bytes: int) -> Load:
    """``load_pool`` for a run that asks again and again for the same rows; the pixels are the same.

    Args:
        dataset: what is read.
        rows: (N,) all positions that will be asked for, each once.
        size: of the decoded images, pixels.
        keep_bytes: memory for images. Where the encoded data set and these rows decoded fit into it together, each
            image is decoded once and kept; otherwise nothing is, for in a long pass the oldest is what comes next.
    """
    if dataset.manifest.image_bytes + len(rows) * 3 * size * size > keep_bytes:
        return partial(_load, dataset, size, Arena())
    return _Kept(dataset, rows, size)


def _load(dataset: Dataset, size: int, arena: Arena, rows: npt.NDArray[np.int64]) -> Pixels:
    return load_pool(dataset, rows, size, arena=arena)


class _Kept:
    """Pools cut from decoded images that are kept; a page of memory is taken when its images are first asked for."""

    def __init__(self, dataset: Dataset, rows: npt.NDArray[np.int64], size: int) -> None:
        self._dataset, self._size = dataset, size
        self._rows = np.sort(rows)
        self._images = np.empty((len(rows), 3, size, size), np.uint8)
        self._there = np.zeros(len(rows), np.bool_)
        self._arena = Arena()

    def __call__(self, rows: npt.NDArray[np.int64]) -> Pixels:
        places = np.searchsorted(self._rows, rows)
        if len(new := np.unique(places[~self._there[places]])):
            self._images[new] = load_pool(self._dataset, self._rows[new], self._size)
            self._there[new] = True
        pool = self._arena.empty((len(rows), *self._images.shape[1:]))
        return self._images.take(places, axis=0, out=pool, mode="clip")  # other modes fill a second array first
