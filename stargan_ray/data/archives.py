"""Archives (.zip, .tar, .tar.gz) at a path or URI, listed without unpacking them to disk.

Nothing that an archive says of itself is believed: members that lead out of it, links, devices and members that
unpack to far more than they take up are refused and counted. What makes the archive as a whole unusable is one
:class:`InputError`.
"""

from __future__ import annotations

import gzip
import io
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from array import array
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from stargan_ray.data import storage
from stargan_ray.data.locations import shown
from stargan_ray.data.storage import Listed
from stargan_ray.data.zip_directory import SHORTEST, Member, extent, members
from stargan_ray.errors import InputError

MAX_MEMBERS = 5_000_000
MAX_RATIO = 200  # unpacked to packed; images are some 1, tables of pixels some 4
_SMALL = 1 << 20  # bytes below which no ratio is looked at
_LONGEST_NAME = 1024
_LARGEST_HEADER = 1 << 20  # bytes of what a tar may say of one member
_KINDS = {".zip": "zip", ".tar": "tar", ".tar.gz": "tar.gz", ".tgz": "tar.gz"}
BROKEN = (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, RuntimeError, ValueError, struct.error)
# RuntimeError: a member that needs a password, and a header that refers to headers without end.


def kind_of(uri: str) -> str | None:
    """``zip``, ``tar`` or ``tar.gz`` by the end of the name, or None."""
    name = uri.partition("?")[0].lower() if "://" in uri else uri.lower()
    return next((kind for suffix, kind in _KINDS.items() if name.endswith(suffix)), None)


@dataclass
class Archive:
    """What is in an archive."""

    uri: str
    modified: int  # ns
    # Of each folder its names: with a number those of members, without those of folders. There are millions, and a
    # driver holds them all: hence nothing larger.
    folders: dict[tuple[str, ...], dict[str, int | None]] = field(default_factory=lambda: {(): {}})
    places: array[int] = field(default_factory=lambda: array("q"))  # size and offset of each member
    refused: list[tuple[str, str]] = field(default_factory=list)  # name, reason

    def list(self, folder: tuple[str, ...]) -> list[Listed]:
        """What lies directly in a folder, sorted by name; empty when there is no such folder."""
        return [
            Listed(name, member is None, None if member is None else self.places[2 * member], self.modified)
            for name, member in sorted(self.folders.get(folder, {}).items())
        ]

    def offset(self, *path: str) -> int:
        """Where a member is, for ``open_member``."""
        member = self._member(path)
        assert member is not None, f"no member is at {path}"
        return self.places[2 * member + 1]

    def _member(self, path: tuple[str, ...]) -> int | None:
        """The number of what is at a path; None where nothing or a folder is."""
        return self.folders.get(path[:-1], {}).get(path[-1])

    def _add(self, name: str, reason: str | None, size: int, offset: int) -> None:
        """Take a member in, unless there is a reason not to."""
        parts = _parts(name)
        if parts is None:
            reason = "path leads out of the archive"
        elif len(name) > _LONGEST_NAME:
            reason = "name too long"
        elif parts and self._member(parts) is not None:
            reason = reason or "named twice"
        if reason is not None or not parts:
            self.refused.append((shown(name[:_LONGEST_NAME]), reason or "name is empty"))
            return
        self.folders.setdefault(parts[:-1], {})[parts[-1]] = len(self.places) // 2
        self.places.extend((size, offset))
        for depth in range(len(parts) - 1, 0, -1):
            above = self.folders.setdefault(parts[: depth - 1], {})
            if parts[depth - 1] in above:
                break
            above[parts[depth - 1]] = None


def _parts(name: str) -> tuple[str, ...] | None:
    """The folders and the name of a member, or None if it would lie elsewhere than below the archive."""
    name = name.replace("\\", "/")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    outside = name.startswith("/") or ".." in parts or "\0" in name or re.match(r"[A-Za-z]:", name)
    return None if outside else parts


def list_archive(uri: str, size: int, modified: int) -> Archive:
    """Look through an archive; a .tar.gz is unpacked once in memory for it, piece by piece.

    Args:
        uri: Where it is.
        size: Its bytes.
        modified: ns since 1970, 0 if unknown.

    Raises:
        InputError: If it cannot be read, or unpacks to far too much.
    """
    archive = Archive(uri, modified)
    try:
        with unpacked(uri) as stream:
            if kind_of(uri) == "zip":
                _list_zip(archive, stream, size)
            else:
                bounded = _Bounded(stream, size)
                _list_tar(archive, bounded)
                if kind_of(uri) == "tar.gz":
                    bounded.read_to_end()  # where its checksum is
    except BROKEN as error:
        raise InputError(f"{uri} is no whole {kind_of(uri)} archive ({error}): get it again") from error
    return archive


def _list_zip(archive: Archive, stream: BinaryIO, size: int) -> None:
    if extent(stream, size).length > SHORTEST * MAX_MEMBERS:  # without having gone through the list
        raise _too_many(archive.uri)
    packed = 0
    for member in members(stream, size):
        packed += member.packed
        if not member.name.endswith("/"):
            archive._add(member.name, _why_not_in_zip(member), member.size, member.offset)
    if packed > size:
        raise InputError(f"{archive.uri} has members that overlap: refused, since such archives unpack without end")


def _why_not_in_zip(member: Member) -> str | None:
    if stat.S_ISLNK(member.mode):
        return "a link"
    if stat.S_IFMT(member.mode) not in (0, stat.S_IFREG):
        return "a device"
    if member.flags & 1:
        return "encrypted"
    if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "unknown compression"
    if member.size > max(_SMALL, MAX_RATIO * member.packed):
        return "compression ratio"
    return None


def _list_tar(archive: Archive, stream: _Bounded) -> None:
    count, last = 0, -1
    with tarfile.TarFile(fileobj=cast(BinaryIO, stream)) as file:
        while (member := file.next()) is not None:
            file.members.clear()  # type: ignore[attr-defined]  # or it would keep them all
            count += 1
            if count > MAX_MEMBERS:
                raise _too_many(archive.uri)
            if member.offset_data <= last or member.size < 0:
                raise tarfile.TarError("a member's size is negative")
            last = member.offset_data
            if not member.isdir():
                archive._add(member.name, _why_not_in_tar(member), member.size, member.offset_data)


def _why_not_in_tar(member: tarfile.TarInfo) -> str | None:
    if member.issym() or member.islnk():
        return "a link"
    if not member.isreg():
        return "a device"
    return "a sparse file" if member.issparse() else None


def _too_many(uri: str) -> InputError:
    return InputError(f"{uri} has more than {MAX_MEMBERS} members: split it")


class _Bounded(io.RawIOBase):
    """The unpacked bytes of a tar, for looking through it: refuses what is too much for so small an archive."""

    def __init__(self, stream: BinaryIO, packed: int) -> None:
        self._stream, self._most = stream, max(_SMALL, packed) * MAX_RATIO

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.TarError("the header of a member is too large")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if offset > self._most:
            raise tarfile.TarError(f"it unpacks to more than {MAX_RATIO} times its size")
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def read_to_end(self) -> None:
        while self.read(_LARGEST_HEADER):
            self.seek(self.tell())


def unpacked(uri: str) -> BinaryIO:
    """The archive's bytes; for a .tar.gz, those of the .tar in it."""
    stream = cast(BinaryIO, io.BufferedReader(storage.open_input(uri), 1 << 16))
    return cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if kind_of(uri) == "tar.gz" else stream
