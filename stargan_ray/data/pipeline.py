"""The Ray Data door: windows of decoded chunks, streamed to a training worker.

Each worker asks for its own lanes from the window it stands at, so the sequence depends neither on how Ray
schedules nor on how often a run was resumed. A window is one task: it computes the plan, reads the encoded
images through a cache that outlives the task, decodes them, and returns one row. Ray keeps the rows in order
and, by its memory limit, no more than a few windows ahead.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from stargan_ray.data.plan import Plan
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.stream import Pixels, load_pool

_AHEAD = 3  # windows that may lie in the object store of a worker


@functools.lru_cache(maxsize=4)
def _opened(uri: str, content_hash: str, cache_bytes: int) -> Dataset:  # noqa: ARG001 - the hash is part of the key
    """The data set of this process: its cache of row groups serves one task after another."""
    return open_dataset(uri, cache_bytes)


@dataclass(frozen=True)
class WindowLoader:
    """Loads the pools of some lanes for the window numbers of a Ray Data block."""

    uri: str
    content_hash: str
    cache_bytes: int
    plan: Plan
    lanes: tuple[int, ...]
    size: int
    start: int

    def __call__(self, block: dict[str, Any]) -> pa.Table:
        """{"id": (1,)} -> one row: window, the lanes' pools end to end, how many images each has."""
        dataset = _opened(self.uri, self.content_hash, self.cache_bytes)
        window = self.start + int(block["id"][0])
        chunks = (self.plan.chunk(lane, window) for lane in self.lanes)
        pools = [load_pool(dataset, chunk.rows, self.size) for chunk in chunks]
        return pa.table(
            {
                "window": pa.array([window], pa.int64()),
                "counts": pa.array([[len(pool) for pool in pools]], pa.list_(pa.int64())),
                "pixels": pa.array([np.concatenate(pools).tobytes()], pa.large_binary()),
            }
        )


@dataclass(frozen=True)
class RaySource:
    """A ``Source`` (see ``stream.py``) whose windows are decoded by Ray Data tasks.

    Args:
        dataset: what is read.
        plan: which images meet.
        lanes: of this worker.
        size: of the decoded images, pixels.
        cache_bytes: encoded row groups kept by each reading process.
        readers: windows decoded at the same time for this worker.
        cpus: CPUs of each reading task.
    """

    dataset: Dataset
    plan: Plan
    lanes: Sequence[int]
    size: int
    cache_bytes: int
    readers: int = 1
    cpus: float = 1.0

    def windows(self, start: int, stop: int) -> Iterator[list[Pixels]]:
        """See ``Source``."""
        import ray.data
        from ray.data import DataContext, ExecutionResources, TaskPoolStrategy

        context = DataContext.get_current()
        context.execution_options.preserve_order = True
        shape = self.plan.shape
        window_bytes = shape.window * shape.share * len(self.lanes) * 3 * self.size**2
        context.execution_options.resource_limits = ExecutionResources(
            object_store_memory=_AHEAD * max(window_bytes, 1 << 20) * max(1, self.readers)
        )
        loader = WindowLoader(
            self.dataset.uri,
            self.dataset.manifest.content_hash,
            self.cache_bytes,
            self.plan,
            tuple(self.lanes),
            self.size,
            start,
        )
        # One window a block: reading the number and decoding the window fuse into one task.
        numbers = ray.data.range(stop - start, override_num_blocks=stop - start)
        decoded = numbers.map_batches(
            loader,
            batch_size=1,
            compute=TaskPoolStrategy(size=self.readers),
            num_cpus=self.cpus,
        )
        expected = start
        for table in decoded.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=1):
            window = table["window"][0].as_py()
            assert window == expected, f"Ray Data delivered window {window} instead of {expected}"
            expected += 1
            yield self._split(table)

    def _split(self, table: pa.Table) -> list[Pixels]:
        """The lanes' pools as views of the one buffer in shared memory."""
        pixels = np.frombuffer(table["pixels"][0].as_buffer(), np.uint8).reshape(-1, 3, self.size, self.size)
        counts = table["counts"][0].as_py()
        return np.split(pixels, np.cumsum(counts)[:-1])
