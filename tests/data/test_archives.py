"""Hostile and damaged archives: what is refused, under which reason, and that nothing more is read than was listed.

pytest tests/data/test_archives.py
"""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from stargan_ray.data import archive_members, archives
from stargan_ray.data.archive_members import open_member, read_members
from stargan_ray.data.archives import Archive, kind_of, list_archive
from stargan_ray.data.readers.folder import FolderConfig, read_folder
from stargan_ray.errors import InputError

OUT = {"../up.jpg", "a/../../up.jpg", "/abs.jpg", "C:\\win.jpg", "..\\up.jpg", "c:rel.jpg"}


def listed(path: Path) -> Archive:
    return list_archive(str(path), path.stat().st_size, 0)


def names(archive: Archive) -> set[str]:
    return {
        "/".join((*folder, name))
        for folder, names in archive.folders.items()
        for name, m in names.items()
        if m is not None
    }


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return path


def make_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as packed:
        for info, data in members:
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return path


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def test_the_kind_is_told_by_the_name() -> None:
    assert [kind_of(name) for name in ("a.ZIP", "a.tar", "a.tar.gz", "b.tgz", "s3://b/a.zip?region=x")] == [
        "zip",
        "tar",
        "tar.gz",
        "tar.gz",
        "zip",
    ]
    assert kind_of("a.csv") is kind_of("zip") is kind_of("a.gz") is None


def test_paths_that_lead_out_are_refused(tmp_path: Path) -> None:
    files = dict.fromkeys([*sorted(OUT), "./in/./a.jpg", "in\\b.jpg"], b"x")
    zipped = listed(make_zip(tmp_path / "a.zip", files))
    tarred = listed(make_tar(tmp_path / "a.tar", [(tarfile.TarInfo(name), data) for name, data in files.items()]))
    for archive in (zipped, tarred):
        assert set(archive.refused) == {(name, "path leads out of the archive") for name in OUT}
        assert names(archive) == {"in/a.jpg", "in/b.jpg"}
        assert [each.name for each in archive.list(("in",))] == ["a.jpg", "b.jpg"]
        assert [(each.name, each.folder) for each in archive.list(())] == [("in", True)]


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, suffix: str) -> None:
    path = make_tar(
        tmp_path / f"a.{suffix}",
        [
            special("soft.jpg", tarfile.SYMTYPE, "/etc/passwd"),
            special("hard.jpg", tarfile.LNKTYPE, "good.jpg"),
            special("null", tarfile.CHRTYPE),
            special("disk", tarfile.BLKTYPE),
            special("pipe", tarfile.FIFOTYPE),
            special("folder", tarfile.DIRTYPE),
            (tarfile.TarInfo("good.jpg"), b"good"),
            (tarfile.TarInfo("good.jpg"), b"other"),
            (tarfile.TarInfo("n" * 2000), b"x"),
        ],
    )
    archive = listed(path)
    assert dict(archive.refused) == {
        "soft.jpg": "a link",
        "hard.jpg": "a link",
        "null": "a device",
        "disk": "a device",
        "pipe": "a device",
        "good.jpg": "named twice",
        "n" * 1024: "name too long",
    }
    assert list(read_members(str(path), 0, [(archive.offset("good.jpg"), 4)])) == [b"good"]


def test_what_is_refused_of_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, mode in (
            ("soft", stat.S_IFLNK),
            ("pipe", stat.S_IFIFO),
            ("null", stat.S_IFCHR),
            ("file", stat.S_IFREG),
        ):
            info = zipfile.ZipInfo(name)
            info.external_attr = (mode | 0o644) << 16
            packed.writestr(info, b"x")
        packed.writestr("bomb.png", b"\0" * (3 << 20))
        packed.writestr("folder/", b"")
        packed.writestr("good", b"first")
        with pytest.warns(UserWarning, match="Duplicate name"):
            packed.writestr("good", b"second")
        packed.writestr("rare", b"x", zipfile.ZIP_BZIP2)
        packed.writestr("cut?off", b"x")
    path.write_bytes(path.read_bytes().replace(b"cut?off", b"cut\0off"))
    archive = listed(path)
    assert dict(archive.refused) == {
        "soft": "a link",
        "pipe": "a device",
        "null": "a device",
        "bomb.png": "compression ratio",
        "good": "named twice",
        "rare": "unknown compression",
        "cut\0off": "path leads out of the archive",
    }
    assert list(read_members(str(path), 0, [(archive.offset("good"), 5)])) == [b"first"]


def test_bombs_are_refused_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_SMALL", 1000)
    bomb = make_tar(tmp_path / "a.tar.gz", [(tarfile.TarInfo(f"{n}.jpg"), b"\0" * (1 << 20)) for n in range(9)])
    with pytest.raises(InputError, match=r"it unpacks to more than 200 times its size"):
        listed(bomb)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 5)
    many = {f"{n}.jpg": b"x" for n in range(6)}
    for path in (
        make_zip(tmp_path / "b.zip", many),
        make_tar(tmp_path / "b.tar", [(tarfile.TarInfo(name), data) for name, data in many.items()]),
    ):
        with pytest.raises(InputError, match="has more than 5 members"):
            listed(path)
    # A zip whose list says that both members are the same bytes.
    whole = bytearray(make_zip(tmp_path / "c.zip", dict.fromkeys("ab", bytes(range(256)) * 9)).read_bytes())
    second = whole.rfind(b"PK\x01\x02")
    whole[second + 42 : second + 46] = struct.pack("<I", 0)
    first = whole.find(b"PK\x01\x02")
    for entry in (first, second):
        whole[entry + 20 : entry + 24] = struct.pack("<I", len(whole))
    (tmp_path / "c.zip").write_bytes(whole)
    with pytest.raises(InputError, match="members that overlap"):
        listed(tmp_path / "c.zip")


