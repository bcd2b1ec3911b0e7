"""Data sets on storage: the same content however it was cut, killed or shared out; images by position.

pytest tests/data/test_shards.py
"""

from __future__ import annotations

import hashlib
import json
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forked import forks

from stargan_ray.data import storage, units
from stargan_ray.data.manifest import Manifest, content_hash
from stargan_ray.data.schema import INDEX_SCHEMA, ROW_GROUP, ROW_SCHEMA, Row, Skipped, Truth
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.units import Source, Written
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError

ROWS = 300


def make(number: int) -> Row:
    image = hashlib.sha256(str(number).encode()).digest() * (1 + number % 5)
    split = ("train", "train", "val", "test")[number % 4]
    return Row(
        f"k{number:04d}",
        image,
        (0, 1, None)[number % 3],
        f"p{number % 7}" if number % 5 else None,
        split,
        "made",
    )


@dataclass(frozen=True)
class MadeUnit:
    number: int
    start: int
    stop: int
    salt: str = ""
    truth: bool = False

    @property
    def fingerprint(self) -> str:
        return repr(self)

    def produce(self) -> Iterator[Row | Truth | Skipped]:
        for number in range(self.start, self.stop):
            if number % 50 == 9:
                yield Skipped(f"k{number:04d}", "empty")
                continue
            yield make(number)
            if self.truth:
                yield Truth(f"k{number:04d}", "p", 0, 1.0, False)


def made(size: int, salt: str = "", truth: bool = False) -> Source:
    starts = range(0, ROWS, size)
    units = tuple(MadeUnit(n, s, min(s + size, ROWS), salt, truth) for n, s in enumerate(starts))
    return Source({"reader": "made", "salt": salt}, ("a", "b"), units)


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    manifest = write_dataset(str(tmp_path), made(150))
    data = open_dataset(str(tmp_path))
    assert data.manifest == manifest
    assert data.index.schema == INDEX_SCHEMA
    expected = {make(n).key: make(n) for n in range(ROWS) if n % 50 != 9}
    images = data.images(np.arange(len(data)))
    assert len(images) == len(expected) == manifest.rows
    for line, image in zip(data.index.to_pylist(), images, strict=True):
        row = expected[line["key"]]
        assert image == row.image
        assert line["content_hash"] == hashlib.sha256(row.image).hexdigest()
        assert (line["expression"], line["identity"], line["split"]) == (
            row.expression,
            row.identity,
            row.split,
        )
    for shard in manifest.shards:
        file = pq.ParquetFile(tmp_path / shard.path)
        assert file.schema_arrow.remove_metadata() == ROW_SCHEMA
        assert set(file.read(["split"]).column("split").to_pylist()) == {shard.split}
        assert file.metadata.row_group(0).num_rows <= ROW_GROUP
        assert (tmp_path / shard.path).stat().st_size == shard.bytes


def test_the_manifest_counts_what_is_there(tmp_path: Path) -> None:
    manifest = write_dataset(str(tmp_path), made(150))
    rows = [make(n) for n in range(ROWS) if n % 50 != 9]
    assert manifest.rows_by_split == {s: sum(r.split == s for r in rows) for s in ("train", "val", "test")}
    assert manifest.rows_by_domain["val"] == {
        name: sum(r.split == "val" and r.expression == e for r in rows)
        for name, e in (("a", 0), ("b", 1), ("(none)", None))
    }
    assert manifest.identities["test"] == len({r.identity for r in rows if r.split == "test"} - {None})
    assert manifest.image_bytes == sum(len(r.image) for r in rows)
    assert manifest.skipped == {"empty": 6}
    assert pq.read_table(tmp_path / "skipped.parquet").to_pylist()[0] == {"path": "k0009", "reason": "empty"}
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_cut_and_number_of_processes_change_neither_content_nor_shards(tmp_path: Path) -> None:
    one = write_dataset(str(tmp_path / "one"), made(64))
    other = write_dataset(str(tmp_path / "other"), made(17))
    backwards = write_dataset(str(tmp_path / "backwards"), made(64), map_tasks=lambda f, tasks: map(f, reversed(tasks)))
    with ProcessPoolExecutor(2, mp_context=forks()) as pool:
        many = write_dataset(str(tmp_path / "many"), made(64), map_tasks=pool.map)
    assert one.content_hash == other.content_hash
    index = open_dataset(str(tmp_path / "one")).index
    assert content_hash(index.take(np.random.default_rng(0).permutation(len(index))), one.domains) == one.content_hash
    assert one == backwards == many
    assert files(tmp_path / "one") == files(tmp_path / "backwards") == files(tmp_path / "many")


