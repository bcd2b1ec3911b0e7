"""Identity embeddings of a data set's images, kept beside it: computed once for an embedder, read by trainings.

    <data>/embeddings/<16 digits of the hash of the embedder's weights>-<size>px/
        <digest>.parquet    content_hash, embedding, mirrored: of some images and of their mirror images
        about.json          what the last whole pass was of; for people, nothing depends on it

A vector is found by the hash of its image, so copies share one, and a data set that is ingested again has what it had.
The size is that of the decoded image, as a training decodes it; the embedder resizes it to its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stargan_ray.data import storage
from stargan_ray.data.shards import Dataset
from stargan_ray.data.units import write_table
from stargan_ray.errors import InputError

Vectors = npt.NDArray[np.float32]
FOLDER = "embeddings"


@dataclass(frozen=True)
class Store:
    """The embeddings of a data set by one embedder.

    Args:
        data: URI of the data set.
        model: hash of the embedder's weights.
        size: width and height of the images that it is shown, pixels.
        width: of its vectors.
    """

    data: str
    model: str
    size: int
    width: int

    @property
    def uri(self) -> str:
        """The folder."""
        return storage.join(self.data, FOLDER, f"{self.model[:16]}-{self.size}px")

    def known(self) -> pa.ChunkedArray:
        """The hashes of the images that have their vectors here; what is damaged counts for nothing."""
        found = [t["content_hash"] for name in self._files() if (t := self._read(name, ["content_hash"])) is not None]
        return pa.chunked_array([chunk for column in found for chunk in column.chunks], pa.string())

    def count(self, asked: Sequence[str]) -> int | None:
        """How many of some images that were to be embedded together have their vectors; None where no file says so."""
        found = self._read(_name(asked), ["content_hash"])
        return None if found is None else len(found)

    def write(self, asked: Sequence[str], hashes: Sequence[str], vectors: Vectors) -> None:
        """Store the vectors of images in one file, in place of an earlier attempt at the same images.

        Args:
            asked: hashes of the images that were to be embedded.
            hashes: of those that could be.
            vectors: (len(hashes), 2, width) of each image and its mirror image.
        """
        columns = {
            name: pa.FixedSizeListArray.from_arrays(pa.array(vectors[:, view].reshape(-1)), self.width)
            for view, name in enumerate(("embedding", "mirrored"))
        }
        table = pa.table({"content_hash": pa.array(hashes, pa.string()), **columns})
        write_table(storage.join(self.uri, _name(asked)), table)

    def finish(self, about: dict[str, Any]) -> None:
        """Say for people what the files are of."""
        told = {"content_hash": self.model, "size": self.size, "dimension": self.width, **about}
        storage.write_bytes(storage.join(self.uri, "about.json"), json.dumps(told, indent=1).encode())

    def require(self, dataset: Dataset, rows: npt.NDArray[np.int64], how: str) -> None:
        """Refuse rows without vectors, by their hashes alone; arguments and errors as in ``load``."""
        lacking = pc.invert(pc.is_in(_hashes(dataset, rows), value_set=self.known()))
        self._refuse(dataset, rows, lacking.to_numpy(zero_copy_only=False), how)

    def load(self, dataset: Dataset, rows: npt.NDArray[np.int64], *, mirrored: bool, how: str) -> Embeddings:
        """The vectors of some rows, each image's once in memory.

        Args:
            dataset: the data set.
            rows: positions in its index.
            mirrored: whether those of the mirror images are wanted too.
            how: the command that computes what is missing, for the message.

        Raises:
            InputError: an image has none.
        """
        wanted = _hashes(dataset, rows)
        images = pc.unique(wanted)
        views = ["embedding", "mirrored"][: 1 + mirrored]
        vectors = np.full((len(images), len(views), self.width), np.nan, np.float32)
        for name in self._files():
            table = self._read(name, ["content_hash", *views])
            if table is None:
                continue
            place = pc.index_in(table["content_hash"].combine_chunks(), images)
            here = np.flatnonzero(place.is_valid().to_numpy(zero_copy_only=False))
            place = place.fill_null(0).to_numpy()[here]
            for view, column in enumerate(views):
                values = table[column].combine_chunks().flatten().to_numpy().reshape(-1, self.width)
                vectors[place, view] = values[here]
        of = pc.index_in(wanted, images).to_numpy()
        self._refuse(dataset, rows, np.isnan(vectors[:, 0, 0])[of], how)
        places = np.full(len(dataset), -1, np.int32)
        places[rows] = of
        return Embeddings(vectors, places)

    def _refuse(self, dataset: Dataset, rows: npt.NDArray[np.int64], lacking: npt.NDArray[np.bool_], how: str) -> None:
        if lacking.any():
            key = dataset.index["key"][int(rows[np.flatnonzero(lacking)[0]])].as_py()
            raise InputError(
                f"{lacking.sum()} of {len(rows)} training images have no embedding of {self.size} px by this embedder, "
                f"the first is {key!r}: run {how}"
            )

    def _files(self) -> Iterator[str]:
        return (name for name in storage.list_names(self.uri) if name.endswith(".parquet"))

    def _read(self, name: str, columns: Sequence[str]) -> pa.Table | None:
        """Some columns of a file, or None where it is missing, damaged or not ours."""
        try:
            table = pq.read_table(storage.open_input(storage.join(self.uri, name)), columns=list(columns))
        except (storage.StorageError, pa.ArrowInvalid, OSError):
            return None
        width = {field.type.list_size for field in table.schema if pa.types.is_fixed_size_list(field.type)}
        return table if set(table.column_names) == set(columns) and width <= {self.width} else None


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors for the rows of a data set, in memory: 4 bytes × V × I for each different image, 4 for each row.

    Args:
        vectors: (U, V, I) unit vectors of U images; V = 2 with that of the mirror image second, or 1.
        places: (rows of the index,) which image a row has; -1 where it has no vector.
    """

    vectors: Vectors
    places: npt.NDArray[np.int32]

    def of(self, rows: npt.NDArray[np.int64]) -> Vectors:
        """(…) positions in the index -> (…, V, I)."""
        places = self.places[rows]
        assert places.min() >= 0, "a row without an embedding: they were loaded for another plan"
        found: Vectors = self.vectors[places]
        return found


def _hashes(dataset: Dataset, rows: npt.NDArray[np.int64]) -> pa.Array:
    return dataset.index["content_hash"].combine_chunks().take(pa.array(rows))


def _name(hashes: Sequence[str]) -> str:
    """A name that is the same for the same images: a block that is done again replaces itself."""
    return f"{hashlib.sha256(' '.join(hashes).encode()).hexdigest()[:16]}.parquet"
