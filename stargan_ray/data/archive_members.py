"""Members of archives, read in place: at random in .zip and .tar, in passes through a .tar.gz.

No more than the size that was listed of a member is ever read of it.
"""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO, cast

from stargan_ray.data.archives import BROKEN, kind_of, unpacked
from stargan_ray.data.zip_members import ZipMembers
from stargan_ray.errors import InputError

_LOOK_BACK = 4 << 20  # bytes


@functools.lru_cache(maxsize=1)
def _zip(uri: str, _modified: int) -> ZipMembers:
    """An open zip, kept for the next unit of the same one: its list of members is slow to read again.

    A changed archive is opened anew.
    """
    return ZipMembers(unpacked(uri))


@functools.lru_cache(maxsize=1)
def _packed(uri: str, _modified: int) -> BinaryIO:
    """The bytes of the .tar in a .tar.gz, kept where the last unit left them: the next one goes on from there.

    To go back is to begin anew, but for what the buffer holds: units that follow each other overlap a little.
    """
    return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, unpacked(uri)), _LOOK_BACK))


def _stream(uri: str, modified: int) -> BinaryIO:
    return _packed(uri, modified) if kind_of(uri) == "tar.gz" else unpacked(uri)


def open_member(uri: str, modified: int, offset: int, size: int) -> BinaryIO:
    """A reader of a member's bytes that can seek; going back is slow in a packed one.

    Args:
        uri: The archive.
        modified: Of the archive, ns.
        offset: Of the member, from :meth:`Archive.offset`.
        size: Its bytes.

    Raises:
        InputError: If the archive cannot be read, or has changed. Reading raises OSError where it is damaged.
    """
    try:
        if kind_of(uri) == "zip":
            file = zipfile.ZipFile(unpacked(uri))
            member = next(member for member in file.infolist() if member.header_offset == offset)
            window = _Window(cast(BinaryIO, file.open(member)), 0, size)
        else:
            window = _Window(_stream(uri, modified), offset, size)
    except (*BROKEN, StopIteration) as error:
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

    A .tar.gz is gone through from where the last members were found, or from its beginning, up to the last of these,
    which are all held in memory then.

    Args:
        uri: The archive.
        modified: Of the archive, ns.
        places: Offset and size of each member.
    """
    if kind_of(uri) == "zip":
        yield from (_read_member(uri, modified, *place) for place in places)
        return
    stream = _stream(uri, modified)
    if kind_of(uri) == "tar":
        with stream:
            yield from (_read_part(stream, *place) for place in places)
        return
    found = {offset: _read_part(stream, offset, size) for offset, size in sorted(places)}
    yield from (found[offset] for offset, _ in places)


def _read_part(stream: BinaryIO, offset: int, size: int) -> bytes | None:
    try:
        stream.seek(offset)
        data = stream.read(size)
    except BROKEN:
        return None
    return data if len(data) == size else None


def _read_member(uri: str, modified: int, offset: int, size: int) -> bytes | None:
    try:
        return _zip(uri, modified).read(offset, size)
    except BROKEN:
        return None
