"""Members of archives, read in place: at random in .zip and .tar, in one pass through a .tar.gz.

No more than the size that was listed of a member is ever read of it.
"""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO, cast

from stargan_ray.data.archives import BROKEN, kind_of, unpacked
from stargan_ray.errors import InputError


@functools.lru_cache(maxsize=1)
def _zip(uri: str, _modified: int) -> tuple[zipfile.ZipFile, dict[int, zipfile.ZipInfo]]:
    """An open zip, kept for the next unit of the same one: its list of members is slow to read again.

    A changed archive is opened anew.
    """
    file = zipfile.ZipFile(unpacked(uri))
    return file, {member.header_offset: member for member in file.infolist()}


def open_member(uri: str, modified: int, offset: int, size: int) -> BinaryIO:
    """A reader of a member's bytes that can seek; going back is slow in a packed one.

    Args:
        uri: The archive.
        modified: Of the archive, ns.
        offset: Of the member, from :attr:`Archive.offsets`.
        size: Its bytes.

    Raises:
        InputError: If the archive cannot be read, or has changed. Reading raises OSError where it is damaged.
    """
    try:
        if kind_of(uri) == "zip":
            file, members = _zip(uri, modified)
            window = _Window(cast(BinaryIO, file.open(members[offset])), 0, size)
        else:
            window = _Window(unpacked(uri), offset, size)
    except (*BROKEN, KeyError) as error:
        raise InputError(f"{uri} cannot be read as it was listed ({error}): get it again") from error
    return cast(BinaryIO, io.BufferedReader(window, 1 << 16))


class _Window(io.RawIOBase):
    """A part of a stream as a stream of its own; whatever damage is met is an OSError."""

    def __init__(self, stream: BinaryIO, start: int, size: int) -> None:
        self._stream, self._start, self._size, self._place = stream, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = max(0, min(len(buffer), self._size - self._place))
        try:
            if self._stream.tell() != self._start + self._place:
                self._stream.seek(self._start + self._place)
            data = self._stream.read(wanted)
        except BROKEN as error:
            raise OSError(str(error)) from error
        if wanted and not data:
            raise OSError("it ends too early")
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def read_members(uri: str, modified: int, places: Sequence[tuple[int, int]]) -> Iterator[bytes | None]:
    """The bytes of some members, in the order given; None for one that cannot be read as it was listed.

    A .tar.gz is gone through once, up to the last of them, which are all held in memory then.

    Args:
        uri: The archive.
        modified: Of the archive, ns.
        places: Offset and size of each member.
    """
    if kind_of(uri) == "zip":
        yield from (_read_member(uri, modified, *place) for place in places)
        return
    found: dict[int, bytes | None] = {}
    with unpacked(uri) as stream:
        for offset, size in sorted(places) if kind_of(uri) == "tar.gz" else places:
            try:
                stream.seek(offset)
                data = stream.read(size)
                found[offset] = data if len(data) == size else None
            except BROKEN:
                found[offset] = None
            if kind_of(uri) == "tar":
                yield found.pop(offset)
    if found:
        yield from (found[offset] for offset, _ in places)


def _read_member(uri: str, modified: int, offset: int, size: int) -> bytes | None:
    try:
        file, members = _zip(uri, modified)
        with file.open(members[offset]) as stream:
            data = stream.read(size + 1)  # to its end, where the checksum is compared
    except (*BROKEN, KeyError):
        return None
    return data if len(data) == size else None
