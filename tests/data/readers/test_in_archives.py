"""Every published layout inside a .zip, .tar and .tar.gz gives the data set that its folder gives.

pytest tests/data/readers/test_in_archives.py
"""

from __future__ import annotations

import random
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import test_affectnet
import test_fer2013
import test_kdef
import test_lfw
from forked import forks

from stargan_ray.data import archive_members, storage
from stargan_ray.data.readers.affectnet import AffectnetConfig, read_affectnet
from stargan_ray.data.readers.fer2013 import Fer2013Config, read_fer2013
from stargan_ray.data.readers.folder import FolderConfig, read_folder
from stargan_ray.data.readers.kdef import KdefConfig, read_kdef
from stargan_ray.data.readers.lfw import LfwConfig, read_lfw
from stargan_ray.data.units import Source
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError

KINDS = ("zip", "tar", "tar.gz")


def pack(root: Path, archive: Path, above: str = "") -> Path:
    """The files below a folder, in no order that helps."""
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    random.Random(0).shuffle(paths)
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in paths:
                packed.write(path, above + path.relative_to(root).as_posix())
    else:
        with tarfile.open(archive, "w:gz" if archive.name.endswith("gz") else "w") as packed:
            for path in paths:
                packed.add(path, above + path.relative_to(root).as_posix())
    return archive


LAYOUTS: dict[str, tuple[Callable[[Path], Path], Callable[[str], Source]]] = {
    "fer2013-table": (
        lambda root: test_fer2013.table(root / "fer2013.csv").parent,
        lambda path: read_fer2013(Fer2013Config(path), 5),
    ),
    "fer2013-folders": (test_fer2013.folders, lambda path: read_fer2013(Fer2013Config(path), 5)),
    "affectnet-lists": (
        test_affectnet.official,
        lambda path: read_affectnet(AffectnetConfig(path, crop=True), 5),
    ),
    "affectnet-release": (test_affectnet.release, lambda path: read_affectnet(AffectnetConfig(path), 5)),
    "lfw": (test_lfw.tree, lambda path: read_lfw(LfwConfig(path), 7)),
    "kdef": (test_kdef.tree, lambda path: read_kdef(KdefConfig(path), 16)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_in_an_archive(tmp_path: Path, layout: str, kind: str) -> None:
    build, read = LAYOUTS[layout]
    root = build(tmp_path / "in")
    archive = pack(root, tmp_path / f"a.{kind}", above="./some folder/")
    expected = write_dataset(str(tmp_path / "1"), read(str(root)))
    found = write_dataset(str(tmp_path / "2"), read(str(archive)))
    assert found.content_hash == expected.content_hash
    assert found.skipped == expected.skipped
    assert [(s.path, s.rows, s.hash) for s in found.shards] == [(s.path, s.rows, s.hash) for s in expected.shards]


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_folder_in_an_archive(tmp_path: Path, kind: str) -> None:
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            test_kdef.put(tmp_path / "in" / split / name / "é 1.jpg", test_kdef.picture(1))
    archive = pack(tmp_path / "in", tmp_path / f"a.{kind}")
    expected = write_dataset(str(tmp_path / "1"), read_folder(FolderConfig(str(tmp_path / "in"))))
    assert write_dataset(str(tmp_path / "2"), read_folder(FolderConfig(str(archive)))).shards[0].rows == 2
    assert write_dataset(str(tmp_path / "2"), read_folder(FolderConfig(str(archive)))).rows == expected.rows


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_on_s3(s3: str, tmp_path: Path, kind: str) -> None:
    root = test_kdef.tree(tmp_path / "in")
    archive = pack(root, tmp_path / f"a.{kind}")
    storage.write_bytes(storage.join(s3, archive.name), archive.read_bytes())
    expected = write_dataset(str(tmp_path / "1"), read_kdef(KdefConfig(str(root)), 16))
    found = write_dataset(str(tmp_path / "2"), read_kdef(KdefConfig(storage.join(s3, archive.name)), 16))
    assert found.content_hash == expected.content_hash


@pytest.mark.parametrize("kind", KINDS)
def test_several_processes_and_a_restart_give_the_same(tmp_path: Path, kind: str) -> None:
    archive = pack(test_affectnet.release(tmp_path / "in"), tmp_path / f"a.{kind}")
    source = read_affectnet(AffectnetConfig(str(archive)), 3)
    expected = write_dataset(str(tmp_path / "1"), source)
    with ProcessPoolExecutor(2, forks()) as pool:
        found = write_dataset(str(tmp_path / "2"), source, map_tasks=lambda do, tasks: pool.map(do, tasks[::-1]))
    assert found == expected
    (tmp_path / "2" / "manifest.json").unlink()  # as after a kill
    (tmp_path / "2" / "rows" / "train-00001.parquet").unlink()
    reused: list[bool] = []
    again = read_affectnet(AffectnetConfig(str(archive)), 3)
    assert write_dataset(str(tmp_path / "2"), again, on_written=lambda each: reused.append(each.reused)) == expected
    assert reused.count(False) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_that_was_damaged_after_it_was_listed_is_one_line(tmp_path: Path, kind: str) -> None:
    root = test_fer2013.table(tmp_path / "in" / "fer2013.csv").parent
    archive = pack(root, tmp_path / f"a.{kind}")
    source = read_fer2013(Fer2013Config(str(archive)), 5)
    whole = archive.read_bytes()
    middle = len(whole) // 2
    archive.write_bytes(whole[:middle] + (bytes(2000) + whole[middle + 2000 :] if kind == "zip" else b""))
    archive_members._packed.cache_clear()  # another process is to read it
    with pytest.raises(InputError, match=f"a.{kind} cannot be read .*: get it again"):
        write_dataset(str(tmp_path / "out"), source)
    archive.write_bytes(whole[:middle] + bytes(2000) + whole[middle + 2000 :])
    if kind != "tar":  # which has no checksum of its members
        with pytest.raises(InputError, match=r"cannot be read|is no whole"):
            read_fer2013(Fer2013Config(str(archive)), 5)