@pytest.mark.parametrize("letters", ["ab/_-. ~!#[]^", 'a"', "a\\", "a\n", "a\0", "a\x7f", "aé", "a😀"])
@pytest.mark.parametrize("weight", [None, 0.3])
def test_the_content_hash_is_that_of_the_rows_as_json(letters: str, weight: float | None) -> None:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list(letters), rng.integers(6))) for _ in range(400)]
    columns: dict[str, list[object]] = {
        "key": [f"{word}{n % 97}-{n}" for n, word in enumerate(words)],
        "content_hash": [hashlib.sha256(word.encode()).hexdigest() for word in words],
        "expression": [None if n % 3 == 0 else n % 8 for n in range(400)],
        "identity": [None if n % 5 == 0 else word for n, word in enumerate(words)],
        "split": [("train", "val")[n % 2] for n in range(400)],
        "weight": [weight if n % 2 else None for n in range(400)],
    }
    rows = pa.table(columns, pa.schema([ROW_SCHEMA.field(name).with_nullable(True) for name in columns]))
    names = [name for name in columns if name != "weight" or weight is not None]
    lines = sorted(zip(*(rows[name].to_pylist() for name in names), strict=True), key=lambda line: line[0].encode())
    text = json.dumps(["é"]) + "".join(json.dumps(line) for line in lines)
    assert content_hash(rows, ["é"]) == hashlib.sha256(text.encode()).hexdigest()
    assert content_hash(pa.concat_tables([rows.slice(300), rows.slice(0, 300)]), ["é"]) == content_hash(rows, ["é"])


def test_a_unit_is_stored_while_the_next_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second, written = threading.Event(), units.write_table

    class Unit(MadeUnit):
        def produce(self) -> Iterator[Row | Truth | Skipped]:
            if self.number == 1:
                second.set()
            return super().produce()

    def waits(uri: str, table: pa.Table) -> int:
        assert second.wait(20), "the second unit was not read before the first was stored"
        return written(uri, table)

    monkeypatch.setattr(units, "write_table", waits)
    source = Source({"reader": "made"}, ("a", "b"), (Unit(0, 0, 20), Unit(1, 20, 40)))
    assert write_dataset(str(tmp_path), source).rows == 39


def test_other_labels_other_content(tmp_path: Path) -> None:
    plain = write_dataset(str(tmp_path / "a"), made(64))
    renamed = Source({"reader": "made"}, ("a", "c"), made(64).units)
    assert write_dataset(str(tmp_path / "b"), renamed).content_hash != plain.content_hash


KILLED = """
import os, signal, sys
sys.path[:0] = ["tests", "tests/data"]  # by its folder: another package may be called tests
from test_shards import made
from stargan_ray.data.writing import map_here, write_dataset
done = []
def die(written):
    done.append(written)
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
here = {"map": map, "map_here": map_here}[sys.argv[2]]
write_dataset(sys.argv[1], made(64, truth=True), map_tasks=here, on_written=die)
"""


@pytest.mark.parametrize("here", ["map", "map_here"])
def test_killed_then_the_same_command_gives_the_same_data_set(tmp_path: Path, here: str) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-c", KILLED, str(killed), here]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
    assert ended.returncode == -signal.SIGKILL
    (killed / "rows" / ".train-00002.parquet.abc.tmp").write_bytes(b"half a file")
    with pytest.raises(InputError, match="holds no data set"):
        open_dataset(str(killed))
    reused: list[bool] = []
    manifest = write_dataset(
        str(killed), made(64, truth=True), on_written=lambda written: reused.append(written.reused)
    )
    assert reused[:2] == [True, True]
    assert here == "map_here" or reused[2:] == [False, False, False]  # where stored in the background, some may be
    assert manifest == write_dataset(str(whole), made(64, truth=True))
    assert files(killed) == files(whole)


def test_a_finished_data_set_is_left_alone(tmp_path: Path) -> None:
    manifest = write_dataset(str(tmp_path), made(64))
    called: list[Written] = []
    assert write_dataset(str(tmp_path), made(64), on_written=called.append) == manifest
    assert called == []
    (tmp_path / "rows" / "val-00001.parquet").unlink()
    assert write_dataset(str(tmp_path), made(64), on_written=called.append) == manifest
    assert [one.number for one in called if not one.reused] == [1]


def test_another_source_needs_overwrite_and_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    write_dataset(str(tmp_path / "a"), made(32, truth=True))
    with pytest.raises(InputError, match=r"holds another data set \(made, 294 rows.*--overwrite"):
        write_dataset(str(tmp_path / "a"), made(64, salt="other"))
    again = write_dataset(str(tmp_path / "a"), made(64, salt="other"), overwrite=True)
    assert again == write_dataset(str(tmp_path / "b"), made(64, salt="other"))
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_shards_of_another_configuration_or_damaged_ones_are_not_reused(tmp_path: Path) -> None:
    write_dataset(str(tmp_path / "a"), made(64, salt="first"))
    (tmp_path / "a" / "manifest.json").unlink()
    reused: list[bool] = []
    write_dataset(str(tmp_path / "a"), made(64, salt="second"), on_written=lambda w: reused.append(w.reused))
    assert not any(reused)
    (tmp_path / "a" / "manifest.json").unlink()
    shard = tmp_path / "a" / "rows" / "train-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-10])
    reused.clear()
    again = write_dataset(str(tmp_path / "a"), made(64, salt="second"), on_written=lambda w: reused.append(w.reused))
    assert reused == [False, True, True, True, True]
    assert again == write_dataset(str(tmp_path / "b"), made(64, salt="second"))


