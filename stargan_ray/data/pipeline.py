"""The Ray Data door: windows of decoded chunks, streamed to a training worker.

Each worker asks for its own lanes from the window it stands at, so the sequence depends neither on how Ray
schedules nor on how often a run was resumed. A window is one task: it computes the plan, reads the encoded
images through a cache that outlives the task, decodes them unless it did so before, and returns one row.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from stargan_ray.data.plan import Ints, Plan
from stargan_ray.data.pools import Load, Pixels, Window, pool_loader, rows_of
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.errors import InputError

# Windows that are decoded together, an execution of Ray Data: each costs the time in which Ray makes ready for it. At
# most twice their bytes lie in the object store for a worker.
_MOST_WINDOWS, _MOST_BYTES = 16, 512 << 20
_BLOCK_BYTES = 64 << 20  # windows of one task: between two tasks a reader waits, and a large block is copied once more


@dataclass(frozen=True)
class _Reading:
    """What a process reads for a run, by which it knows it again in the next task."""

    uri: str
    content_hash: str
    cache_bytes: int
    size: int
    rows_hash: str
    rows: Ints = field(compare=False)  # those of the plan


@functools.lru_cache(maxsize=2)
def _loader(reading: _Reading) -> Load:
    """Of this process: its row groups and decoded images serve one task after another."""
    dataset = open_dataset(reading.uri, reading.cache_bytes)
    return pool_loader(dataset, reading.rows, reading.size, reading.cache_bytes)


@dataclass(frozen=True)
class WindowLoader:
    """Loads the pools of some lanes for the window numbers of a Ray Data block."""

    reading: _Reading
    plan: Plan
    lanes: tuple[int, ...]
    start: int

    def __call__(self, block: dict[str, Any]) -> pa.Table:
        """{"id": (1,)} -> one row: window, and the images of its lanes end to end."""
        load = _loader(self.reading)
        window = self.start + int(block["id"][0])
        pool = load(rows_of([self.plan.chunk(lane, window) for lane in self.lanes]))
        return pa.table({"window": pa.array([window], pa.int64()), "pixels": _as_one_value(pool)})


@dataclass(frozen=True)
class RaySource:
    """A ``Source`` (see ``stream.py``) whose windows are decoded by Ray Data tasks.

    Args:
        dataset: what is read.
        plan: which images meet.
        lanes: of this worker.
        size: of the decoded images, pixels.
        cache_bytes: memory for images in each reading process: of encoded row groups, and where both fit, of all
            images decoded.
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

    def windows(self, start: int, stop: int) -> Iterator[Window]:
        """See ``Source``."""
        import ray

        segments = self.segments(start, stop)
        with ThreadPoolExecutor(1, "decode") as pool:
            coming = pool.submit(self._decode, segments[0])
            for number, segment in enumerate(segments):
                refs = _result(coming)
                if number + 1 < len(segments):
                    coming = pool.submit(self._decode, segments[number + 1])
                expected = iter(segment)
                while refs:
                    table = ray.get(refs.pop(0))
                    for row in range(table.num_rows):
                        window = table["window"][row].as_py()
                        assert window == next(expected), f"Ray Data delivered window {window} out of turn"
                        chunks = [self.plan.chunk(lane, window) for lane in self.lanes]
                        yield Window(chunks, self._pool(table, row))

    def segments(self, start: int, stop: int) -> list[range]:
        """What is decoded together: one window first, since somebody waits for it, and then twice as many each time."""
        most = max(1, min(_MOST_WINDOWS, _MOST_BYTES // self._window_bytes))
        segments, count = [], 1
        while start < stop:
            segments.append(range(start, min(start + count, stop)))
            start, count = segments[-1].stop, min(2 * count, most)
        return segments

    def _blocks(self, segment: range) -> int:
        """How many tasks decode a segment."""
        return min(len(segment), max(self.readers, math.ceil(len(segment) * self._window_bytes / _BLOCK_BYTES)))

    @functools.cached_property
    def _window_bytes(self) -> int:
        """Of the first window; others differ by a few images."""
        return len(rows_of([self.plan.chunk(lane, 0) for lane in self.lanes])) * 3 * self.size**2

    @functools.cached_property
    def _reading(self) -> _Reading:
        rows = self.plan.rows
        digest = hashlib.sha256(rows.tobytes()).hexdigest()
        content_hash = self.dataset.manifest.content_hash
        return _Reading(self.dataset.uri, content_hash, self.cache_bytes, self.size, digest, rows)

    def loader(self, segment: range) -> WindowLoader:
        """What makes the windows of a segment."""
        return WindowLoader(self._reading, self.plan, tuple(self.lanes), segment.start)

    def _decode(self, segment: range) -> list[Any]:
        """References to the decoded windows of a segment, in order, when all are there.

        An execution of Ray Data that is left open waits for its reader in a loop that keeps a core busy and
        holds the interpreter of the training process (3 times slower steps, measured). So each segment is an
        execution of its own that ends, and the next one runs while this one is used.
        """
        import ray.data
        from ray.data import DataContext, TaskPoolStrategy

        DataContext.get_current().execution_options.preserve_order = True
        # Reading numbers and decoding their windows fuse into one task a block.
        numbers = ray.data.range(len(segment), override_num_blocks=self._blocks(segment))
        decoded = numbers.map_batches(
            self.loader(segment),
            batch_size=1,
            compute=TaskPoolStrategy(size=self.readers),
            num_cpus=self.cpus,
        )
        return list(decoded.to_arrow_refs())

    def _pool(self, table: pa.Table, row: int) -> Pixels:
        """A window's images in the object store's memory."""
        return np.frombuffer(table["pixels"][row].as_buffer(), np.uint8).reshape(-1, 3, self.size, self.size)


def _as_one_value(pool: Pixels) -> pa.LargeBinaryArray:
    """An array as the only value of a column, without a copy."""
    ends = pa.array([0, pool.nbytes], pa.int64()).buffers()[1]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(pool)])


def _result(coming: Future[list[Any]]) -> list[Any]:
    """The references of a segment's windows."""
    with said_plainly():
        return coming.result()


@contextlib.contextmanager
def said_plainly() -> Iterator[None]:
    """What a task or actor says to people is said as it was, without Ray's layers around it."""
    try:
        yield
    except Exception as error:
        inner: BaseException | None = error
        while inner is not None and not isinstance(inner, InputError):
            inner = getattr(inner, "cause", None) or inner.__cause__
        if isinstance(inner, InputError):
            raise InputError(str(inner)) from error
        raise
