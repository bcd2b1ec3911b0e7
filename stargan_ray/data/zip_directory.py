"""The list of members at the end of a .zip, gone through member by member.

zipfile makes an object of every member and keeps them all: for a large archive the most memory of the process.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_LISTED = struct.Struct("<4s4xHH4xLLLHHH4xLL")
SHORTEST = _LISTED.size  # bytes of the list for one member, at least
_LONGEST = _LISTED.size + 3 * 0xFFFF
_AT_ONCE = 1 << 20  # bytes of the list
_ELSEWHERE = 0xFFFFFFFF  # a number that is too large for its place
_UTF8 = 0x800  # flag of a name in it


class Member(NamedTuple):
    """What the list says of a member."""

    name: str
    flags: int
    method: int
    checksum: int
    packed: int  # bytes in the archive
    size: int  # bytes unpacked
    offset: int  # of its local header, in the file
    mode: int  # of Unix, 0 = none


class Extent(NamedTuple):
    """Where the list is."""

    start: int
    length: int
    before: int  # bytes before the archive that its own offsets leave out


def extent(stream: BinaryIO, size: int) -> Extent:
    """Where the list of a zip is; zeros if there is none.

    Args:
        stream: The zip.
        size: Its bytes.
    """
    start = max(0, size - 65_557)  # the end record may be followed by a comment
    stream.seek(start)
    tail = stream.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        return Extent(0, 0, 0)
    told, offset = struct.unpack_from("<II", tail, end + 12)
    behind = start + end
    if end >= 20 and tail[end - 20 : end - 16] == b"PK\x06\x07":  # the larger record of large archives
        stream.seek(struct.unpack_from("<Q", tail, end - 12)[0])
        record = stream.read(56)
        told, offset = struct.unpack_from("<QQ", record, 40)
        behind -= 56 + 20
    return Extent(behind - told, told, behind - told - offset)


def members(stream: BinaryIO, size: int) -> Iterator[Member]:
    """Every member, in the order of the list; the stream is read meanwhile.

    Args:
        stream: The zip.
        size: Its bytes.

    Raises:
        BadZipFile: If it is no whole zip.
    """
    start, left, before = extent(stream, size)
    if left == 0 and size == 22:  # an empty one
        return
    if left == 0 or start < 0:
        raise zipfile.BadZipFile("it has no list of members")
    stream.seek(start)
    listed, place = b"", 0
    while left or place < len(listed):
        while left and len(listed) - place < _LONGEST:
            more = stream.read(min(left, _AT_ONCE))
            if not more:
                raise zipfile.BadZipFile("its list of members is cut off")
            listed, place, left = listed[place:] + more, 0, left - len(more)
        member, place = _member(listed, place, before)
        yield member


def _member(listed: bytes, place: int, before: int) -> tuple[Member, int]:
    """The member whose entry begins at a place of the list, and where the next one does."""
    numbers = _LISTED.unpack_from(listed, place)
    signature, flags, method, checksum, packed, size, name, more, comment, attributes, offset = numbers
    behind = place + _LISTED.size + name
    if signature != b"PK\x01\x02" or behind + more + comment > len(listed):
        raise zipfile.BadZipFile("its list of members is damaged")
    if _ELSEWHERE in (packed, size, offset):
        size, packed, offset = _large(listed[behind : behind + more], size, packed, offset)
    spelt = listed[behind - name : behind].decode(*(("utf-8", "surrogateescape") if flags & _UTF8 else ("cp437",)))
    told = Member(spelt, flags, method, checksum, packed, size, offset + before, attributes >> 16)
    return told, behind + more + comment


def _large(more: bytes, *numbers: int) -> tuple[int, ...]:
    """The numbers, those that are elsewhere from the field of large ones, where they follow each other."""
    while len(more) >= 4:
        kind, length = struct.unpack_from("<HH", more)
        if kind == 1:
            found = iter(struct.unpack_from(f"<{min(length, 24) // 8}Q", more, 4))
            return tuple(next(found, number) if number == _ELSEWHERE else number for number in numbers)
        more = more[4 + length :]
    return numbers
