"""Rows with one image: always counted; on demand all but the first by key are left out, whatever the parallelism.

pytest tests/data/test_duplicates.py
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from stargan_ray.data.manifest import Manifest
from stargan_ray.data.readers.files import Limits
from stargan_ray.data.readers.folder import FolderConfig, read_folder
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.units import Task, Written
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError


def picture(seed: int) -> bytes:
    """A BMP of 4 × 4 pixels, byte by byte: the same everywhere."""
    pixels = np.random.default_rng(seed).integers(0, 256, 48, dtype=np.uint8).tobytes()
    header = b"BM" + (102).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    shape = (40).to_bytes(4, "little") + (4).to_bytes(4, "little") * 2 + b"\1\0\x18\0" + bytes(24)
    return header + shape + pixels


IMAGES = {  # seed of each image; 1 is there four times, in three splits, 5 twice in one folder
    "train/cat/a.bmp": 1,
    "train/cat/b.bmp": 2,
    "train/cat/c.bmp": 5,
    "train/cat/d.bmp": 5,
    "train/dog/a.bmp": 1,
    "train/dog/b.bmp": 3,
    "test/cat/z.bmp": 1,
    "val/cat/a.bmp": 4,
    "val/dog/a.bmp": 1,
    "val/dog/b.bmp": 6,
}
DROPPED = ["train/cat/a.bmp", "train/cat/d.bmp", "train/dog/a.bmp", "val/dog/a.bmp"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, seed in IMAGES.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(seed))
    return tmp_path / "in"


def ingest(root: Path, out: Path, drop: bool, **more: object) -> Manifest:
    config = FolderConfig(str(root), Limits(), allow_missing=True)
    return write_dataset(str(out), read_folder(config, shard_rows=2), drop_duplicates=drop, **more)


def test_they_are_kept_and_counted(root: Path, tmp_path: Path) -> None:
    manifest = ingest(root, tmp_path / "out", drop=False)
    assert (manifest.rows, manifest.duplicates, manifest.skipped) == (10, 4, {})
    assert Manifest.from_json(manifest.to_json()) == manifest
    older = manifest.to_json().replace(',\n  "duplicates": 4', "")
    assert Manifest.from_json(older).duplicates == 0


def test_all_but_the_first_by_key_are_left_out(root: Path, tmp_path: Path) -> None:
    manifest = ingest(root, tmp_path / "out", drop=True)
    assert (manifest.rows, manifest.duplicates, manifest.skipped) == (6, 0, {"duplicate": 4})
    skipped = pq.read_table(tmp_path / "out" / "skipped.parquet").to_pylist()
    assert skipped == [{"path": key, "reason": "duplicate"} for key in DROPPED]
    data = open_dataset(str(tmp_path / "out"))
    keys = data.index.column("key").to_pylist()
    assert sorted(keys) == sorted(set(IMAGES) - set(DROPPED))
    order = np.random.default_rng(0).permutation(len(keys))
    assert data.images(order) == [picture(IMAGES[keys[place]]) for place in order]
    assert manifest.rows_by_split == {"train": 3, "val": 2, "test": 1}


def shuffled(function: Callable[[Task], Written], tasks: Sequence[Task]) -> list[Written]:
    tasks = list(tasks)
    random.Random(1).shuffle(tasks)
    return [function(task) for task in tasks]


def test_order_of_writing_restart_and_size_of_shards_do_not_matter(root: Path, tmp_path: Path) -> None:
    manifest = ingest(root, tmp_path / "1", drop=True)
    assert ingest(root, tmp_path / "2", drop=True, map_tasks=shuffled) == manifest
    (tmp_path / "2" / "manifest.json").unlink()  # as after a kill
    for path in sorted((tmp_path / "2" / "rows").iterdir())[::2]:
        path.unlink()
    assert ingest(root, tmp_path / "2", drop=True) == manifest
    whole = write_dataset(
        str(tmp_path / "3"), read_folder(FolderConfig(str(root), allow_missing=True), 100), drop_duplicates=True
    )
    assert whole.content_hash == manifest.content_hash


def test_with_and_without_them_are_two_data_sets(root: Path, tmp_path: Path) -> None:
    dropped = ingest(root, tmp_path / "out", drop=True)
    with pytest.raises(InputError, match="holds another data set"):
        ingest(root, tmp_path / "out", drop=False)
    kept = ingest(root, tmp_path / "out", drop=False, overwrite=True)
    assert (kept.rows, kept.duplicates) == (10, 4)
    assert ingest(root, tmp_path / "out", drop=True, overwrite=True) == dropped
