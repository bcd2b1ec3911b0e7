"""What readers of image files share: the entries found, why others were refused, the units that check them.

Image bytes are taken over as they are, after a full decode has shown that they are an image. What is not
taken over is counted by reason and listed: ``empty``, ``oversized``, ``not an image``, ``unreadable``, …
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from stargan_ray.data import storage
from stargan_ray.data.decode import UndecodableError, check
from stargan_ray.data.readers.names import domains_of
from stargan_ray.data.schema import SPLITS, Row, Skipped
from stargan_ray.data.units import SHARD_ROWS, Source
from stargan_ray.errors import InputError

_UNIT_BYTES = 256 << 20  # a unit is held in memory while it is written


@dataclass(frozen=True)
class Limits:
    """What is refused before it can do harm.

    Attributes:
        max_bytes: larger files are skipped.
        max_pixels: images with more pixels are skipped, before they are decoded.
    """

    max_bytes: int = 20_000_000
    max_pixels: int = 64_000_000


@dataclass(frozen=True)
class Entry:
    """A file to take over, and what the layout says of it."""

    key: str
    uri: str
    split: str
    domain: str | None  # as the source spells it
    identity: str | None
    size: int  # bytes
    modified: int  # ns: a changed file is read again


@dataclass(frozen=True)
class FilesUnit:
    """Some files of one split."""

    number: int
    reader: str
    entries: tuple[Entry, ...]
    expressions: tuple[int | None, ...]  # of the entries
    limits: Limits

    @property
    def fingerprint(self) -> str:
        """Hash of the files' names, sizes, times and labels and of the limits."""
        told = [self.reader, [vars(entry) for entry in self.entries], self.expressions, vars(self.limits)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def produce(self) -> Iterator[Row | Skipped]:
        """A row for every usable file, a reason for every other."""
        for entry, expression in zip(self.entries, self.expressions, strict=True):
            try:
                if entry.size > self.limits.max_bytes:
                    raise UndecodableError("oversized")
                data = storage.read_bytes(entry.uri)
                check(data, self.limits.max_pixels)
            except UndecodableError as error:
                yield Skipped(entry.key, error.reason)
            except storage.StorageError:
                yield Skipped(entry.key, "unreadable")
            else:
                yield Row(entry.key, data, expression, entry.identity, entry.split, self.reader)


@dataclass
class Layout:
    """What a reader found, while it looks around."""

    entries: list[Entry] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    domains: set[str] = field(default_factory=set)  # also of folders that turned out empty
    notes: list[str] = field(default_factory=list)

    def add(self, entry: Entry, listed: storage.Listed | None) -> None:
        """Take a file over, or note why not; ``listed`` is None for a file that is not there."""
        if listed is None:
            self.skip(entry.key, "missing")
        elif listed.size is None:
            self.skip(entry.key, "unreadable")
        elif listed.size == 0:
            self.skip(entry.key, "empty")
        else:
            self.entries.append(entry)

    def skip(self, path: str, reason: str) -> None:
        """Note a file that is not taken over."""
        self.skipped.append(Skipped(shown(path), reason))

    def require_domains(self, where: str) -> None:
        """Check that train, and val where there is one, has files of every domain.

        Raises:
            InputError: Naming the first domain that is missing.
        """
        domains, index = domains_of(self.domains)
        present = {(entry.split, index[entry.domain]) for entry in self.entries if entry.domain is not None}
        for split in ("train", "val"):
            absent = [name for number, name in enumerate(domains) if (split, number) not in present]
            if absent and (split == "train" or any(entry.split == split for entry in self.entries)):
                raise InputError(
                    f"{where}: domain {absent[0]!r} has no image in {split}: add some, or pass --allow-missing"
                )

    def source(
        self,
        description: Mapping[str, object],
        limits: Limits,
        *,
        every_domain: bool,
        shard_rows: int = SHARD_ROWS,
    ) -> Source:
        """The entries cut into units.

        Args:
            description: For the manifest; its ``reader`` names the rows' source.
            limits: What to refuse.
            every_domain: Whether a domain without usable images is an error.
            shard_rows: Most rows of one unit.
        """
        domains, index = domains_of(self.domains)
        if index and sorted(index) != sorted(domains):
            self.notes.append(
                "names read as expressions: " + ", ".join(f"{n} → {domains[i]}" for n, i in index.items())
            )
        units: list[FilesUnit] = []
        for split in SPLITS:
            for entries in _cut([entry for entry in self.entries if entry.split == split], shard_rows):
                labels = tuple(None if entry.domain is None else index[entry.domain] for entry in entries)
                units.append(FilesUnit(len(units), str(description["reader"]), entries, labels, limits))
        return Source(
            description={**description, **vars(limits)},
            domains=domains,
            units=tuple(units),
            skipped=tuple(self.skipped),
            notes=tuple(self.notes),
            every_domain=every_domain,
        )


def shown(name: str) -> str:
    """The name as text that can be stored; another text than the name where that is no UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def _cut(entries: list[Entry], shard_rows: int) -> Iterator[tuple[Entry, ...]]:
    part: list[Entry] = []
    size = 0
    for entry in entries:
        if part and (len(part) == shard_rows or size + entry.size > _UNIT_BYTES):
            yield tuple(part)
            part, size = [], 0
        part.append(entry)
        size += entry.size
    if part:
        yield tuple(part)
