"""Members of zips as zipfile reads them, and what is not as it was listed.

pytest tests/data/test_zip_members.py
"""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import numpy as np
import pytest

from stargan_ray.data import zip_directory
from stargan_ray.data.archives import BROKEN
from stargan_ray.data.zip_members import ZipMembers


class Unseekable(io.RawIOBase):
    """A file that a zip is written to without going back: its local headers do not know the sizes."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


def contents() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    noise = {f"noise/{n}é.jpg": rng.bytes(int(rng.integers(3000))) for n in range(40)}
    return noise | {"empty": b"", "flat": b"\0" * 100_000}


def packed(kind: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    if kind == "of very many members":
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 10)
    if kind == "of gigabytes":
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 20)
    out: Any = Unseekable() if kind == "streamed" else io.BytesIO()
    if kind == "behind other bytes":
        out.write(b"#!/bin/sh\n" * 50)
    with zipfile.ZipFile(out, "a" if kind == "behind other bytes" else "w", zipfile.ZIP_DEFLATED) as file:
        for number, (name, data) in enumerate(contents().items()):
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_STORED if number % 2 else zipfile.ZIP_DEFLATED
            with file.open(info, "w", force_zip64=kind in ("of 64 bits", "of gigabytes")) as member:
                member.write(data)
        file.comment = b"about" * (kind == "with a comment")
    data = bytes(out.data) if isinstance(out, Unseekable) else bytes(out.getvalue())
    return b"#!/bin/sh\n" * 70 + data if kind == "put behind other bytes" else data


KINDS = [
    "plain",
    "streamed",
    "of 64 bits",
    "behind other bytes",
    "put behind other bytes",
    "with a comment",
    "of very many members",
    "of gigabytes",
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_member_is_read_as_zipfile_does(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed(kind, monkeypatch)
    members, listed = ZipMembers(io.BytesIO(data)), zipfile.ZipFile(io.BytesIO(data)).infolist()
    assert len(listed) == 42
    for info in reversed(listed):
        assert members.read(info.header_offset, info.file_size) == contents()[info.filename]
        assert members.read(info.header_offset, info.file_size + 1) is None
        assert members.read(info.header_offset + 1, info.file_size) is None


def test_what_is_damaged_is_none_and_what_is_no_zip_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed("plain", monkeypatch)
    listed = zipfile.ZipFile(io.BytesIO(data)).infolist()
    for info in listed[:6]:
        for place in (0, 6, 8, 30 + len(info.filename.encode()) + info.compress_size // 2):
            spoilt = bytearray(data)
            spoilt[info.header_offset + place] ^= 1
            try:
                assert ZipMembers(io.BytesIO(bytes(spoilt))).read(info.header_offset, info.file_size) is None, place
            except BROKEN:  # as a stream that does not unpack
                assert place > 8
    huge = bytearray(data)
    entry = huge.rfind(b"PK\x01\x02")
    struct.pack_into("<I", huge, entry + 24, 10)  # the flat one says that it has 10 bytes
    assert ZipMembers(io.BytesIO(bytes(huge))).read(listed[-1].header_offset, 10) is None
    for wrong in (b"", data[: len(data) // 2], b"no zip"):
        with pytest.raises(BROKEN):
            ZipMembers(io.BytesIO(wrong))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at_once", [1, 100, 1 << 20])
def test_the_list_is_that_of_zipfile_however_it_is_read(
    kind: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = packed(kind, monkeypatch)
    monkeypatch.setattr(zip_directory, "_AT_ONCE", at_once)
    monkeypatch.setattr(zip_directory, "_LONGEST", 200)
    found = [
        (each.name, each.flags, each.method, each.checksum, each.packed, each.size, each.offset, each.mode)
        for each in zip_directory.members(io.BytesIO(data), len(data))
    ]
    assert found == [
        (i.filename, i.flag_bits, i.compress_type, i.CRC, i.compress_size, i.file_size, i.header_offset,
         i.external_attr >> 16)
        for i in zipfile.ZipFile(io.BytesIO(data)).infolist()
    ]  # fmt: skip


def test_names_are_told_as_they_are_spelt() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name in ("é.jpg", "old.jpg", "cut?off.jpg"):
            file.writestr(name, b"x")
    data = out.getvalue().replace("é.jpg".encode(), b"\xff\xfe.jpg").replace(b"old", b"o\x94d")
    data = data.replace(b"cut?off", b"cut\0off")
    names = [each.name for each in zip_directory.members(io.BytesIO(data), len(data))]
    assert names == ["\udcff\udcfe.jpg", "oöd.jpg", "cut\0off.jpg"]


def test_an_empty_zip_has_no_members_and_a_list_that_is_cut_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    zipfile.ZipFile(out, "w").close()
    assert list(zip_directory.members(out, out.seek(0, 2))) == []
    data = packed("plain", monkeypatch)
    for at in (data.rfind(b"PK\x01\x02"), data.find(b"PK\x01\x02")):
        spoilt = bytearray(data)
        struct.pack_into("<H", spoilt, at + 28, 60_000)  # the bytes of its name
        with pytest.raises(zipfile.BadZipFile, match="damaged"):
            list(zip_directory.members(io.BytesIO(bytes(spoilt)), len(spoilt)))
