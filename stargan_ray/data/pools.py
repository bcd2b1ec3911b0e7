"""Decoded images of a chunk, each once. Processes that do nothing else import no PyTorch with it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stargan_ray.data.decode import UndecodableError, decode
from stargan_ray.data.shards import Dataset
from stargan_ray.errors import InputError

Pixels = npt.NDArray[np.uint8]


def load_pool(dataset: Dataset, rows: npt.NDArray[np.int64], size: int) -> Pixels:
    """Read and decode the images at some positions of the index; (U, 3, size, size) uint8."""
    pool = np.empty((len(rows), 3, size, size), np.uint8)
    for place, data in enumerate(dataset.images(rows)):
        try:
            pool[place] = decode(data, size)
        except UndecodableError as error:
            key = dataset.index["key"][int(rows[place])].as_py()
            raise InputError(
                f"{dataset.uri}: image {key!r} could be decoded at ingest and cannot now ({error}): "
                "the shard changed, or was ingested by --limits.verify header; ingest the data again"
            ) from error
    return pool
