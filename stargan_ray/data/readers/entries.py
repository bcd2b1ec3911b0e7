"""The files that a reader takes over, kept small: a driver holds those of a whole data set until they are written."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stargan_ray.data.trees import File

_CHUNK = 1024  # entries that are packed together: 20 bytes each instead of 350


class Entry(NamedTuple):
    """A file to take over, and what the layout says of it."""

    key: str
    file: File
    split: str
    domain: str | None  # as the source spells it
    identity: str | None
    box: tuple[int, int, int, int] | None = None  # left, top, width, height in pixels: take only this part

    def told(self) -> list[object]:
        """All that the row depends on, as JSON values."""
        return [self.key, self.split, self.domain, self.identity, self.box, *self.file]

    @staticmethod
    def of(told: list[Any]) -> Entry:
        """What was told, read again."""
        key, split, domain, identity, box, *file = told
        return Entry(key, File(*file), split, domain, identity, None if box is None else (*box,))


@dataclass(frozen=True)
class Packed:
    """Some entries in little room; they are made anew each time that they are gone through."""

    data: bytes
    count: int

    @staticmethod
    def of(entries: Iterable[Entry]) -> Packed:
        """Pack them."""
        told = [entry.told() for entry in entries]
        return Packed(zlib.compress(json.dumps(told, separators=(",", ":")).encode(), 1), len(told))

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Entry]:
        return map(Entry.of, json.loads(zlib.decompress(self.data)))


@dataclass
class Entries:
    """A list that grows: all but the last of it are packed."""

    _packed: list[Packed] = field(default_factory=list)
    _last: list[Entry] = field(default_factory=list)

    def append(self, entry: Entry) -> None:
        """Add one."""
        if len(self._last) == _CHUNK:
            self._packed.append(Packed.of(self._last))
            self._last = []
        self._last.append(entry)

    def __len__(self) -> int:
        return sum(map(len, self._packed)) + len(self._last)

    def __iter__(self) -> Iterator[Entry]:
        for some in self._packed:
            yield from some
        yield from self._last
