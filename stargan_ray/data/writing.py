"""Writing a data set: units to shards, in this process or in many, then the index and the manifest.

``manifest.json`` is written last and makes the folder a data set. What a killed run has finished is found
again by the next one (see :mod:`stargan_ray.data.units`), which ends with the same manifest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from stargan_ray.data import storage
from stargan_ray.data.manifest import Manifest, Shard, content_hash, counts, describe, repeated
from stargan_ray.data.schema import INDEX_SCHEMA, SPLITS
from stargan_ray.data.units import Source, Task, Written, write_table, write_unit
from stargan_ray.errors import InputError

_SKIPPED_SCHEMA = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("path", "reason")])

MapTasks = Callable[[Callable[[Task], Written], Sequence[Task]], Iterable[Written]]


def map_here(function: Callable[[Task], Written], tasks: Sequence[Task]) -> Iterator[Written]:
    """What :func:`write_unit` makes of each task, in order; while one unit is stored, the next is read."""
    with ThreadPoolExecutor(2, "unit") as pool:
        yield from pool.map(function, tasks)


def write_dataset(
    uri: str,
    source: Source,
    *,
    map_tasks: MapTasks = map_here,
    overwrite: bool = False,
    drop_duplicates: bool = False,
    on_written: Callable[[Written], None] = lambda _: None,
) -> Manifest:
    """Write a source as a data set, or finish writing it; nothing is done where it is already whole.

    Args:
        uri: Where; a folder of its own.
        source: What a reader made.
        map_tasks: Applies a picklable function to the tasks, in any order and place; by default here.
        overwrite: Replace another data set at the URI.
        drop_duplicates: Of the rows with one image, keep only the first in the order of keys.
        on_written: Called for every unit, for progress.

    Returns:
        The manifest, which is at the URI now.

    Raises:
        InputError: If another data set is there, nothing usable was found, a domain is missing, two rows have
            one key, or the URI cannot be written.
    """
    uri = storage.absolute(uri)
    identity = source.identity() | ({"duplicates": "drop"} if drop_duplicates else {})
    storage.check_writable(uri)
    found = _finished(uri, identity, overwrite)
    if found is not None:
        return found
    present: dict[int, list[str]] = {}
    for name in storage.list_names(storage.join(uri, "rows")):
        number = name.removesuffix(".parquet").rpartition("-")[2]
        if name.endswith(".parquet") and number.isdigit():
            present.setdefault(int(number), []).append(f"rows/{name}")
    tasks = [Task(uri, unit, tuple(present.get(unit.number, ()))) for unit in source.units]
    written = []
    for one in map_tasks(write_unit, tasks):
        on_written(one)
        written.append(one)
    return _finish(uri, source, identity, sorted(written, key=lambda one: one.number))


def _finished(uri: str, identity: Mapping[str, object], overwrite: bool) -> Manifest | None:
    """The manifest at the URI if it is whole and of this source; a replaced one is taken away first."""
    where = storage.join(uri, "manifest.json")
    if not storage.exists(where):
        return None
    if not overwrite:
        manifest = Manifest.from_json(storage.read_bytes(where), where)
        if manifest.source != identity:
            raise InputError(
                f"{uri} holds another data set ({manifest.source.get('reader')}, {manifest.rows} rows, "
                f"content {manifest.content_hash[:12]}): choose another --out or pass --overwrite"
            )
        names = {f"rows/{name}" for name in storage.list_names(storage.join(uri, "rows"))}
        if all(shard.path in names for shard in manifest.shards):
            return manifest
    storage.delete(where)
    return None


def _finish(uri: str, source: Source, identity: Mapping[str, object], written: Sequence[Written]) -> Manifest:
    """Index, list of skipped files and manifest over what the units wrote."""
    files = sorted(
        (SPLITS.index(split), one.number, path, size, labels)
        for one in written
        for (path, split, size), labels in zip(one.files, one.labels, strict=True)
    )
    skipped = [(each.path, each.reason) for each in source.skipped] + [s for one in written for s in one.skipped]
    reasons = Counter(reason for _, reason in skipped)
    _keep_only(uri, "rows", [path for _, _, path, _, _ in files])
    _keep_only(uri, "truth", [f"truth/{one.number:05d}.parquet" for one in written if one.truth])
    index = (
        pa.concat_tables([_index_part(labels, position) for position, (*_, labels) in enumerate(files)])
        if files
        else INDEX_SCHEMA.empty_table()
    )
    if identity.get("duplicates") == "drop":
        index, dropped = _without_duplicates(index)
        skipped += [(key, "duplicate") for key in dropped]
        reasons = Counter(reason for _, reason in skipped)
    _check_usable(uri, source, index, reasons)
    manifest = describe(
        index,
        source=identity,
        domains=source.domains,
        shards=[
            Shard(path, SPLITS[split], labels.num_rows, size, content_hash(labels, source.domains))
            for split, _, path, size, labels in files
        ],
        skipped=reasons,
        image_bytes=sum(one.image_bytes for one in written),
    )
    rows = pa.Table.from_pylist([{"path": path, "reason": reason} for path, reason in skipped], _SKIPPED_SCHEMA)
    write_table(storage.join(uri, "skipped.parquet"), rows)
    write_table(storage.join(uri, "index.parquet"), index)
    storage.write_bytes(storage.join(uri, "manifest.json"), manifest.to_json().encode())
    return manifest


def _keep_only(uri: str, folder: str, expected: Sequence[str]) -> None:
    """Take away what an earlier configuration or a killed writer left in a folder.

    Raises:
        InputError: If something expected is not there: another machine wrote it to its own disk.
    """
    names = {f"{folder}/{name}" for name in storage.list_names(storage.join(uri, folder))}
    missing = set(expected) - names
    if missing:
        raise InputError(
            f"{len(missing)} of {len(expected)} files in {storage.join(uri, folder)} are not visible here: "
            "workers on other machines need a shared folder or s3://…"
        )
    for name in sorted(names - set(expected)):
        storage.delete(storage.join(uri, name))


def _without_duplicates(index: pa.Table) -> tuple[pa.Table, list[str]]:
    """The index without the rows whose image a row with an earlier key has, and their keys.

    The shards keep them: they can be taken over by a later run whatever else is in the data set then.
    """
    keys, hashes = index.column("key").to_pylist(), index.column("content_hash").to_pylist()
    first: dict[str, str] = {}
    for key, image in zip(keys, hashes, strict=True):
        first[image] = min(key, first.get(image, key))
    kept = [first[image] == key for key, image in zip(keys, hashes, strict=True)]
    return index.filter(pa.array(kept)), sorted(key for key, keep in zip(keys, kept, strict=True) if not keep)


def _index_part(labels: pa.Table, position: int) -> pa.Table:
    count = labels.num_rows
    places = [pa.array(np.full(count, position, np.int32)), pa.array(np.arange(count, dtype=np.int32))]
    return pa.Table.from_arrays([*labels.columns, *places], schema=INDEX_SCHEMA)


def _check_usable(uri: str, source: Source, index: pa.Table, reasons: Mapping[str, int]) -> None:
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "none skipped"
    if index.num_rows == 0:
        raise InputError(f"nothing usable was found for {uri} ({dropped}): check the path and the layout")
    if repeated(index.column("key")):
        twice = sorted(key for (key,), count in counts(index, "key").items() if count > 1)
        raise InputError(f"{len(twice)} keys are used by several rows, the first is {twice[0]!r}: make them unique")
    if not source.every_domain:
        return
    pairs = counts(index, "split", "expression")
    for split in ("train", "val"):
        absent = [name for number, name in enumerate(source.domains) if (split, number) not in pairs]
        if absent and (split == "train" or any(other == split for other, _ in pairs)):
            raise InputError(
                f"domain {absent[0]!r} has no usable image in {split} ({dropped}): add some, or pass --allow-missing"
            )
