"""FER2013 as published: the table, its second edition and the folders give the same rows; bad lines are counted.

pytest tests/data/readers/test_fer2013.py
"""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stargan_ray.data import storage
from stargan_ray.data.manifest import Manifest
from stargan_ray.data.readers.fer2013 import Fer2013Config, read_fer2013
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.units import Source
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError

CODES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # the published order
USAGES = ("Training", "Training", "PublicTest", "PrivateTest")


def grey(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


def line(code: object, seed: int, usage: str = "Training") -> str:
    return f"{code},{' '.join(map(str, grey(seed).ravel()))},{usage}\n"


def table(path: Path, extra: str = "") -> Path:
    """Every expression in every split, two in train: 28 lines."""
    rows = [line(code, 10 * code + n, usage) for n, usage in enumerate(USAGES) for code in range(7)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("emotion,pixels,Usage\n" + "".join(rows) + extra)
    return path


def folders(root: Path, names: tuple[str, ...] = ("train", "train", "validation", "test")) -> Path:
    for n, split in enumerate(names):
        for code, name in enumerate(CODES):
            out = io.BytesIO()
            Image.fromarray(grey(10 * code + n)).save(out, "JPEG")
            storage.write_bytes(str(root / split / name / f"{n}.jpg"), out.getvalue())
    return root


def source(path: Path | str, shard_rows: int = 5, **fields: object) -> Source:
    return read_fer2013(Fer2013Config(str(path), **fields), shard_rows)


def ingest(path: Path | str, out: Path, **fields: object) -> Manifest:
    return write_dataset(str(out), source(path, **fields))


def skipped(out: Path) -> dict[str, str]:
    return {each["path"]: each["reason"] for each in pq.read_table(out / "skipped.parquet").to_pylist()}


def test_the_table_gives_every_grey_value_unchanged(tmp_path: Path) -> None:
    manifest = ingest(table(tmp_path / "in" / "fer2013.csv").parent, tmp_path / "out")
    assert manifest.domains == EXPRESSIONS[:-1]
    assert manifest.rows_by_split == {"train": 14, "val": 7, "test": 7}
    assert set(manifest.rows_by_domain["val"].values()) == {1}
    data = open_dataset(str(tmp_path / "out"))
    for position, row in enumerate(data.index.to_pylist()):
        number = int(row["key"].removeprefix("row-"))
        usage, code = divmod(number, 7)
        with Image.open(io.BytesIO(data.images(np.array([position]))[0])) as image:
            assert (image.format, image.mode) == ("PNG", "L")
            np.testing.assert_array_equal(np.asarray(image), grey(10 * code + usage))
        assert row["split"] == ("train", "train", "val", "test")[usage]
        canonical = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")[code]
        assert manifest.domains[row["expression"]] == canonical


def test_the_second_edition_has_spaces_and_another_order(tmp_path: Path) -> None:
    first = table(tmp_path / "fer2013.csv")
    swapped = []
    for each in first.read_text().splitlines()[1:]:
        emotion, pixels, usage = each.split(",")
        swapped.append(f"{emotion},{usage},{pixels}\r\n")
    (tmp_path / "icml_face_data.csv").write_text("emotion, Usage, pixels\r\n" + "".join(swapped).rstrip())
    one, two = ingest(first, tmp_path / "1"), ingest(tmp_path / "icml_face_data.csv", tmp_path / "2")
    assert one.content_hash == two.content_hash


@pytest.mark.parametrize("shard_rows", [1, 4, 28, 500])
def test_units_make_the_same_rows_however_they_are_cut(tmp_path: Path, shard_rows: int) -> None:
    path = table(tmp_path / "fer2013.csv")
    whole = ingest(path, tmp_path / "whole")
    units = source(path, shard_rows).units
    assert len(units) == -(-28 // shard_rows)
    rows = [row for unit in units for row in pickle.loads(pickle.dumps(unit)).produce()]
    assert [row.key for row in rows] == [f"row-{n:05d}" for n in range(28)]
    index = open_dataset(str(tmp_path / "whole")).index.to_pylist()
    hashes = {row.key: hashlib.sha256(row.image).hexdigest() for row in rows}
    assert hashes == {row["key"]: row["content_hash"] for row in index}
    assert whole.rows == 28


def test_folders_in_alphabetical_order_are_taken_by_name(tmp_path: Path) -> None:
    root = folders(tmp_path / "in")
    disgust = (root / "train" / "disgust" / "0.jpg").read_bytes()
    (root / "train" / "disgust" / "0.jpg_1.jpg").write_bytes(disgust)
    (root / "train" / ".DS_Store").write_bytes(b"x")
    manifest = ingest(root, tmp_path / "out")
    assert manifest.domains == EXPRESSIONS[:-1]
    assert manifest.rows_by_split == {"train": 14, "val": 7, "test": 7}
    for row in open_dataset(str(tmp_path / "out")).index.to_pylist():
        folder = row["key"].split("/")[1]
        assert manifest.domains[row["expression"]][:3] == {"angry": "ang"}.get(folder, folder[:3])
    assert skipped(tmp_path / "out") == {
        "train/disgust/0.jpg_1.jpg": "an augmented copy",
        "train/.DS_Store": "outside an expression's folder",
    }
    without = folders(tmp_path / "two", ("Training", "Training", "PrivateTest", "PrivateTest"))
    assert ingest(without.parent / "two", tmp_path / "out2").rows_by_split == {"train": 14, "test": 7 * 2}


def test_bad_lines_are_counted_by_reason(tmp_path: Path) -> None:
    values = " ".join(["7"] * 2304)
    bad = [
        (f"7,{values},Training", "label out of range"),
        (f"-1,{values},Training", "label out of range"),
        (f",{values},Training", "label out of range"),
        (f"{'9' * 5000},{values},Training", "label out of range"),
        (f"0,{values}\r,Training", "no line of a CSV"),
        (f"0,{values} 7,Training", "wrong number of pixels"),
        ("0,,Training", "wrong number of pixels"),
        (f"0,{'7 ' * 90_000},Training", "wrong number of pixels"),
        (f"0,{values[:-1]}256,Training", "pixel out of range"),
        (f"0,{values[:-1]}-1,Training", "pixel out of range"),
        (f"0,{values[:-1]}x,Training", "pixels are no numbers"),
        (f"0,{values},Holiday", "unknown Usage"),
        (f"0,{values}", "too few columns"),
        ("", "empty"),
    ]
    extra = "".join(f"{text}\n" for text, _ in bad) + line(6, 999)
    manifest = ingest(table(tmp_path / "fer2013.csv", extra), tmp_path / "out")
    assert manifest.rows == 29  # the good line after the bad ones too
    assert skipped(tmp_path / "out") == {f"row-{28 + n:05d}": reason for n, (_, reason) in enumerate(bad)}


def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "fer2013.csv"
    for text, said in (
        ("emotoin,pixels,Usage\n", r"fer2013.csv has no column 'emotion', is it 'emotoin'\? \(found emotoin, pixels"),
        ("emotion,Usage\n", "has no column 'pixels'"),
        ("emotion,pixels,Usage\n", "holds no image"),
        ("", "has no line 1"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            source(path)
    path.write_text("emotion,pixels,Usage\n" + line(0, 1))
    with pytest.raises(InputError, match="domain 'neutral' has no usable image in train"):
        ingest(path, tmp_path / "out")
    assert ingest(path, tmp_path / "out", allow_missing=True).rows == 1
    with pytest.raises(InputError, match=r"does not exist: give fer2013.csv"):
        source(tmp_path / "absent")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("a")
    with pytest.raises(InputError, match=r"no layout of FER2013 \(found a.txt\): expected fer2013.csv or icml"):
        source(tmp_path / "other")
    root = folders(tmp_path / "in")
    (root / "val" / "suprise").mkdir(parents=True)
    with pytest.raises(InputError, match=r"folder val/suprise: unknown expression .*did you mean 'surprise'\?"):
        source(root)


def test_a_changed_table_is_another_source(tmp_path: Path) -> None:
    path = table(tmp_path / "fer2013.csv")
    before = [unit.fingerprint for unit in source(path).units]
    assert before == [unit.fingerprint for unit in source(path).units]
    table(path, line(0, 5))
    assert not set(before) & {unit.fingerprint for unit in source(path).units}


def test_a_table_on_s3(s3: str, tmp_path: Path) -> None:
    path = table(tmp_path / "fer2013.csv")
    storage.write_bytes(storage.join(s3, "fer", "fer2013.csv"), path.read_bytes())
    local = ingest(path, tmp_path / "1")
    for given in (storage.join(s3, "fer"), storage.join(s3, "fer", "fer2013.csv")):
        assert ingest(given, tmp_path / given[-5:]).content_hash == local.content_hash
