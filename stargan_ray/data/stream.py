"""From decoded chunks to the batches of a worker, and the in-process source of chunks.

A *source* yields, for one window after another, the decoded pools of the worker's lanes. Two exist: threads of
this process (here) and Ray Data (``pipeline.py``); both read the same plan through the same function.
"""

from __future__ import annotations

import queue
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stargan_ray.data.embeddings import Embeddings
from stargan_ray.data.plan import Chunk, Plan
from stargan_ray.data.pools import Pixels, Window, pool_loader, rows_of
from stargan_ray.data.shards import Dataset


class Source(Protocol):
    """Decoded pools of some lanes, window after window."""

    def windows(self, start: int, stop: int) -> Iterator[Window]:
        """Each window of [start, stop), lane by lane."""
        ...


@dataclass(frozen=True)
class ThreadSource:
    """Reads and decodes the next window in a thread while this one is used; at most two are in memory.

    Args:
        dataset: what is read.
        plan: which images meet.
        lanes: of this worker.
        size: of the decoded images, pixels.
        keep_bytes: memory for decoded images beside the windows, see ``pool_loader``; 0 = none are kept.
    """

    dataset: Dataset
    plan: Plan
    lanes: Sequence[int]
    size: int
    keep_bytes: int = 0

    def windows(self, start: int, stop: int) -> Iterator[Window]:
        """See ``Source``."""
        ready: queue.SimpleQueue[Window | BaseException] = queue.SimpleQueue()
        wanted = threading.Semaphore(1)  # the first window, then one more for each that is taken
        ended = threading.Event()
        load = pool_loader(self.dataset, self.plan.rows, self.size, self.keep_bytes)

        def fill() -> None:
            try:
                for window in range(start, stop):
                    wanted.acquire()
                    if ended.is_set():
                        return
                    chunks = [self.plan.chunk(lane, window) for lane in self.lanes]
                    ready.put(Window(chunks, load(rows_of(chunks))))
            except BaseException as error:  # handed to the consumer, who raises it
                ready.put(error)

        threading.Thread(target=fill, daemon=True, name="decode").start()
        try:
            for _ in range(start, stop):
                yield _taken(ready, wanted)  # kept in no variable here: it is the consumer's to let go
        finally:
            ended.set()
            wanted.release()


def _taken(ready: queue.SimpleQueue[Window | BaseException], wanted: threading.Semaphore) -> Window:
    """The next window; the thread begins the one after it."""
    item = ready.get()
    if isinstance(item, BaseException):
        raise item
    wanted.release()
    return item


def _readable(pool: Pixels) -> Tensor:
    """The memory of a window as a tensor. That of Ray's object store cannot be written, and nobody does."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        return torch.from_numpy(pool)


@dataclass
class Batches:
    """The worker's share of the global batches from a step on.

    Iterating yields dicts: image roles as uint8 (b, 3, H, W) and labels as int64 (b,), on the device, b being
    the worker's part of the global batch. With embeddings there is ``source_embedding`` too, float32 (b, V, I): of the
    source as it is stored, and of its mirror image if V = 2. ``waited`` sums the seconds spent waiting for data.
    """

    source: Source
    plan: Plan
    lanes: Sequence[int]
    device: torch.device
    embeddings: Embeddings | None = None
    waited: float = 0.0

    def steps(self, start: int, stop: int) -> Iterator[dict[str, Tensor]]:
        """The batches of the steps [start, stop)."""
        width = self.plan.shape.window
        if start >= stop:
            return
        first, last = start // width, (stop - 1) // width
        windows = self.source.windows(first, last + 1)
        for window in range(first, last + 1):
            began = time.perf_counter()
            chunks, decoded = next(windows)
            images, values = self._join(chunks)
            self.waited += time.perf_counter() - began
            # At most one copy a window: every step then indexes what is already on the device.
            pool = _readable(decoded).to(self.device)
            del decoded
            for step in range(max(start, window * width), min(stop, (window + 1) * width)):
                at = step - window * width
                # index_select copies whole images, where pool[…] goes byte by byte
                yield {n: pool.index_select(0, v[at]) for n, v in images.items()} | {
                    n: v[at] for n, v in values.items()
                }
            del pool  # before the next window is taken, which lets the one after it be read

    def _join(self, chunks: list[Chunk]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The lanes' chunks side by side: positions in the joined pool, and labels and such, (window, b, …) each."""
        offsets = np.cumsum([0] + [len(chunk.rows) for chunk in chunks[:-1]])
        images = {
            name: np.concatenate([c.images[name] + o for c, o in zip(chunks, offsets, strict=True)], axis=1)
            for name in chunks[0].images
        }
        values = {name: np.concatenate([c.labels[name] for c in chunks], axis=1) for name in chunks[0].labels}
        if self.embeddings is not None:
            rows = np.concatenate([c.rows[c.images["source"]] for c in chunks], axis=1)
            values["source_embedding"] = self.embeddings.of(rows)
        return (
            {name: torch.from_numpy(value).to(self.device) for name, value in images.items()},
            {name: torch.from_numpy(value).to(self.device) for name, value in values.items()},
        )
