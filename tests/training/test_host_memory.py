"""Freed memory is kept while a training runs on processors, and given back behind it.

pytest tests/training/test_host_memory.py
"""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest
import torch
from torch import Tensor

from stargan_ray.training import host_memory
from stargan_ray.training.host_memory import freed_is_kept

MEBIBYTE = 1 << 20
CPU = torch.device("cpu")


STEPS = """
import contextlib, resource, sys, torch
from concurrent.futures import ThreadPoolExecutor
from stargan_ray.training.host_memory import freed_is_kept

def faults():
    for _ in range(20):  # blocks of 24 and 40 MiB, which have found their places by then
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [torch.ones(size << 18) for size in (24, 40)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with freed_is_kept(torch.device("cpu")) if sys.argv[1] == "kept" else contextlib.nullcontext():
    print(faults(), ThreadPoolExecutor(1).submit(faults).result())
"""


def faults_of_a_step(how: str) -> list[int]:
    """Pages that the system maps in a step of a new process, in its main thread and in another, as Ray Train's is."""
    done = subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, text=True, check=True)
    return [int(each) for each in done.stdout.split()]


def hole(mebibytes: int) -> Tensor:
    """Have some memory and free it, while what lies behind it stays."""
    freed = torch.ones(mebibytes * MEBIBYTE // 4)
    behind = torch.ones(MEBIBYTE)
    del freed
    return behind


def resident() -> int:
    """MiB of this process."""
    return int(psutil.Process().memory_info().rss) // MEBIBYTE


def test_a_step_maps_no_memory_that_the_one_before_has_freed() -> None:
    plain, kept = faults_of_a_step("plain"), faults_of_a_step("kept")
    assert len(plain) == len(kept) == 2
    if host_memory._glibc():  # other C libraries do as they like
        assert min(plain) >= 16  # at least 32 MiB anew, in pages of 2 MiB at the largest
        assert max(kept) < 16


def test_memory_is_given_back_even_by_a_training_that_fails() -> None:
    with freed_is_kept(CPU):
        pass  # what tests before this one have freed is the system's now
    before, seen = resident(), list[int]()
    behind: list[Tensor] = []

    def diverge() -> None:
        with freed_is_kept(CPU) as kept:
            behind.append(hole(64))
            seen.append(resident() if kept else before + 41)
            raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        diverge()
    assert seen[0] - before > 40
    assert resident() - before < 16


def test_nothing_is_done_on_a_gpu() -> None:
    with freed_is_kept(torch.device("cuda")) as kept:
        assert not kept
