"""Memory that is used again: only when nothing of the array before is left.

pytest tests/data/test_arena.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import torch

from stargan_ray.data.arena import Arena

SHAPE = (5, 3, 8, 8)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_is_used_again() -> None:
    arena = Arena()
    first = arena.empty(SHAPE)
    where = address(first)
    first[:] = 7
    assert first.shape == SHAPE
    assert first.flags.c_contiguous
    assert first.flags.writeable
    first_bytes = first.nbytes
    del first
    assert address(arena.empty(SHAPE)) == where
    slightly_larger = arena.empty((first_bytes + 20,))
    assert address(slightly_larger) == where


@pytest.mark.parametrize(
    "hold",
    [
        lambda array: array,
        lambda array: array[1:],
        lambda array: array[2:][:1].reshape(-1),
        lambda array: array.transpose(0, 2, 3, 1),
        torch.from_numpy,
        lambda array: torch.from_numpy(array)[1:].flatten(),
        pa.py_buffer,
        lambda array: pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), 1, [None, pa.py_buffer(np.array([0, array.nbytes])), pa.py_buffer(array)]
        ),
        lambda array: memoryview(array)[1:],
    ],
)
def test_what_is_made_of_an_array_holds_its_memory(hold: Callable[[np.ndarray], object]) -> None:
    arena = Arena()
    first = arena.empty(SHAPE)
    where = address(first)
    held = hold(first)
    del first
    others = [arena.empty(SHAPE) for _ in range(4)]
    assert where not in map(address, others)
    del held
    assert address(arena.empty(SHAPE)) == where


def test_it_keeps_as_many_blocks_as_were_in_use_at_once() -> None:
    arena = Arena()
    for _ in range(3):
        used = [arena.empty(SHAPE) for _ in range(4)]
        assert len({address(each) for each in used}) == 4
        del used
    assert len(arena._free) == 4
    large = arena.empty((50, 3, 8, 8))
    assert large.shape == (50, 3, 8, 8)
    assert arena._free == []