def test_a_tar_with_absurd_headers_is_refused(tmp_path: Path) -> None:
    huge = tarfile.TarInfo("x")
    huge.type, huge.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    (tmp_path / "a.tar").write_bytes(huge.tobuf(tarfile.GNU_FORMAT) + b"\0" * 2048)
    with pytest.raises(InputError, match="header of a member is too large"):
        listed(tmp_path / "a.tar")
    back = bytearray(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT))
    back[124:136] = b"\xff" * 10 + b"\xfc\x00"  # a size of -1024
    back[148:156] = b" " * 8
    back[148:156] = b"%06o\0 " % sum(back)
    (tmp_path / "b.tar").write_bytes(bytes(back) + b"\0" * 2048)
    with pytest.raises(InputError, match="is no whole tar archive"):
        listed(tmp_path / "b.tar")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_damage_is_one_line_or_one_member(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    files = {f"{n}.jpg": bytes((n * k) % 251 for k in range(5000)) for n in range(3)}
    if kind == "zip":
        make_zip(path, files)
    else:
        make_tar(path, [(tarfile.TarInfo(name), data) for name, data in files.items()])
    archive = listed(path)
    places = [(archive.offset(name), 5000) for name in sorted(files, reverse=True)]
    assert list(read_members(str(path), 0, places)) == [files[name] for name in sorted(files, reverse=True)]
    with open_member(str(path), 0, *places[0]) as stream:
        stream.seek(4000)
        assert stream.read() == files["2.jpg"][4000:]
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"no archive at all", gzip.compress(b"no tar")):
        path.write_bytes(data)
        with pytest.raises(InputError, match=f"a.{kind} is no whole {kind} archive"):
            listed(path)
    path.write_bytes(whole[: len(whole) // 4])  # cut after it was listed
    archive_members._packed.cache_clear()  # and opened by another process
    if kind != "zip":
        assert next(read_members(str(path), 0, places)) is None


def test_a_member_is_never_read_beyond_its_listed_size(tmp_path: Path) -> None:
    whole = bytearray(make_zip(tmp_path / "a.zip", {"a": b"\0" * 500_000}).read_bytes())
    entry = whole.find(b"PK\x01\x02")
    whole[entry + 24 : entry + 28] = struct.pack("<I", 10)  # says 10 bytes, holds half a million
    (tmp_path / "a.zip").write_bytes(whole)
    archive = listed(tmp_path / "a.zip")
    assert archive.list(())[0].size == 10
    assert list(read_members(str(tmp_path / "a.zip"), 0, [(0, 10)])) == [None]


def test_what_is_refused_is_counted_with_the_rest(tmp_path: Path) -> None:
    path = make_tar(
        tmp_path / "a.tar",
        [
            *((tarfile.TarInfo(f"{split}/cat/1.jpg"), b"x") for split in ("train", "val")),
            special("train/cat/link.jpg", tarfile.SYMTYPE, "../../secret"),
        ],
    )
    found = read_folder(FolderConfig(str(path)))
    assert [(each.path, each.reason) for each in found.skipped] == [("train/cat/link.jpg", "a link")]


class Watched(io.RawIOBase):
    """A stream that notes where it was made to go back."""

    def __init__(self, stream: BinaryIO, back: list[int]) -> None:
        self.stream, self.back = stream, back

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if offset < self.stream.tell():
            self.back.append(offset)
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        return self.stream.tell()

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def test_units_in_the_order_of_a_packed_archive_go_through_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 24_000), dtype=np.uint8)  # more than a buffer
    path = tmp_path / "a.tar.gz"
    make_tar(path, [(tarfile.TarInfo(f"{n:02d}.jpg"), data.tobytes()) for n, data in enumerate(noise)])
    offset = listed(path).offset
    opened, back = [], []

    def watched(uri: str) -> Watched:
        opened.append(uri)
        return Watched(archives.unpacked(uri), back)

    monkeypatch.setattr(archive_members, "unpacked", watched)
    monkeypatch.setattr(archive_members, "_LOOK_BACK", 1 << 15)
    archive_members._packed.cache_clear()
    for start in range(0, 40, 4):
        places = [(offset(f"{n:02d}.jpg"), 24_000) for n in range(start, start + 4)]
        assert list(read_members(str(path), 0, places)) == [noise[n].tobytes() for n in range(start, start + 4)]
    assert (len(opened), back) == (1, [])
    assert list(read_members(str(path), 0, [(offset("01.jpg"), 24_000)])) == [noise[1].tobytes()]
    assert (len(opened), len(back)) == (1, 1)  # a unit that comes again, as after a kill
    archive_members._packed.cache_clear()
