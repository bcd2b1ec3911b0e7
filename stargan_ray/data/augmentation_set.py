"""A set of translated images as training data beside the set that it was translated from.

It is an ordinary data set with ``lineage.parquet`` beside its index: a line a row in the index's order, with the
columns ``key``, ``source_key`` (the row of the original set) and ``target`` (the name of an expression), where known
``source_hash`` (of the source's image), and ``reference_key`` where styles came from reference images. Targets that are
no domain of the original are never trained on: a translator of eight expressions makes contempt, KDEF has none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stargan_ray.data import storage
from stargan_ray.data.image_headers import read_header
from stargan_ray.data.plan import Ints
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.errors import InputError, unknown

LINEAGE = "lineage.parquet"
_NEEDED = ("key", "source_key", "target")


@dataclass(frozen=True)
class AugmentationSet:
    """Translated images and where they come from.

    Attributes:
        dataset: the images.
        labels: (m,) the target of each, an index into the original set's domains; -1 = none of them.
        origins: (m, c) rows of the original set that each was made of: its source and, where that is known, its
            reference; -1 = none.
        digest: of content and lineage.
    """

    dataset: Dataset
    labels: Ints
    origins: Ints
    digest: str

    def allowed(self, seen: npt.NDArray[np.bool_]) -> Ints:
        """The rows with a label, all of whose origins are seen.

        Args:
            seen: (N,) bool, for every row of the original set.
        """
        known = self.origins >= 0
        usable = (seen[self.origins] | ~known).all(axis=1) & (self.labels >= 0)
        rows: Ints = np.flatnonzero(usable).astype(np.int64)
        return rows


def open_augmentation_set(uri: str, original: Dataset, size: int) -> AugmentationSet:
    """Open a translated set and check that it belongs to the original.

    Args:
        uri: of the translated set.
        original: what it was translated from.
        size: pixels that both will be decoded to.

    Raises:
        InputError: There is no such set or lineage, it is of other data, it shows other people or expressions than
            it says, or its images are smaller than the original's at that size.
    """
    dataset = open_dataset(uri)
    lineage, told = _lineage(dataset)
    keys = {key: row for row, key in enumerate(original.index["key"].to_pylist())}
    source = _rows(dataset, lineage["source_key"].to_pylist(), keys, original)
    origins = [source]
    if "reference_key" in lineage.column_names:  # a reference of another set is nobody's image here
        origins.append(_places(lineage["reference_key"].to_pylist(), keys))
    if "source_hash" in lineage.column_names:
        _check_images(dataset, original, source, lineage["source_hash"].to_pylist())
    _check_people(dataset, original, source)
    _check_size(dataset, original, size)
    labels = _labels(dataset, original, lineage["target"].to_pylist())
    digest = hashlib.sha256(told + dataset.manifest.content_hash.encode()).hexdigest()
    return AugmentationSet(dataset, labels, np.stack(origins, axis=1), digest)


def _lineage(dataset: Dataset) -> tuple[pa.Table, bytes]:
    where = storage.join(dataset.uri, LINEAGE)
    if not storage.exists(where):
        raise InputError(f"{dataset.uri} has no {LINEAGE}: give a set of translated images")
    told = storage.read_bytes(where)
    try:
        table = pq.read_table(pa.BufferReader(told))
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{where} is damaged ({error}): translate the set again") from error
    if missing := [name for name in _NEEDED if name not in table.column_names]:
        raise InputError(f"{where} lacks the column {missing[0]!r}: allowed is a table with {', '.join(_NEEDED)}")
    if table["key"].to_pylist() != dataset.index["key"].to_pylist():
        raise InputError(f"{where} does not name the rows of its index in their order: translate the set again")
    return table, told


def _places(names: list[str | None], keys: dict[str, int]) -> Ints:
    return np.array([keys.get(name or "", -1) for name in names], dtype=np.int64)


def _rows(dataset: Dataset, names: list[str | None], keys: dict[str, int], original: Dataset) -> Ints:
    rows = _places(names, keys)
    if (rows < 0).any():
        strange = names[int(np.flatnonzero(rows < 0)[0])]
        raise InputError(
            f"{dataset.uri}: {int((rows < 0).sum())} of {len(rows)} images come from other data than {original.uri}, "
            f"the first from {strange!r}: translate that set"
        )
    return rows


def _check_images(dataset: Dataset, original: Dataset, source: Ints, hashes: list[str | None]) -> None:
    """Two sets may use the same keys, such as one population drawn at two sizes."""
    theirs = original.index["content_hash"].take(pa.array(source)).to_pylist()
    wrong = sum(a != b for a, b in zip(hashes, theirs, strict=True))
    if wrong:
        raise InputError(
            f"{dataset.uri}: {wrong} of {len(source)} images come from other data than {original.uri}: their "
            "sources have the same keys and are other images; translate that set"
        )


def _check_people(dataset: Dataset, original: Dataset, source: Ints) -> None:
    """An image keeps the identity of its source, or nobody can be held out."""
    theirs = original.index["identity"].to_numpy(zero_copy_only=False)[source]
    wrong = np.flatnonzero(dataset.index["identity"].to_numpy(zero_copy_only=False) != theirs)
    if len(wrong):
        key = dataset.index["key"][int(wrong[0])].as_py()
        raise InputError(f"{dataset.uri}: {len(wrong)} images have another identity than their source, first {key!r}")


def _labels(dataset: Dataset, original: Dataset, targets: list[str]) -> Ints:
    domains = list(original.manifest.domains)
    names = [None if e is None else dataset.manifest.domains[e] for e in dataset.index["expression"].to_pylist()]
    if names != targets:
        raise InputError(f"{dataset.uri}: expressions of the index differ from the targets in {LINEAGE}")
    if not set(targets) & set(domains):
        raise unknown(f"target of {dataset.uri}", targets[0], domains)
    return np.array([domains.index(name) if name in domains else -1 for name in targets], dtype=np.int64)


def _check_size(dataset: Dataset, original: Dataset, size: int) -> None:
    """Smaller images would be enlarged: a network learns to tell blur from sharpness, and the arms differ in that."""
    ours, theirs = (_side(each) for each in (dataset, original))
    if ours is not None and ours < min(theirs or size, size):
        raise InputError(
            f"sizes differ: {dataset.uri} has images of {ours} pixels, {original.uri} of {theirs}; "
            f"allowed are {min(theirs or size, size)} and more at data.size = {size}"
        )


def _side(dataset: Dataset) -> int | None:
    """The shorter side of the first image, pixels, or None where its header does not say."""
    header = read_header(dataset.images(np.array([0]))[0])
    return None if header is None else min(header.width, header.height)
