"""Every published layout inside a .zip, .tar and .tar.gz gives the data set that its folder gives.

pytest tests/data/readers/test_in_archives.py
"""

from __future__ import annotations

import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import test_affectnet
import test_fer2013
import test_kdef
import test_lfw

from stargan_ray.data import storage
from stargan_ray.data.readers.affectnet import AffectnetConfig, read_affectnet
from stargan_ray.data.readers.fer2013 import Fer2013Config, read_fer2013
from stargan_ray.data.readers.folder import FolderConfig, read_folder
from stargan_ray.data.readers.kdef import KdefConfig, read_kdef
from stargan_ray.data.readers.lfw import LfwConfig, read_lfw
from stargan_ray.data.units import Source
from stargan_ray.data.writing import write_dataset

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
