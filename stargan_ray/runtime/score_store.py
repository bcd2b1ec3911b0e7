"""Scores of a data set, block after block on storage: what a killed run has scored is not scored again.

<folder>/<start>.parquet    p_<class> of the rows [start, start + block)
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stargan_ray.data import storage
from stargan_ray.data.shards import Dataset
from stargan_ray.data.units import write_table
from stargan_ray.errors import InputError
from stargan_ray.runtime.block_pool import each_block
from stargan_ray.runtime.defaults import BLOCK
from stargan_ray.runtime.scoring import Score, Scorer, Scores, decode_rows, score_decoded

BATCH = 128  # images in a forward pass: a VGG of 48 pixels takes a tenth longer an image for 256 of them on a CPU
_CACHE_BYTES, _OPEN_FILES = 16 << 20, 4

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Blocks:
    """The blocks of one data set under one classifier.

    Args:
        dataset: what is scored.
        scorer: by what.
        folder: URI under which blocks are stored; those of other data or another classifier lie beside them.
        size: rows of a block.
        among: (n,) the positions in the index that are scored; None = all.
    """

    dataset: Dataset
    scorer: Scorer
    folder: str
    size: int = BLOCK
    among: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Refuse blocks of nothing."""
        if self.size < 1:
            raise InputError(f"--block {self.size}: allowed are values >= 1")

    def __getstate__(self) -> dict[str, Any]:
        """To a worker, which reads images and stores scores, without the labels of the whole data set."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {
            "dataset": self.dataset.without_labels()
        }

    @property
    def uri(self) -> str:
        """Where these blocks are: data, classifier and block size are in the name."""
        told: list[object] = [
            self.dataset.manifest.content_hash,
            self.scorer.name,
            self.scorer.classes,
            self.size,
        ]
        if self.among is not None:
            told.append(hashlib.sha256(self.among.tobytes()).hexdigest())
        return storage.join(self.folder, hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16])

    @property
    def starts(self) -> range:
        """The first place of every block among the rows that are scored."""
        return range(0, len(self), self.size)

    def __len__(self) -> int:
        return len(self.dataset) if self.among is None else len(self.among)

    def rows(self, start: int) -> npt.NDArray[np.int64]:
        """The positions in the index of a block."""
        places = np.arange(start, min(start + self.size, len(self)), dtype=np.int64)
        return places if self.among is None else self.among[places]

    def read(self, start: int) -> Scores | None:
        """A stored block (n, K), or None where it is missing or damaged."""
        where = self._where(start)
        try:
            table = pq.read_table(storage.open_input(where))
            found = np.stack([table[f"p_{name}"].to_numpy() for name in self.scorer.classes], axis=1)
        except (storage.StorageError, pa.ArrowInvalid, KeyError, ValueError):
            return None
        return found.astype(np.float32) if len(found) == len(self.rows(start)) else None

    def make(self) -> Score:
        """The scoring function of a process."""
        return self.scorer.make()

    def stored(self, start: int) -> bool:
        """Whether a block is stored whole."""
        return self.read(start) is not None

    def write(self, start: int, score: Score) -> None:
        """Score a block and store it; while the network is at work the next images are decoded."""
        parts = np.array_split(self.rows(start), range(BATCH, len(self.rows(start)), BATCH))
        decoded = _one_ahead(self._thread, functools.partial(decode_rows, self._images, self.scorer.size), parts)
        found = np.concatenate([score_decoded(each, len(self.scorer.classes), score) for each in decoded])
        columns = {f"p_{name}": pa.array(found[:, k], pa.float32()) for k, name in enumerate(self.scorer.classes)}
        write_table(self._where(start), pa.table(columns))

    @functools.cached_property
    def _thread(self) -> ThreadPoolExecutor:
        """What decodes ahead: one for all blocks, since the C library keeps memory for every thread that there was."""
        return ThreadPoolExecutor(1, "ahead")

    @functools.cached_property
    def _images(self) -> Dataset:
        """The data set with little memory for images: they are read once, one after the other."""
        return Dataset(self.dataset.uri, self.dataset.manifest, self.dataset.index, _CACHE_BYTES, _OPEN_FILES)

    def _where(self, start: int) -> str:
        return storage.join(self.uri, f"{start:010d}.parquet")


def _one_ahead(thread: ThreadPoolExecutor, make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """``map``, whose next result is made in a thread while the last one is used: two are in memory, no more."""
    coming: Future[Made] | None = None
    for item in items:
        ready, coming = coming, thread.submit(make, item)
        if ready is not None:
            yield ready.result()
    if coming is not None:
        yield coming.result()


def score_dataset(blocks: Blocks, parallel: int = 1, on_scored: Callable[[int], None] = lambda _: None) -> Scores:
    """(N, K) probabilities of every row; NaN where an image cannot be decoded or is not among those to be scored.

    Args:
        blocks: what is there is taken, the rest is scored.
        parallel: processes; 1 is this one, more are an actor pool of Ray Data.
        on_scored: told how many rows are new, for progress.

    Raises:
        InputError: the cluster has fewer CPUs, or the blocks cannot be written or read by this process.
    """
    stored = {name.removesuffix(".parquet") for name in storage.list_names(blocks.uri)}
    scores = np.full((len(blocks.dataset), len(blocks.scorer.classes)), np.nan, np.float32)

    def take(start: int) -> bool:
        """Put a block in its place, if it is there."""
        block = blocks.read(start)
        if block is not None:
            scores[blocks.rows(start)] = block
        return block is not None

    missing = [start for start in blocks.starts if f"{start:010d}" not in stored or not take(start)]
    on_scored(len(blocks) - sum(len(blocks.rows(start)) for start in missing))
    for start in each_block(blocks, missing, parallel):
        if not take(start):
            raise InputError(f"scores in {blocks.uri} cannot be read here: workers on other machines need s3://…")
        on_scored(len(blocks.rows(start)))
    return scores
