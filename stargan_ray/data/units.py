"""Units of work: a piece of a source that one process writes as one shard per split, or finds written.

A unit makes its rows from nothing but itself, so any number of processes can share the units and the result
is the same. Its fingerprint is in every file that it writes: the run after a killed one takes those over.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from stargan_ray.data import storage
from stargan_ray.data.schema import ROW_GROUP, ROW_SCHEMA, SPLITS, TRUTH_SCHEMA, Row, Skipped, Truth

SHARD_ROWS = 512  # rows that a unit brings: some tens of megabytes of faces
_META = b"stargan-ray"
_reading = threading.Lock()  # one unit of a process is read at a time, others are stored meanwhile
_LABELS = [field.name for field in ROW_SCHEMA if field.name != "image"]


class Unit(Protocol):
    """A piece of a source that becomes one shard per split in it; picklable."""

    @property
    def number(self) -> int:
        """Its place in the source, from 0."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever what it would produce changes."""

    def produce(self) -> Iterator[Row | Truth | Skipped]:
        """Its rows, and what else there is to say of them, in a fixed order."""


@dataclass(frozen=True)
class Source:
    """What a reader hands over: the units, and how the manifest describes where they came from."""

    description: Mapping[str, object]  # JSON values: the reader's name and configuration
    domains: tuple[str, ...]
    units: tuple[Unit, ...]
    skipped: tuple[Skipped, ...] = ()  # found before any unit ran
    notes: tuple[str, ...] = ()  # what a person should know of how the layout was understood
    every_domain: bool = False  # whether each domain must have rows in train, and in val if there is a val

    def identity(self) -> dict[str, object]:
        """The description and a hash over all units: equal identities, equal data sets."""
        lists = ((u.fingerprint for u in self.units), (each._asdict() for each in self.skipped), self.domains)
        plan = hashlib.sha256(b"[")
        for number, items in enumerate(lists):
            plan.update(b", " if number else b"")
            for text in _json_list(items):
                plan.update(text.encode())
        plan.update(b"]")
        described: dict[str, object] = json.loads(json.dumps(dict(self.description)))
        return described | {"plan": plan.hexdigest()}


def _json_list(items: Iterable[object]) -> Iterator[str]:
    """The text that json.dumps gives of a list, item by item: a filter may have dropped millions."""
    yield "["
    for number, item in enumerate(items):
        yield (", " if number else "") + json.dumps(item)
    yield "]"


@dataclass(frozen=True)
class Task:
    """A unit, where to write it and which of its shards are there already."""

    uri: str
    unit: Unit
    present: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """What a unit left on storage."""

    number: int
    files: tuple[tuple[str, str, int], ...]  # (path, split, bytes)
    labels: tuple[pa.Table, ...]  # for each file, its rows without the images
    skipped: tuple[tuple[str, str], ...]
    image_bytes: int
    truth: bool  # whether it wrote truth/<number>.parquet
    reused: bool


def write_unit(task: Task) -> Written:
    """Write a unit's rows, or find them written.

    Raises:
        InputError: If a row does not fit the schema or the URI cannot be written.
    """
    found = find_written(task)
    if found is not None:
        return found
    unit = task.unit
    rows: dict[str, list[Row]] = {}
    truths: list[Truth] = []
    skipped: list[tuple[str, str]] = []
    with _reading:
        for item in unit.produce():
            if isinstance(item, Row):
                rows.setdefault(item.split, []).append(item)
            elif isinstance(item, Truth):
                truths.append(item)
            else:
                skipped.append((item.path, item.reason))
    if truths:  # before the rows: a shard that is there says that its truth is too
        write_table(storage.join(task.uri, "truth", f"{unit.number:05d}.parquet"), _table(truths, TRUTH_SCHEMA))
    # A unit without a usable row leaves an empty shard, which remembers what was skipped.
    splits = sorted(rows, key=SPLITS.index) or [SPLITS[0]]
    image_bytes = sum(len(row.image) for each in rows.values() for row in each)
    meta = {
        "fingerprint": unit.fingerprint,
        "splits": splits,
        "skipped": skipped,
        "image_bytes": image_bytes,
        "truth": bool(truths),
    }
    files, labels = [], []
    for split in splits:
        path = f"rows/{split}-{unit.number:05d}.parquet"
        table = _row_table(rows.pop(split, []))  # popped: the images are in memory once
        size = write_table(storage.join(task.uri, path), table.replace_schema_metadata({_META: json.dumps(meta)}))
        files.append((path, split, size))
        labels.append(table.select(_LABELS))
    return Written(
        number=unit.number,
        files=tuple(files),
        labels=tuple(labels),
        skipped=tuple(skipped),
        image_bytes=image_bytes,
        truth=bool(truths),
        reused=False,
    )


