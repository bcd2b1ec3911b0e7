"""LFW as published: identities from names, people in one split only, pairs to test; irregular files are counted.

pytest tests/data/readers/test_lfw.py
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stargan_ray.data import storage
from stargan_ray.data.manifest import Manifest
from stargan_ray.data.readers.lfw import LfwConfig, people_in_pairs, read_lfw
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.units import Source
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError

PEOPLE = [f"Ann_van_{letter}{n}" for letter in "abcdef" for n in range(10)]


def picture(seed: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(out, "JPEG")
    return out.getvalue()


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def tree(root: Path, flat: bool = False) -> Path:
    """60 people, the n-th with one to three images."""
    for seed, person in enumerate(PEOPLE):
        for n in range(1, 2 + seed % 3):
            name = f"{person}_{n:04d}.jpg"
            put(root / name if flat else root / person / name, picture(10 * seed + n))
    return root


def source(path: Path | str, **fields: object) -> Source:
    return read_lfw(LfwConfig(str(path), **fields), shard_rows=7)


def ingest(path: Path | str, out: Path, **fields: object) -> Manifest:
    return write_dataset(str(out), source(path, **fields))


def rows(out: Path) -> list[dict]:
    return open_dataset(str(out)).index.to_pylist()


def splits(out: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows(out):
        found.setdefault(row["identity"], set()).add(row["split"])
    return found


@pytest.mark.parametrize("flat", [False, True])
def test_a_person_is_in_one_split_that_depends_on_the_name_alone(tmp_path: Path, flat: bool) -> None:
    root = tree(tmp_path / "lfw" / "lfw_funneled", flat)
    manifest = ingest(root.parent, tmp_path / "out")
    assert manifest.domains == ()
    assert manifest.rows == 120
    assert manifest.skipped == {}
    found = splits(tmp_path / "out")
    assert sorted(found) == PEOPLE
    assert all(len(each) == 1 for each in found.values())
    for row in rows(tmp_path / "out"):
        assert row["key"].split("/")[-1][:-9] == row["identity"]
        assert row["expression"] is None
    assert manifest.identities["train"] > 35
    assert manifest.identities["val"] > 1
    assert manifest.identities["test"] > 1
    other = tree(tmp_path / "half", not flat)
    for person in PEOPLE[::2]:
        for path in [*other.glob(f"{person}_*"), *other.glob(f"{person}/*")]:
            path.unlink()
    ingest(other, tmp_path / "out2")
    assert splits(tmp_path / "out2").items() < found.items()


def test_people_in_the_pairs_are_test_and_nobody_else_is(tmp_path: Path) -> None:
    root = tree(tmp_path / "lfw")
    (root / "pairsDevTest.txt").write_text(
        f"2\n{PEOPLE[0]}\t1\t2\n{PEOPLE[5]}\t1\t2\n{PEOPLE[7]}\t1\t{PEOPLE[9]}\t1\nNobody_Known\t1\tNobody_Else\t1\n"
    )
    without = splits_of(ingest_to(root, tmp_path / "1"))
    found = source(root, pairs=str(root / "pairsDevTest.txt"))
    assert "2 people of the pairs have no image here" in found.notes
    write_dataset(str(tmp_path / "2"), found)
    after = splits_of(tmp_path / "2")
    assert {person for person, split in after.items() if split == "test"} == {PEOPLE[n] for n in (0, 5, 7, 9)}
    val = {person for person, split in without.items() if split == "val"}
    assert {person for person, split in after.items() if split == "val"} == val - {PEOPLE[n] for n in (0, 5, 7, 9)}
    assert found.identity() != source(root).identity()


def ingest_to(path: Path, out: Path) -> Path:
    ingest(path, out)
    return out


def splits_of(out: Path) -> dict[str, str]:
    return {person: next(iter(each)) for person, each in splits(out).items()}


def test_the_files_of_pairs_with_and_without_their_first_line(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    pairs = "Ann_B\t1\t4\nCem_D\t1\tEva_F\t2\n"
    for first in ("10\t300\n", "500\n", "", "\n"):
        path.write_text(first + pairs)
        assert people_in_pairs(str(path)) == {"Ann_B", "Cem_D", "Eva_F"}
    for text, said in (
        (pairs + "Ann_B\t1\n", "line 3 is no pair: expected name n1 n2"),
        ("Ann_B\tx\t4\n", "line 1 is no pair"),
        ("10\t300\n", "names no pairs"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            people_in_pairs(str(path))
    with pytest.raises(InputError, match="it does not exist"):
        people_in_pairs(str(tmp_path / "absent"))


def test_irregular_files_are_counted(tmp_path: Path) -> None:
    root = tree(tmp_path / "lfw")
    folder = root / PEOPLE[0]
    put(folder / "portrait.jpg", picture(1))
    put(folder / f"{PEOPLE[1]}_0001.jpg", picture(2))
    put(folder / f"{PEOPLE[0]}_0002.jpg", b"")
    put(folder / f"{PEOPLE[0]}_0003.jpg", b"text")
    put(root / "people.txt", b"5749")
    put(root / "Nameless" / "_0001.jpg", picture(3))
    assert ingest(root, tmp_path / "out").rows == 120
    skipped = {each["path"]: each["reason"] for each in pq.read_table(tmp_path / "out" / "skipped.parquet").to_pylist()}
    assert skipped == {
        f"{PEOPLE[0]}/portrait.jpg": "name is not Name_0001.jpg",
        f"{PEOPLE[0]}/{PEOPLE[1]}_0001.jpg": "name differs from its folder",
        f"{PEOPLE[0]}/{PEOPLE[0]}_0002.jpg": "empty",
        f"{PEOPLE[0]}/{PEOPLE[0]}_0003.jpg": "not an image",
        "people.txt": "name is not Name_0001.jpg",
        "Nameless/_0001.jpg": "name is not Name_0001.jpg",
    }


def test_another_layout_is_one_line(tmp_path: Path) -> None:
    put(tmp_path / "in" / "cat" / "1.jpg", picture(1))
    put(tmp_path / "in" / "dog" / "1.jpg", picture(1))
    with pytest.raises(InputError, match=r"no layout of LFW \(found cat, dog\): expected <Name_Surname>/<N"):
        source(tmp_path / "in")


def test_on_s3_it_is_the_same(s3: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "lfw")
    storage.put_folder(root, storage.join(s3, "lfw"))
    local = ingest(root, tmp_path / "1")
    assert ingest(storage.join(s3, "lfw"), tmp_path / "2").content_hash == local.content_hash
