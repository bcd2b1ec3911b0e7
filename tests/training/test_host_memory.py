"""Freed memory is kept while a training runs on processors, and given back behind it.

pytest tests/training/test_host_memory.py
"""

from __future__ import annotations

import resource

import psutil
import pytest
import torch

from stargan_ray.training import host_memory
from stargan_ray.training.host_memory import freed_is_kept

MEBIBYTE = 1 << 20
CPU = torch.device("cpu")


def faults_of_a_step() -> int:
    """Pages that the system has to map for blocks of 40 and 96 MiB, after they have been there and were freed."""
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [torch.ones(size * MEBIBYTE // 4) for size in (40, 96)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    """MiB of this process."""
    return int(psutil.Process().memory_info().rss) // MEBIBYTE


def test_a_step_maps_no_memory_that_the_one_before_has_freed() -> None:
    with freed_is_kept(CPU) as kept:
        assert kept == (host_memory._glibc() is not None)
        if kept:
            assert faults_of_a_step() < 100  # of 34,816 pages
    assert not kept or faults_of_a_step() >= 68  # it is the system's again, in pages of 2 MiB at the largest


def test_memory_is_given_back_even_by_a_training_that_fails() -> None:
    before, seen = resident(), []

    def diverge() -> None:
        with freed_is_kept(CPU) as kept:
            faults_of_a_step()
            seen.append(resident() if kept else before + 101)
            raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        diverge()
    assert seen[0] - before > 100
    assert resident() - before < 40


def test_nothing_is_done_on_a_gpu() -> None:
    with freed_is_kept(torch.device("cuda")) as kept:
        assert not kept