def find_written(task: Task) -> Written | None:
    """What an earlier run of the same unit left, if all of it is there and whole."""
    files, labels, splits = [], [], []
    meta: dict[str, Any] = {}
    for path in task.present:
        uri = storage.join(task.uri, path)
        try:
            file = pq.ParquetFile(storage.open_input(uri))
            own: dict[str, Any] = json.loads((file.schema_arrow.metadata or {}).get(_META, b"{}"))
            if own.get("fingerprint") != task.unit.fingerprint:
                continue  # of another configuration
            labels.append(file.read(columns=_LABELS).replace_schema_metadata(None).select(_LABELS))
        except (pa.ArrowInvalid, ValueError, KeyError, storage.StorageError):
            return None  # damaged, not ours, or without a column of today: written anew
        meta, split = own, path.removeprefix("rows/").rpartition("-")[0]
        files.append((path, split, storage.size(uri)))
        splits.append(split)
    if not files or set(splits) != set(meta["splits"]):
        return None
    skipped = tuple((path, reason) for path, reason in meta["skipped"])
    return Written(
        number=task.unit.number,
        files=tuple(files),
        labels=tuple(labels),
        skipped=skipped,
        image_bytes=meta["image_bytes"],
        truth=meta["truth"],
        reused=True,
    )


def _row_table(rows: Sequence[Row]) -> pa.Table:
    hashes = [hashlib.sha256(row.image).hexdigest() for row in rows]
    return _table(rows, pa.schema([f for f in ROW_SCHEMA if f.name != "content_hash"])).append_column(
        ROW_SCHEMA.field("content_hash"), pa.array(hashes, pa.string())
    )


def _table(items: Sequence[Row] | Sequence[Truth], schema: pa.Schema) -> pa.Table:
    """The items as columns of a schema that has their fields in the same order, or some of these."""
    values = dict(zip(items[0]._fields, zip(*items, strict=True), strict=True)) if items else {}
    columns = [pa.array(values.get(field.name, ()), field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def write_table(uri: str, table: pa.Table) -> int:
    """Write a table as one Parquet file; images in row groups that can be read alone. Gives the file's bytes.

    Raises:
        StorageError: If the URI cannot be written.
    """
    labels = [name for name in table.column_names if name != "image"]
    fill = functools.partial(
        pq.write_table,
        table,
        # Small groups of a table without images would take several times the room and the time.
        row_group_size=ROW_GROUP if "image" in table.column_names else None,
        # Images are compressed already; trying again costs time and gains nothing.
        compression={name: "zstd" if name in labels else "none" for name in table.column_names},
        use_dictionary=labels,
        write_statistics=False,
    )
    return storage.write_by(uri, fill)


def write_groups(uri: str, schema: pa.Schema, groups: Iterable[pa.Table], repeating: Sequence[str]) -> int:
    """Write a table without images row group by row group, each made when its turn comes. Gives the file's bytes.

    Args:
        uri: Where.
        schema: Of the groups, with the file's metadata.
        groups: At least some thousand rows each: the file is read as slowly as it has groups.
        repeating: Columns with few values. The others would fill a dictionary for nothing.

    Raises:
        StorageError: If the URI cannot be written.
    """

    def fill(sink: object) -> None:
        with pq.ParquetWriter(
            sink, schema, compression="zstd", use_dictionary=list(repeating), write_statistics=False
        ) as writer:
            for group in groups:
                writer.write_table(group)

    return storage.write_by(uri, fill)
