"""Reading what a filter has decided: its table of decisions beside the rows that it decided on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stargan_ray.data import storage
from stargan_ray.data.manifest import Manifest
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.errors import InputError

_META = b"stargan-ray"
_COLUMNS = ("key", "label", "predicted", "confidence", "kept", "reason")


@dataclass(frozen=True)
class Refined:
    """A filter's decisions on a data set.

    Attributes:
        uri: of the refined data set.
        dataset: the source, with every row that was decided on.
        decisions: key, label, predicted, confidence, p_<class> of each class, kept, reason, and what else there
            is: one line for each row of the source, in the order of its index. ``kept`` and ``reason`` are the
            filter's own, whatever people have said of the row.
        classes: what the classifier tells apart.
        policy: what decided.
    """

    uri: str
    dataset: Dataset
    decisions: pa.Table
    classes: tuple[str, ...]
    policy: Mapping[str, Any]

    @property
    def labels(self) -> list[str | None]:
        """The label that each row was given, by name."""
        names = self.dataset.manifest.domains
        return [None if e is None else names[e] for e in self.dataset.index["expression"].to_pylist()]


def open_refined(uri: str, data: str | None = None) -> Refined:
    """Open the result of jobs/refine.py and its source.

    Args:
        uri: of the refined data set.
        data: where the source lies now; None = where it was.

    Raises:
        InputError: If it is no result of a filter, is damaged, or its source is not there or has changed since.
    """
    uri = storage.absolute(uri)
    where, table_uri = storage.join(uri, "manifest.json"), storage.join(uri, "decisions.parquet")
    if not storage.exists(where):
        raise InputError(f"{uri} holds no data set (no manifest.json): --refined is the --out of jobs/refine.py")
    source = Manifest.from_json(storage.read_bytes(where), where).source
    if source.get("reader") != "refine" or not storage.exists(table_uri):
        raise InputError(f"{uri} has no decisions of a filter: --refined is the --out of jobs/refine.py")
    table, meta = _read(table_uri)
    dataset = _source(uri, str(source["data"]) if data is None else data, given=data is not None)
    hashes = {str(source["content_hash"]), str(meta["content_hash"]), dataset.manifest.content_hash}
    if len(hashes) > 1:
        raise InputError(f"{dataset.uri} has changed since {uri} was made of it: run jobs/refine.py again")
    policy = source.get("policy")
    return Refined(
        uri,
        dataset,
        _aligned(table, dataset, table_uri),
        tuple(meta["classes"]),
        policy if isinstance(policy, Mapping) else {},
    )


def _read(uri: str) -> tuple[pa.Table, dict[str, Any]]:
    try:
        table = pq.read_table(pa.BufferReader(storage.read_bytes(uri)))
        meta: dict[str, Any] = json.loads((table.schema.metadata or {})[_META])
        needed = {*_COLUMNS, *(f"p_{name}" for name in meta["classes"])}
        missing = sorted(needed - set(table.column_names))
        if missing or "content_hash" not in meta:
            raise ValueError(f"without {', '.join(missing) or 'the hash of its source'}")
    except (pa.ArrowInvalid, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{uri} is no whole table of decisions ({error}): run jobs/refine.py again") from error
    return _own(table), meta


def _source(refined: str, data: str, *, given: bool) -> Dataset:
    if not given and not storage.exists(storage.join(data, "manifest.json")):
        raise InputError(f"the source of {refined} is no longer at {data}: pass --data with where it lies now")
    return open_dataset(data)


def _aligned(table: pa.Table, dataset: Dataset, uri: str) -> pa.Table:
    place = {key: row for row, key in enumerate(table["key"].to_pylist())}
    try:
        order = [place[key] for key in dataset.index["key"].to_pylist()]
    except KeyError as error:
        raise InputError(f"{uri} does not know the row {error}: run jobs/refine.py again") from error
    return table.take(pa.array(order, pa.int64()))


def _own(table: pa.Table) -> pa.Table:
    """With what the filter itself decided as kept and reason: where people were heard the table has both."""
    for name in ("kept", "reason"):
        if f"filter_{name}" in table.column_names:
            table = table.drop_columns([name]).rename_columns({f"filter_{name}": name})
    return table
