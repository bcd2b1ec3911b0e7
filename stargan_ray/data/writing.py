"""Writing a data set: units to shards, in this process or in many, then the index and the manifest.

``manifest.json`` is written last and makes the folder a data set. What a killed run has finished is found
again by the next one (see :mod:`stargan_ray.data.units`), which ends with the same manifest.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import pyarrow as pa

from stargan_ray.data import storage
from stargan_ray.data.draft import Draft
from stargan_ray.data.manifest import Census, Manifest, describe
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
            one key, there is no folder for temporary files, or the URI cannot be written.
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
    with _temporary() as file:
        draft = Draft(source.domains, file)
        for one in map_tasks(write_unit, tasks):
            on_written(one)
            draft.add(one)
        return _finish(uri, source, identity, draft)


def _temporary() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(prefix="stargan-ray-rows-")
    except OSError as error:
        raise InputError(
            f"no folder for temporary files ({error}): set TMPDIR to one with room for the labels"
        ) from error


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


def _finish(uri: str, source: Source, identity: Mapping[str, object], draft: Draft) -> Manifest:
    """Index, list of skipped files and manifest over what the units wrote."""
    shards = draft.shards
    _keep_only(uri, "rows", [shard.path for shard in shards])
    _keep_only(uri, "truth", [f"truth/{number:05d}.parquet" for number in draft.truths])
    skipped = [(each.path, each.reason) for each in source.skipped] + draft.skipped
    if not draft.rows:
        raise InputError(f"nothing usable was found for {uri} ({_told(skipped)}): check the path and the layout")
    copies = draft.copies()
    if identity.get("duplicates") == "drop":
        draft.drop(copies)
        skipped += [(key, "duplicate") for key in copies["key"].to_pylist()]
        copies = copies.slice(0, 0)
    content = draft.content()
    if content.repeated_keys:
        raise InputError(
            f"{content.repeated_keys} keys are used by several rows, the first is {content.first_repeated!r}: "
            "make them unique"
        )
    census = draft.write_index(storage.join(uri, "index.parquet"))
    if source.every_domain:
        _check_domains(source.domains, census, _told(skipped))
    manifest = describe(
        census,
        source=identity,
        domains=source.domains,
        shards=shards,
        skipped=_by_reason(skipped),
        image_bytes=draft.image_bytes,
        content_hash=content.hash,
        duplicates=copies.num_rows,
    )
    paths, why = zip(*skipped, strict=True) if skipped else ((), ())
    write_table(storage.join(uri, "skipped.parquet"), pa.table([paths, why], schema=_SKIPPED_SCHEMA))
    storage.write_bytes(storage.join(uri, "manifest.json"), manifest.to_json().encode())
    return manifest


def _by_reason(skipped: Iterable[tuple[str, str]]) -> Counter[str]:
    return Counter(reason for _, reason in skipped)


def _told(skipped: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(_by_reason(skipped).items())) or "none skipped"


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


def _check_domains(domains: Sequence[str], census: Census, dropped: str) -> None:
    for split in ("train", "val"):
        absent = [name for number, name in enumerate(domains) if (split, number) not in census.by_domain]
        if absent and (split == "train" or any(other == split for other, _ in census.by_domain)):
            raise InputError(
                f"domain {absent[0]!r} has no usable image in {split} ({dropped}): add some, or pass --allow-missing"
            )