def test_images_in_the_order_asked_each_row_group_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(str(tmp_path), made(ROWS))
    whole = open_dataset(str(tmp_path)).images(np.arange(294))
    reads: list[int] = []
    read_row_group = pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, group: int, *args: object, **more: object) -> object:
        reads.append(group)
        return read_row_group(self, group, *args, **more)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    for limit, second in ((1 << 20, 0), (1, 7)):
        data = open_dataset(str(tmp_path), cache_bytes=limit)
        asked = np.random.default_rng(0).integers(0, 294, 500)
        reads.clear()
        assert data.images(asked) == [whole[i] for i in asked]
        assert len(reads) == 7  # about 147 + 73 + 74 rows in groups of 64: 3 + 2 + 2
        assert data.images(asked) == [whole[i] for i in asked]
        assert len(reads) == 7 + second
    assert data.images(np.array([], dtype=np.int64)) == []
    with pytest.raises(IndexError, match=r"\[0, 294\)"):
        data.images(np.array([294]))


def test_a_data_set_travels_without_its_cache(tmp_path: Path) -> None:
    write_dataset(str(tmp_path), made(ROWS))
    data = open_dataset(str(tmp_path))
    before = len(pickle.dumps(data))
    images = data.images(np.arange(294))
    assert len(pickle.dumps(data)) == before
    assert pickle.loads(pickle.dumps(data)).images(np.arange(294)) == images


def test_on_s3_as_on_disk(s3: str, tmp_path: Path) -> None:
    uri = storage.join(s3, "data", "made")
    assert write_dataset(uri, made(64, truth=True)) == write_dataset(str(tmp_path), made(64, truth=True))
    assert write_dataset(uri, made(64, truth=True)).rows == 294
    remote, local = open_dataset(uri), open_dataset(str(tmp_path))
    assert remote.images(np.arange(294)) == local.images(np.arange(294))
    for name, data in files(tmp_path).items():
        assert storage.read_bytes(storage.join(uri, name)) == data


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no data set \(no manifest.json\): run jobs/ingest.py"):
        open_dataset(str(tmp_path))
    write_dataset(str(tmp_path), made(64))
    path = tmp_path / "manifest.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"schema_version": 99}))
    with pytest.raises(InputError, match="has schema version 99, this program reads 1"):
        open_dataset(str(tmp_path))
    path.write_text("{")
    with pytest.raises(InputError, match="is not a manifest"):
        open_dataset(str(tmp_path))
    path.write_text(json.dumps(fields))
    (tmp_path / "rows" / "train-00000.parquet").unlink()
    with pytest.raises(InputError, match=r"cannot read .*train-00000.parquet: it does not exist"):
        open_dataset(str(tmp_path)).images(np.arange(5))
    (tmp_path / "index.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"index.parquet is damaged"):
        open_dataset(str(tmp_path))


def test_nothing_usable_and_double_keys_are_errors(tmp_path: Path) -> None:
    empty = Source({"reader": "made"}, ("a",), (MadeUnit(0, 9, 10),))
    with pytest.raises(InputError, match=r"nothing usable was found .*\(1 empty\)"):
        write_dataset(str(tmp_path / "a"), empty)
    twice = Source({"reader": "made"}, ("a", "b"), (MadeUnit(0, 0, 5), MadeUnit(1, 4, 6)))
    with pytest.raises(InputError, match="1 keys are used by several rows, the first is 'k0004'"):
        write_dataset(str(tmp_path / "b"), twice)
    strict = Source({"reader": "made"}, ("a", "b"), (MadeUnit(0, 0, 3),), every_domain=True)
    with pytest.raises(InputError, match="domain 'a' has no usable image in val"):
        write_dataset(str(tmp_path / "c"), strict)
    assert not (tmp_path / "c" / "manifest.json").exists()


def test_a_plan_is_named_by_the_json_of_all_its_units_and_skipped_files() -> None:
    skipped = (Skipped("é.png", "empty"), Skipped('"', "not an image"))
    for parts, left in ((made(40).units, skipped), (made(40).units, ()), ((), skipped)):
        source = Source({"reader": "made"}, ("ä", "b"), parts, skipped=left)
        told = [[unit.fingerprint for unit in parts], [each._asdict() for each in left], ["ä", "b"]]
        assert source.identity() == {"reader": "made", "plan": hashlib.sha256(json.dumps(told).encode()).hexdigest()}


def test_no_folder_for_temporary_files_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"no folder for temporary files .*: set TMPDIR") as told:
        write_dataset(str(tmp_path / "out"), made(64))
    assert "\n" not in str(told.value)
