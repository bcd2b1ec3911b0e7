"""Members of a .zip, read by their place in it.

Of its list only columns of numbers are kept: as the objects that zipfile makes of it, the list of a large archive
would take most of the memory of every process that reads from it.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from array import array
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from stargan_ray.data.zip_directory import members

_LOCAL = struct.Struct("<4s2xHH16xHH")  # signature, flags, method, bytes of the name, bytes of more
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_REFUSED_FLAGS = 0x61  # encrypted, a patch, strongly encrypted


class ZipMembers:
    """An open zip.

    Args:
        stream: Its bytes; kept open.

    Raises:
        BadZipFile: If it is no whole zip; or another of :data:`stargan_ray.data.archives.BROKEN`.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        columns = _columns(stream)
        columns = columns[np.argsort(columns[:, 0], kind="stable")]
        self._offsets, self._members = columns[:, 0].copy(), columns[:, 1:].copy()

    def read(self, offset: int, size: int) -> bytes | None:
        """The bytes of the member that begins at an offset, or None where they are not those that were listed.

        Args:
            offset: From :meth:`Archive.offset`.
            size: Its bytes; no more than one beyond them is ever unpacked.
        """
        place = int(np.searchsorted(self._offsets, offset))
        if place == len(self._offsets) or self._offsets[place] != offset:
            return None
        packed_size, listed_size, listed_method, checksum = self._members[place].tolist()
        self._stream.seek(offset)
        signature, flags, method, name, more = _LOCAL.unpack(self._stream.read(_LOCAL.size))
        if signature != b"PK\x03\x04" or flags & _REFUSED_FLAGS or method not in _METHODS:
            return None
        if (listed_size, listed_method) != (size, method):
            return None
        self._stream.seek(name + more, 1)
        data = self._stream.read(packed_size)
        if method == zipfile.ZIP_DEFLATED:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
        return data if len(data) == size and zlib.crc32(data) == checksum else None


def _columns(stream: BinaryIO) -> npt.NDArray[np.int64]:
    """(members, 5): offset, packed size, size, method and checksum of each, in the order of the list."""
    numbers = array("q")
    for each in members(stream, stream.seek(0, 2)):
        numbers.extend((each.offset, each.packed, each.size, each.method, each.checksum))
    return np.frombuffer(numbers, np.int64).reshape(-1, 5)
