"""The files that a reader takes over take little room and come back as they were.

pytest tests/data/readers/test_entries.py
"""

from __future__ import annotations

from itertools import islice

import pytest

from stargan_ray.data.readers.entries import Entries, Entry, Packed
from stargan_ray.data.trees import File


def some(count: int) -> list[Entry]:
    return [
        Entry(f"train/calm/{n:06d}.png", File("set.zip", 500 + n, 7, 31 * n), "train", "calm", None, (1, 2, n, 4))
        for n in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 1_023, 1_024, 1_025, 5_000])
def test_they_come_back_in_their_order_as_often_as_they_are_asked_for(count: int) -> None:
    entries = Entries()
    for number, entry in enumerate(some(count)):
        assert len(entries) == number
        entries.append(entry)
    for _ in range(2):
        assert list(entries) == some(count)
    assert list(islice(entries, 1_000, None)) == some(count)[1_000:]


def test_packed_they_take_a_tenth_of_the_room() -> None:
    packed = Packed.of(iter(some(5_000)))
    assert len(packed) == 5_000
    assert len(packed.data) < 30 * 5_000
    assert list(packed) == some(5_000)
    assert packed == Packed.of(packed)
