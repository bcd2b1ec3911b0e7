"""Small sets of translated images with their lineage; what is in the pictures is up to who asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from planted import GivenUnit

from stargan_ray.data import storage
from stargan_ray.data.schema import Row
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.units import Source, write_table
from stargan_ray.data.writing import write_dataset

# (row of the original set, name of the target)
Request = tuple[int, str]


def request_all(original: Dataset, targets: Sequence[str]) -> list[Request]:
    """Every image to each of the targets."""
    return [(row, target) for row in range(len(original)) for target in targets]


def write_translated(
    uri: str,
    original: Dataset,
    requests: Sequence[Request],
    image: Callable[[int, str], bytes],
    *,
    domains: Sequence[str] | None = None,
    identity: str | None = None,
    references: Sequence[int] | None = None,
    sources: Sequence[str] | None = None,
) -> str:
    """An ordinary data set with lineage.parquet beside its index.

    Args:
        uri: where.
        original: what is translated.
        requests: one row each.
        image: (row of the original, target) -> the file.
        domains: of the set; those of the original unless given.
        identity: of every row; that of its source unless given.
        references: rows of the original that gave the styles.
        sources: keys to write as the sources' instead of the true ones.
    """
    known = tuple(domains or original.manifest.domains)
    keys = original.index["key"].to_pylist()
    people = original.index["identity"].to_pylist()
    rows = [
        Row(f"{keys[s]}-to-{t}-{n:04d}", image(s, t), known.index(t), identity or people[s], "train", "translated")
        for n, (s, t) in enumerate(requests)
    ]
    write_dataset(uri, Source({"reader": "translated"}, known, (GivenUnit(0, tuple(rows)),)))
    place = {row.key: n for n, row in enumerate(rows)}
    index = open_dataset(uri).index["key"].to_pylist()
    order = np.array([place[key] for key in index])
    columns = {
        "key": index,
        "source_key": [(sources or [keys[s] for s, _ in requests])[n] for n in order],
        "target": [requests[n][1] for n in order],
        "source_hash": [original.index["content_hash"][requests[n][0]].as_py() for n in order],
        "model_hash": ["0" * 64] * len(order),
    }
    if references is not None:
        columns["reference_key"] = [keys[references[n]] for n in order]
    write_table(storage.join(uri, "lineage.parquet"), pa.table(columns))
    return uri
