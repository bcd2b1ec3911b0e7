"""KDEF as published: the grammar of names, one person over both sessions, angles, irregular and black pictures.

pytest tests/data/readers/test_kdef.py
"""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stargan_ray.data.manifest import Manifest
from stargan_ray.data.readers.kdef import ANGLES, KdefConfig, read_kdef, split_of
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.units import Source
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError

EXPRESSION = {"AF": 4, "AN": 6, "DI": 5, "HA": 1, "NE": 0, "SA": 2, "SU": 3}  # code -> the project's index
SOME = ("F01", "M01", "M35")


def picture(seed: int, brightest: int = 256, size: tuple[int, int] = (8, 10)) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, brightest, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def tree(root: Path, flat: bool = False) -> Path:
    seed = 0
    for person in SOME:
        for session in "AB":
            for code in EXPRESSION:
                for angle in ANGLES:
                    seed += 1
                    name = f"{session}{person}{code}{angle}.JPG"
                    put(root / name if flat else root / f"{session}{person}" / name, picture(seed))
    return root


def source(path: Path, **fields: object) -> Source:
    return read_kdef(KdefConfig(str(path), **fields), shard_rows=16)


def ingest(path: Path, out: Path, **fields: object) -> Manifest:
    return write_dataset(str(out), source(path, **fields))


@pytest.mark.parametrize("flat", [False, True])
def test_a_name_says_person_and_expression(tmp_path: Path, flat: bool) -> None:
    manifest = ingest(tree(tmp_path / "KDEF_and_AKDEF" / "KDEF", flat).parent, tmp_path / "out")
    assert manifest.domains == EXPRESSIONS[:-1]
    assert (manifest.rows, manifest.skipped) == (210, {})
    people: dict[str, set[str]] = {}
    for row in open_dataset(str(tmp_path / "out")).index.to_pylist():
        name = row["key"].split("/")[-1]
        assert row["identity"] == name[1:4]  # both sessions are one person
        assert row["expression"] == EXPRESSION[name[4:6]]
        people.setdefault(row["identity"], set()).add(row["split"])
    assert people == {person: {split_of(person)} for person in SOME}


def test_the_70_people_are_divided_by_gender() -> None:
    for gender in "FM":
        counted = Counter(split_of(f"{gender}{number:02d}") for number in range(1, 36))
        assert counted == {"train": 27, "val": 4, "test": 4}


def test_only_some_angles(tmp_path: Path) -> None:
    root = tree(tmp_path / "in")
    manifest = ingest(root, tmp_path / "out", angles=("S", "HL"))
    assert manifest.rows == 84
    assert manifest.skipped == {"another angle": 126}
    keys = [row["key"] for row in open_dataset(str(tmp_path / "out")).index.to_pylist()]
    assert all(key.endswith(("HL.JPG", "S.JPG")) for key in keys)
    assert source(root, angles=("HL", "S")).identity() == source(root, angles=("S", "HL")).identity()
    with pytest.raises(InputError, match=r"unknown angle 'SL': .*allowed: FL, FR, HL, HR, S"):
        KdefConfig("x", angles=("SL",))
    with pytest.raises(InputError, match="angles is empty"):
        KdefConfig("x", angles=())


def test_irregular_names_and_black_pictures_are_counted(tmp_path: Path) -> None:
    root = tree(tmp_path / "in")
    put(root / "AF31" / "AF31V.JPG", picture(1))
    put(root / "AM31" / "AM31H.JPG", picture(2))
    put(root / "AF31" / "AF36ANS.JPG", picture(3))
    put(root / "AF31" / "AF00ANS.JPG", picture(3))
    put(root / "AF31" / "BF31ANS.JPG", picture(4))
    put(root / "AF31" / "AF31ANS.JPG", picture(5, brightest=8))
    put(root / "AF31" / "Thumbs.db", b"x")
    put(root / "AF31" / "af31haS.jpg", picture(6))
    put(root / "about.txt", b"x")
    put(root / "AF31" / "AF31NES.JPG", picture(7, size=(97, 63)))  # lies on its side
    assert ingest(root, tmp_path / "out").rows == 212
    skipped = {each["path"]: each["reason"] for each in pq.read_table(tmp_path / "out" / "skipped.parquet").to_pylist()}
    grammar = (
        "AF31/AF31V.JPG",
        "AM31/AM31H.JPG",
        "AF31/AF36ANS.JPG",
        "AF31/AF00ANS.JPG",
        "AF31/Thumbs.db",
        "about.txt",
    )
    assert skipped == dict.fromkeys(grammar, "name outside KDEF's grammar") | {
        "AF31/BF31ANS.JPG": "name differs from its folder",
        "AF31/AF31ANS.JPG": "almost black",
    }


def test_another_layout_is_one_line(tmp_path: Path) -> None:
    put(tmp_path / "in" / "a.jpg", picture(1))
    with pytest.raises(InputError, match=r"no layout of KDEF \(found a.jpg\): expected AF01/AF01ANFL.JPG or AF01ANFL"):
        source(tmp_path / "in")
