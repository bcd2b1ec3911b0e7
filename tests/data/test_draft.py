"""What is said of all rows of a data set in the making, against the same said of them in memory.

pytest tests/data/test_draft.py
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stargan_ray.data import draft as draft_module
from stargan_ray.data.draft import Draft
from stargan_ray.data.manifest import content_hash
from stargan_ray.data.row_spool import PART, PLACE, RowSpool
from stargan_ray.data.schema import INDEX_SCHEMA, ROW_SCHEMA, SPLITS
from stargan_ray.data.units import Written

LABELS = pa.schema([field for field in ROW_SCHEMA if field.name != "image"])
DOMAINS = ("a", "b")


def units(images: int, weighted: bool = False, seed: int = 0) -> list[Written]:
    """Units of up to three splits with rows whose images are some of a few, and whose keys are in disorder."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(7):
        files, tables = [], []
        for split in SPLITS[: 1 + number % 3]:
            count = int(rng.integers(0, 90))
            drawn = [hashlib.sha256(str(n).encode()).hexdigest() for n in rng.integers(0, images, count)]
            # two hashes that begin alike and are different
            drawn = [name[:16] + "f" * 48 if n % 9 == 4 else name for n, name in enumerate(drawn)]
            columns = {
                "key": [f"{rng.integers(10**6):06d}-{number}-{split}-{n}" for n in range(count)],
                "expression": [(0, 1, None)[n % 3] for n in range(count)],
                "identity": [None if n % 4 == 0 else f"p{n % 5}" for n in range(count)],
                "split": [split] * count,
                "source": ["made"] * count,
                "weight": [0.5 if weighted and n % 2 else None for n in range(count)],
                "content_hash": drawn,
            }
            files.append((f"rows/{split}-{number:05d}.parquet", split, 100 + number))
            tables.append(pa.table(columns, LABELS))
        skipped = ((f"x{number}", "empty"),) if number % 2 else ()
        made.append(Written(number, tuple(files), tuple(tables), skipped, 10 * number, number == 3, reused=False))
    return made


def drafted(written: list[Written], order: list[int], monkeypatch: pytest.MonkeyPatch) -> Draft:
    monkeypatch.setattr(draft_module, "RowSpool", lambda file: RowSpool(file, piece=64))
    monkeypatch.setattr(draft_module, "GROUP_ROWS", 100)
    draft = Draft(DOMAINS, io.BytesIO())
    for number in order:
        draft.add(written[number])
    return draft


def whole(written: list[Written]) -> pa.Table:
    """All rows in storage order, as one table of the index."""
    files = sorted(
        (SPLITS.index(split), one.number, labels)
        for one in written
        for (_, split, _), labels in zip(one.files, one.labels, strict=True)
    )
    parts = []
    for position, (*_, labels) in enumerate(files):
        rows = [row | {"shard": position, "row": place} for place, row in enumerate(labels.to_pylist())]
        parts.append(pa.Table.from_pylist(rows, INDEX_SCHEMA))
    return pa.concat_tables(parts)


@pytest.mark.parametrize("order", [list(range(7)), [6, 2, 0, 5, 1, 4, 3]])
@pytest.mark.parametrize("weighted", [False, True])
def test_index_census_and_name_are_those_of_the_rows(
    order: list[int], weighted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = units(10**6, weighted)
    index, draft = whole(written), drafted(written, order, monkeypatch)
    assert draft.rows == len(index)
    census = draft.write_index(str(tmp_path / "index.parquet"))
    file = pq.ParquetFile(tmp_path / "index.parquet")
    assert file.read().equals(index)
    assert {100 <= file.metadata.row_group(n).num_rows < 190 for n in range(file.num_row_groups - 1)} == {True}
    assert draft.content().hash == content_hash(index, DOMAINS)
    rows = index.to_pylist()
    assert census.by_domain == {
        (split, e): count
        for split in SPLITS
        for e in (0, 1, None)
        if (count := sum(row["split"] == split and row["expression"] == e for row in rows))
    }
    assert census.people == {s: len({r["identity"] for r in rows if r["split"] == s} - {None}) for s in SPLITS}
    assert [(shard.path, shard.rows) for shard in draft.shards] == sorted(
        ((path, labels.num_rows) for one in written for (path, *_), labels in zip(one.files, one.labels, strict=True)),
        key=lambda told: (SPLITS.index(told[0].split("/")[1].split("-")[0]), told[0]),
    )
    assert draft.skipped == [("x1", "empty"), ("x3", "empty"), ("x5", "empty")]
    assert (draft.truths, draft.image_bytes) == ([3], 210)


@pytest.mark.parametrize(("images", "weighted"), [(1, False), (1, True), (40, False), (10**6, True)])
def test_copies_are_all_but_the_first_by_key_wherever_they_lie(
    images: int, weighted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = units(images, weighted)
    rows = whole(written).to_pylist()
    first: dict[str, str] = {}
    for row in rows:
        first[row["content_hash"]] = min(row["key"], first.get(row["content_hash"], row["key"]))
    later = sorted(row["key"] for row in rows if row["key"] != first[row["content_hash"]])
    draft = drafted(written, [3, 1, 0, 2, 6, 5, 4], monkeypatch)
    copies = draft.copies()
    assert copies["key"].to_pylist() == later
    assert set(copies.column_names) == {"key", PART, PLACE}
    draft.drop(copies)
    assert draft.rows == len(rows) - len(later)
    census = draft.write_index(str(tmp_path / "index.parquet"))
    kept = pa.Table.from_pylist([row for row in rows if row["key"] not in set(later)], INDEX_SCHEMA)
    assert pq.read_table(tmp_path / "index.parquet").equals(kept)
    assert census.rows == len(kept)
    assert draft.content().hash == content_hash(kept, DOMAINS)


def test_keys_of_several_rows_are_counted_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    written = units(10**6)
    keys = [*whole(written)["key"].to_pylist()]
    twice = [keys[3], keys[70], keys[200]]
    table = written[0].labels[0]
    again = pa.Table.from_pylist(
        [table.slice(0, 1).to_pylist()[0] | {"key": key} for key in [*twice, keys[70]]], LABELS
    )
    extra = Written(9, (("rows/train-00009.parquet", "train", 1),), (again,), (), 0, truth=False, reused=False)
    content = drafted([*written, extra], list(range(8)), monkeypatch).content()
    assert (content.repeated_keys, content.first_repeated) == (3, min(twice))
    assert drafted(written, list(range(7)), monkeypatch).content().repeated_keys == 0
