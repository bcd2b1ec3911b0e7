"""What decoding tells of every row: its size, mode, format, brightness and contrast, or why it cannot be read."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stargan_ray.data.decode import UndecodableError, whole
from stargan_ray.data.schema import ROW_GROUP
from stargan_ray.data.shards import Dataset
from stargan_ray.data.storage import StorageError

Ints = npt.NDArray[np.int64]

# Luma runs from 0 to 255. The limits are low on purpose: they name frames of a covered lens and blank cards,
# not dark or pale photographs, which the list of the darkest and flattest shows anyway.
NEAR_BLACK = 10.0  # mean luma below which an image is called near-black
NEAR_EMPTY = 4.0  # standard deviation of luma below which it is called near-empty

CHANGED = "changed since ingest"
LOST = "shard cannot be read"
_GROUPS = 8  # row groups of one piece of work

FACTS_SCHEMA = pa.schema(
    [
        pa.field("bytes", pa.int64()),  # of the encoded image; null only where the shard cannot be read
        # null from here to contrast where there is a fault
        pa.field("width", pa.int32()),  # pixels, upright
        pa.field("height", pa.int32()),
        pa.field("mode", pa.string()),  # of the file, as Pillow names it
        pa.field("format", pa.string()),
        pa.field("brightness", pa.float64()),  # mean luma, 0..255
        pa.field("contrast", pa.float64()),  # standard deviation of luma, 0..127.5
        pa.field("fault", pa.string()),  # why the row cannot be used, or null
        pa.field("detail", pa.string()),
    ]
)


def pieces(dataset: Dataset) -> list[Ints]:
    """Positions of the index in pieces of a few whole row groups, so that each group is read by one process once."""
    groups = _row_groups(dataset, np.arange(len(dataset), dtype=np.int64))
    return [np.concatenate(groups[start : start + _GROUPS]) for start in range(0, len(groups), _GROUPS)]


def measure(dataset: Dataset, rows: Ints) -> pa.Table:
    """The facts of the rows at some positions of the index; one row group's images are in memory at a time.

    Args:
        dataset: Where they are.
        rows: (n,) positions in storage order.

    Returns:
        FACTS_SCHEMA, n rows in that order. What cannot be read is a row with a fault: ``changed since ingest``
        where the bytes are not those of the content hash, ``shard cannot be read``, or a reason of
        :class:`UndecodableError`.
    """
    facts: list[dict[str, Any]] = []
    for group in _row_groups(dataset, rows):
        try:
            images = dataset.images(group)
        except StorageError as error:  # a lost shard must not hide what there is to say of the others
            facts += [{"fault": LOST, "detail": str(error)}] * len(group)
            continue
        hashes = dataset.index["content_hash"].take(group).to_pylist()
        facts += [_facts(data, known) for data, known in zip(images, hashes, strict=True)]
    return pa.Table.from_pylist(facts, FACTS_SCHEMA)


def _row_groups(dataset: Dataset, rows: Ints) -> list[Ints]:
    shard = dataset.index["shard"].to_numpy()[rows].astype(np.int64)
    group = dataset.index["row"].to_numpy()[rows] // ROW_GROUP
    ends = np.flatnonzero((np.diff(shard) != 0) | (np.diff(group) != 0)) + 1
    return np.split(rows, ends)


def _facts(data: bytes, known: str) -> dict[str, Any]:
    if hashlib.sha256(data).hexdigest() != known:
        return {"bytes": len(data), "fault": CHANGED, "detail": "the bytes are not those of the content hash"}
    try:
        found = whole(data)
    except UndecodableError as error:
        return {"bytes": len(data), "fault": error.reason, "detail": error.detail}
    # From counts of the 256 values: exact, and a picture of many megapixels is not copied as floats.
    counts = np.asarray(found.image.convert("L").histogram(), np.float64)
    values = np.arange(256)
    mean = float(counts @ values / counts.sum())
    deviation = float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum()))
    return {
        "bytes": len(data),
        "width": found.image.width,
        "height": found.image.height,
        "mode": found.mode,
        "format": found.format,
        "brightness": mean,
        "contrast": deviation,
    }
