"""The truth of generated sets: the only reader of it in the package.

Training, methods, models and the launcher must not import this module, so that no network can learn from what
only its judge may know; ``tests/evaluation/test_truth.py`` walks the imports.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from stargan_ray.data import storage
from stargan_ray.data.schema import TRUTH_SCHEMA, Truth
from stargan_ray.errors import InputError


def has_truth(uri: str) -> bool:
    """Whether a data set has a truth: only generated ones do, and what is refined from them has none of its own."""
    return any(name.endswith(".parquet") for name in storage.list_names(storage.join(uri, "truth")))


def read_truth(uri: str) -> dict[str, Truth]:
    """What the images of a generated data set really show, by key.

    Args:
        uri: The data set, with ``truth/<n>.parquet`` in it.

    Raises:
        InputError: If the set has no truth, its columns are others or a key comes twice.
        StorageError: If the URI cannot be read.
    """
    folder = storage.join(uri, "truth")
    names = [name for name in storage.list_names(folder) if name.endswith(".parquet")]
    if not names:
        raise InputError(f"{uri} has no truth: only generated faces have one, in {folder}/*.parquet")
    found: dict[str, Truth] = {}
    for name in names:
        rows = _read(storage.join(folder, name))
        for row in rows:
            if row.key in found:
                raise InputError(f"{folder}/{name}: key {row.key!r} comes twice: keys must be unique")
            found[row.key] = row
    return found


def _read(uri: str) -> list[Truth]:
    try:
        table = pq.read_table(pa.BufferReader(storage.read_bytes(uri)))
        table = table.select(TRUTH_SCHEMA.names).cast(TRUTH_SCHEMA)
    except (pa.ArrowException, KeyError) as error:
        reason = str(error).splitlines()[0]
        columns = ", ".join(TRUTH_SCHEMA.names)
        raise InputError(f"{uri} is not a table of the truth ({reason}): columns must be {columns}") from error
    return [Truth(**row) for row in table.to_pylist()]
