"""The Ray Data door: windows of decoded chunks, streamed to a training worker.

Each worker asks for its own lanes from the window it stands at, so the sequence depends neither on how Ray
schedules nor on how often a run was resumed. The plan is computed where it is needed, by the worker, and a task is
told which rows its windows are made of: it reads the encoded images through a cache that outlives the task, decodes
them unless it did so before, and gives one row a window.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from stargan_ray.data.plan import Chunk, Ints, Plan
from stargan_ray.data.pools import Load, Pixels, Window, pool_loader, rows_of
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.errors import InputError

# Windows that are decoded together, an execution of Ray Data: each costs the time in which Ray makes ready for it. At
# most twice their bytes lie in the object store for a worker, and all workers together leave half of it to others.
_MOST_WINDOWS, _MOST_BYTES = 64, 1 << 30
_SHARE = 1 / 4
_BLOCK_BYTES = 4 << 20  # a task hands over what it has when it has so much: a block of several windows is copied twice


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
    """Loads the pools of a segment's windows, by their numbers in it."""

    reading: _Reading
    rows: tuple[Ints, ...]  # of each window, its lanes end to end

    def __call__(self, block: dict[str, Any]) -> pa.Table:
        """{"id": (1,)} -> one row: the number, and the images."""
        number = int(block["id"][0])
        pool = _loader(self.reading)(self.rows[number])
        return pa.table({"id": pa.array([number], pa.int64()), "pixels": _as_one_value(pool)})


class _Segment(NamedTuple):
    """Windows that were decoded together."""

    chunks: list[list[Chunk]]  # of each window and lane
    blocks: list[Any]  # references to tables of one or more windows, in order


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

        segments = self.segments(start, stop, self._share(ray.cluster_resources().get("object_store_memory", 0.0)))
        with ThreadPoolExecutor(1, "plan") as planner, ThreadPoolExecutor(1, "decode") as decoder:
            # While Ray decodes one segment the next is planned, and the one before is used.
            plans = deque(planner.submit(self._chunks, segment) for segment in segments[:2])
            coming = decoder.submit(self._decode, plans.popleft())
            for number, segment in enumerate(segments):
                chunks, blocks = _result(coming)
                if plans:
                    coming = decoder.submit(self._decode, plans.popleft())
                plans.extend(planner.submit(self._chunks, later) for later in segments[number + 2 : number + 3])
                expected = iter(range(len(segment)))
                while blocks:
                    table = ray.get(blocks.pop(0))
                    for row in range(table.num_rows):
                        place = table["id"][row].as_py()
                        assert place == next(expected), f"Ray Data delivered window {place} of {segment} out of turn"
                        yield Window(chunks[place], self._pool(table, row))

    def _share(self, store: float) -> int:
        """Bytes of a segment, if all workers share the object stores of the cluster, which have ``store`` bytes."""
        workers = self.plan.shape.lanes // len(self.lanes)
        return int(min(_MOST_BYTES, store * _SHARE / workers))

    def segments(self, start: int, stop: int, room: int) -> list[range]:
        """What is decoded together: one window first, since somebody waits for it, and then twice as many each time.

        Args:
            start: the first window.
            stop: the one behind the last.
            room: bytes that a segment may take, unless it is a single window.
        """
        most = max(1, min(_MOST_WINDOWS, room // self._window_bytes))
        segments, count = [], 1
        while start < stop:
            segments.append(range(start, min(start + count, stop)))
            start, count = segments[-1].stop, min(2 * count, most)
        return segments

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

    def loader(self, chunks: list[list[Chunk]]) -> WindowLoader:
        """What makes the windows of a segment."""
        return WindowLoader(self._reading, tuple(map(rows_of, chunks)))

    def _chunks(self, segment: range) -> list[list[Chunk]]:
        """The plan of a segment: each window's lanes."""
        return [[self.plan.chunk(lane, window) for lane in self.lanes] for window in segment]

    def _decode(self, planned: Future[list[list[Chunk]]]) -> _Segment:
        """The decoded windows of a segment, when all are there.

        An execution of Ray Data that is left open waits for its reader in a loop that keeps a core busy and
        holds the interpreter of the training process (3 times slower steps, measured). So each segment is an
        execution of its own that ends, and the next one runs while this one is used.
        """
        import ray.data
        from ray.data import DataContext, TaskPoolStrategy

        context = DataContext.get_current()
        context.execution_options.preserve_order = True
        context.target_max_block_size = _BLOCK_BYTES
        chunks = planned.result()
        # Reading numbers and decoding their windows fuse into one task; between two of them a reader would wait.
        numbers = ray.data.range(len(chunks), override_num_blocks=min(len(chunks), self.readers))
        decoded = numbers.map_batches(
            self.loader(chunks),
            batch_size=1,
            compute=TaskPoolStrategy(size=self.readers),
            num_cpus=self.cpus,
        )
        return _Segment(chunks, list(decoded.to_arrow_refs()))

    def _pool(self, table: pa.Table, row: int) -> Pixels:
        """A window's images in the object store's memory."""
        return np.frombuffer(table["pixels"][row].as_buffer(), np.uint8).reshape(-1, 3, self.size, self.size)


def _as_one_value(pool: Pixels) -> pa.LargeBinaryArray:
    """An array as the only value of a column, without a copy."""
    ends = pa.array([0, pool.nbytes], pa.int64()).buffers()[1]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(pool)])


def _result(coming: Future[_Segment]) -> _Segment:
    """What comes."""
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
