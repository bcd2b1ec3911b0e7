"""Reading a data set: open it at its URI, then read images by their position in its index."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stargan_ray.data import storage
from stargan_ray.data.manifest import Manifest
from stargan_ray.data.schema import INDEX_SCHEMA, ROW_GROUP
from stargan_ray.errors import InputError

_NOT_PICKLED = ("_groups", "_cached_bytes", "_files", "_lock")


class Dataset:
    """A data set opened for reading; it travels to workers by pickle, without its cache.

    It reaches the rows alone: what is known of generated faces, in ``truth/``, is for evaluation to read.

    Args:
        uri: Where it is.
        manifest: What it holds.
        index: INDEX_SCHEMA, one line a row in storage order.
        cache_bytes: Upper limit of the row groups kept in memory.
        open_files: Shards kept open, of which each takes a tenth of a megabyte; a few do for reading in order.
    """

    def __init__(self, uri: str, manifest: Manifest, index: pa.Table, cache_bytes: int, open_files: int = 64) -> None:
        self.uri = uri
        self.manifest = manifest
        self.index = index
        self._cache_bytes = cache_bytes
        self._open_files = open_files
        self._shard = index.column("shard").to_numpy()
        self._row = index.column("row").to_numpy()
        self.__setstate__({})

    def __len__(self) -> int:
        return self.manifest.rows

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _NOT_PICKLED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._groups: OrderedDict[tuple[int, int], pa.ChunkedArray] = OrderedDict()
        self._cached_bytes = 0
        self._files: OrderedDict[int, pq.ParquetFile] = OrderedDict()
        self._lock = threading.Lock()  # a prefetching thread may share the cache

    def without_labels(self) -> Dataset:
        """The same images alone, at the same positions: what a worker needs that only reads them, in 8 bytes a row."""
        return Dataset(
            self.uri, self.manifest, self.index.select(["shard", "row"]), self._cache_bytes, self._open_files
        )

    def images(self, rows: npt.NDArray[np.integer[Any]]) -> list[bytes]:
        """The encoded images at positions of the index.

        Args:
            rows: (N,) positions in ``[0, len(self))``, in any order, repeats allowed.

        Returns:
            N images as JPEG, PNG, … bytes, in the order asked. Each row group is read at most once.

        Raises:
            StorageError: If a shard is missing or damaged.
            IndexError: If a position is outside the data set.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"positions must be in [0, {len(self)}), got {rows.min()} to {rows.max()}")
        groups = self._row[rows] // ROW_GROUP
        order = np.lexsort((groups, self._shard[rows]))
        images: list[bytes] = [b""] * len(rows)
        key, group = (-1, -1), pa.chunked_array([], pa.binary())
        with self._lock:
            for place in order:
                wanted = (int(self._shard[rows[place]]), int(groups[place]))
                if wanted != key:
                    key, group = wanted, self._group(wanted)
                images[place] = group[int(self._row[rows[place]]) % ROW_GROUP].as_py()
        return images

    def _group(self, key: tuple[int, int]) -> pa.ChunkedArray:
        """One row group's images, from the cache or from storage."""
        if key in self._groups:
            self._groups.move_to_end(key)
            return self._groups[key]
        uri = storage.join(self.uri, self.manifest.shards[key[0]].path)
        try:
            group = self._file(key[0], uri).read_row_group(key[1], columns=["image"], use_threads=False)["image"]
        except (pa.ArrowInvalid, OSError) as error:
            raise storage.failure("read", uri, error) from error
        self._groups[key] = group
        self._cached_bytes += group.nbytes
        while len(self._groups) > 1 and self._cached_bytes > self._cache_bytes:
            self._cached_bytes -= self._groups.popitem(last=False)[1].nbytes
        return group

    def _file(self, shard: int, uri: str) -> pq.ParquetFile:
        if shard not in self._files:
            self._files[shard] = pq.ParquetFile(storage.open_input(uri))
            if len(self._files) > self._open_files:
                self._files.popitem(last=False)[1].close(force=True)
        self._files.move_to_end(shard)
        return self._files[shard]


def _current(index: pa.Table) -> pa.Table:
    """An index in today's schema: rows had no weights once."""
    if "weight" not in index.column_names:
        place = INDEX_SCHEMA.get_field_index("weight")
        index = index.add_column(place, INDEX_SCHEMA.field("weight"), pa.nulls(len(index), pa.float32()))
    return index.cast(INDEX_SCHEMA)


def open_dataset(uri: str, cache_bytes: int = 256 << 20) -> Dataset:
    """Open the data set at a URI.

    Args:
        uri: Where `write_dataset` put it.
        cache_bytes: Upper limit of the images kept in memory, 256 MiB by default.

    Raises:
        InputError: If no whole data set of this schema version is there.
    """
    uri = storage.absolute(uri)
    where = storage.join(uri, "manifest.json")
    if not storage.exists(where):
        raise InputError(f"{uri} holds no data set (no manifest.json): run jobs/ingest.py to its end first")
    manifest = Manifest.from_json(storage.read_bytes(where), where)
    table = storage.join(uri, "index.parquet")
    try:
        index = _current(pq.read_table(pa.BufferReader(storage.read_bytes(table))))
    except (pa.ArrowInvalid, ValueError) as error:
        raise InputError(f"{table} is damaged ({error}): ingest the data set again with --overwrite") from error
    if index.num_rows != manifest.rows:
        raise InputError(f"{table} has {index.num_rows} rows, the manifest {manifest.rows}: ingest it again")
    return Dataset(uri, manifest, index, cache_bytes)
