"""Rows on disk against the same rows in memory: in the order of a column, in pieces, without those that were dropped.

pytest tests/data/test_row_spool.py
"""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stargan_ray.data.locations import StorageError
from stargan_ray.data.row_spool import PART, PLACE, RowSpool

LETTERS = [*"ab-/Z", "é", "😀", ""]


def tables(kind: str, seed: int = 0) -> list[pa.Table]:
    """Tables of very different length, with text in order, in disorder or with few values."""
    rng = np.random.default_rng(seed)
    sizes = [0, 1, 700, 0, 130, 5, 2000, 64, 63, 65]
    names = ["".join(rng.choice(LETTERS, rng.integers(1, 9))) + str(n) for n in range(sum(sizes))]
    if kind == "in order":
        names.sort(key=str.encode)
    if kind == "few values":
        names = [names[n] for n in rng.integers(0, 7, len(names))]
    if kind == "one value":
        names = ["same"] * len(names)
    cut = np.split(np.arange(len(names)), np.cumsum(sizes)[:-1])
    return [
        pa.table({"name": pa.array([names[n] for n in part], pa.string()), "number": pa.array(part, pa.int64())})
        for part in cut
    ]


@pytest.mark.parametrize("kind", ["in order", "in disorder", "few values", "one value"])
@pytest.mark.parametrize("piece", [1, 64, 500, 1 << 20])
def test_rows_come_in_the_order_of_a_column(kind: str, piece: int) -> None:
    spool, given = RowSpool(io.BytesIO(), piece), tables(kind)
    assert [spool.add(table) for table in given] == list(range(len(given)))
    pieces = list(spool.ordered("name", [PART, PLACE, "number"]))
    whole = pa.concat_tables(given)
    wanted = sorted(whole.to_pylist(), key=lambda row: (row["name"].encode(), row["number"]))
    found = pa.concat_tables(pieces).to_pylist()
    assert [(row["name"], row["number"]) for row in found] == [(row["name"], row["number"]) for row in wanted]
    assert all(given[row[PART]]["number"][row[PLACE]].as_py() == row["number"] for row in found)
    for before, after in itertools.pairwise(pieces):  # equal ones are never in two pieces
        assert before["name"][-1].as_py().encode() < after["name"][0].as_py().encode()
    if kind.startswith("in") and piece < 1000:
        assert max(len(each) for each in pieces) <= 8 * max(64, piece)


def test_what_was_dropped_is_gone_and_the_rest_keeps_its_place() -> None:
    spool, given = RowSpool(io.BytesIO(), 100), tables("in disorder")
    for table in given:
        spool.add(table)
    rng = np.random.default_rng(1)
    gone = {(part, int(place)) for part in (2, 6) for place in rng.integers(0, len(given[part]), 300)} | {(1, 0)}
    for part, place in [*gone, *gone]:  # twice is as once
        spool.drop(part, place)
    assert spool.rows == sum(map(len, given)) - len(gone)
    left = {(part, place) for part, table in enumerate(given) for place in range(len(table))} - gone
    found = pa.concat_tables(list(spool.ordered("name", [PART, PLACE])))
    assert set(zip(found[PART].to_pylist(), found[PLACE].to_pylist(), strict=True)) == left
    assert len(found) == len(left)
    for part, table in enumerate(given):
        rows = spool.table(part)
        assert rows["number"].to_pylist() == [table["number"][place].as_py() for place in rows[PLACE].to_pylist()]
        assert {(part, place) for place in rows[PLACE].to_pylist()} == {each for each in left if each[0] == part}


def test_nothing_has_no_order() -> None:
    assert list(RowSpool(io.BytesIO()).ordered("name")) == []
    spool = RowSpool(io.BytesIO())
    spool.add(tables("in order")[0])
    assert [len(each) for each in spool.ordered("name")] == [0] * len(list(spool.ordered("name")))


def test_a_full_disk_is_one_line_that_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with Path("/dev/full").open("r+b", buffering=0) as full, pytest.raises(StorageError) as told:
        RowSpool(full).add(tables("in order")[2])
    assert "\n" not in str(told.value)
    assert str(tmp_path) in str(told.value)
