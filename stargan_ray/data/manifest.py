"""The manifest: what a data set holds, where it came from and the hash that names its content."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stargan_ray.data.schema import SCHEMA_VERSION, SPLITS
from stargan_ray.errors import InputError

_AT_A_TIME = 1 << 14  # rows
_ESCAPED = r"[^ !#-\[\]-~]"  # what JSON in ASCII writes in another way: all but printable ASCII, and of that " and \\
UNLABELLED = "(none)"  # counted under this name: rows without an expression


@dataclass(frozen=True)
class Shard:
    """One Parquet file of rows of one split."""

    path: str  # below the data set's URI
    split: str
    rows: int
    bytes: int  # of the file
    hash: str  # content hash of its rows


@dataclass(frozen=True)
class Manifest:
    """A data set in numbers; equal for equal content, however many workers wrote it."""

    schema_version: int
    source: Mapping[str, object]  # the reader, its configuration and a hash of what it planned
    domains: tuple[str, ...]  # a row's expression is an index into these
    rows: int
    rows_by_split: Mapping[str, int]
    rows_by_domain: Mapping[str, Mapping[str, int]]  # split -> domain, or UNLABELLED -> rows
    identities: Mapping[str, int]  # split -> different people
    image_bytes: int  # of all images in the shards, also of duplicates that the index leaves out
    skipped: Mapping[str, int]  # reason -> files not taken over
    content_hash: str  # independent of the number of shards and of the order of writing
    shards: tuple[Shard, ...]
    duplicates: int = 0  # rows whose image another row has too, beyond the first

    def to_json(self) -> str:
        """Readable JSON, the same text for the same manifest."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "manifest.json") -> Manifest:
        """The manifest that :meth:`to_json` wrote.

        Args:
            text: The JSON.
            where: Its URI, for the error.

        Raises:
            InputError: If it is no manifest or has another schema version than this program reads.
        """
        try:
            fields = json.loads(text)
            version = fields["schema_version"]
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{where} is not a manifest: ingest the data set again") from error
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{where} has schema version {version!r}, this program reads {SCHEMA_VERSION}: "
                "ingest the data set again or use the program that wrote it"
            )
        try:
            shards = tuple(Shard(**shard) for shard in fields.pop("shards"))
            return cls(shards=shards, domains=tuple(fields.pop("domains")), **fields)
        except (TypeError, KeyError) as error:
            raise InputError(f"{where} is not a whole manifest ({error}): ingest the data set again") from error


class ContentHasher:
    """SHA-256 over the rows' keys, image hashes, labels and splits, in key order, and the domains' names.

    Args:
        domains: Names of the expressions.
        weighted: Whether a row of the data set has a weight; a set without weights has the name it always had.
    """

    def __init__(self, domains: Sequence[str], *, weighted: bool) -> None:
        self.columns = ["key", "content_hash", "expression", "identity", "split", *(["weight"] if weighted else [])]
        self._digest = hashlib.sha256(json.dumps(list(domains)).encode())

    def update(self, rows: pa.Table) -> None:
        """Take in the next rows, of which it needs ``columns``; all of them together are in the order of their keys."""
        rows = rows.select(self.columns)
        for start in range(0, len(rows), _AT_A_TIME):  # as Python's objects they take ten times the memory
            for text in _json_lines(rows.slice(start, _AT_A_TIME)):
                self._digest.update(text)

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        return self._digest.hexdigest()


def content_hash(index: pa.Table, domains: Sequence[str]) -> str:
    """What :class:`ContentHasher` makes of rows in memory.

    Args:
        index: Columns key, content_hash, expression, identity, split and weight; order does not matter.
        domains: Names of the expressions.
    """
    hasher = ContentHasher(domains, weighted=index["weight"].null_count < len(index))
    hasher.update(index.take(pc.sort_indices(index["key"])))
    return hasher.hexdigest()


def _json_lines(rows: pa.Table) -> Iterator[bytes | pa.Buffer]:
    """The rows as JSON lists one behind the other, in pieces."""
    columns = [column.combine_chunks() for column in rows.columns]
    if any(pa.types.is_floating(column.type) or _needs_escapes(column) for column in columns):
        for line in zip(*(column.to_pylist() for column in columns), strict=True):
            yield json.dumps(line).encode()
        return
    # Text that is the same in JSON can be joined by arrow, several times as fast.
    values = [
        pc.binary_join_element_wise('"', column, '"', "") if pa.types.is_string(column.type) else column.cast("string")
        for column in columns
    ]
    inner = pc.binary_join_element_wise(*(pc.fill_null(value, "null") for value in values), ", ")
    yield pc.binary_join_element_wise("[", inner, "]", "").buffers()[2]


def _needs_escapes(column: pa.Array) -> bool:
    return pa.types.is_string(column.type) and bool(pc.any(pc.match_substring_regex(column, _ESCAPED)).as_py())


@dataclass
class Census:
    """How many rows there are of what."""

    by_domain: Counter[tuple[str, int | None]] = field(default_factory=Counter)  # (split, expression)
    people: Counter[str] = field(default_factory=Counter)  # different ones, by split
    _known: set[tuple[str, str]] = field(default_factory=set)

    def add(self, rows: pa.Table) -> None:
        """Count some more rows, of which it needs split, expression and identity."""
        self.by_domain.update(_counts(rows, "split", "expression"))
        for split, person in _counts(rows, "split", "identity").keys() - self._known:
            if person is not None:
                self._known.add((split, person))
                self.people[split] += 1

    @property
    def rows(self) -> int:
        """All of them."""
        return self.by_domain.total()


def describe(
    census: Census,
    *,
    source: Mapping[str, object],
    domains: Sequence[str],
    shards: Sequence[Shard],
    skipped: Mapping[str, int],
    image_bytes: int,
    content_hash: str,
    duplicates: int,
) -> Manifest:
    """The manifest of rows that were counted.

    Args:
        census: Of all rows.
        source: What the reader says of itself.
        domains: Names of the expressions.
        shards: The files that hold the rows.
        skipped: Reason -> number of files.
        image_bytes: Of all images together.
        content_hash: As :class:`ContentHasher` gives it.
        duplicates: See :class:`Manifest`.
    """
    by_domain = census.by_domain
    names = dict(enumerate(domains)) | {None: UNLABELLED}
    present = [split for split in SPLITS if any(other == split for other, _ in by_domain)]
    return Manifest(
        schema_version=SCHEMA_VERSION,
        source=source,
        domains=tuple(domains),
        rows=census.rows,
        rows_by_split={
            split: sum(rows for (other, _), rows in by_domain.items() if other == split) for split in present
        },
        rows_by_domain={
            split: {name: by_domain[split, e] for e, name in names.items() if (split, e) in by_domain}
            for split in present
        },
        identities={split: census.people[split] for split in present},
        image_bytes=image_bytes,
        skipped=dict(sorted(skipped.items())),
        content_hash=content_hash,
        shards=tuple(shards),
        duplicates=duplicates,
    )


def _counts(index: pa.Table, *columns: str) -> dict[tuple[Any, ...], int]:
    """How many rows have each combination of values of some columns of an index."""
    found = index.group_by(list(columns)).aggregate([([], "count_all")])
    return {tuple(row[name] for name in columns): row["count_all"] for row in found.to_pylist()}
