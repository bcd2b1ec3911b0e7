"""What a rank of a test's group of processes does besides the test: meet the others, and compute in fp64."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from forked import forks
from torch import multiprocessing

from stargan_ray.data import transforms


def run_ranks(function: Callable[..., None], arguments: tuple[Any, ...], count: int) -> None:
    """``function(rank, *arguments)`` in so many processes; raises what one of them raised."""
    multiprocessing.start_processes(function, arguments, count, start_method=forks().get_start_method())


@contextlib.contextmanager
def in_double() -> Iterator[None]:
    """Networks and images in fp64, so that only the order of sums differs between numbers of ranks."""
    apply = transforms.apply
    torch.set_default_dtype(torch.float64)
    transforms.apply = lambda images, drawn: apply(images, drawn).double()
    try:
        yield
    finally:
        transforms.apply = apply
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def met(meeting: Path, rank: int, world_size: int) -> Iterator[None]:
    """One thread of a rank whose gloo group meets at a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world_size)
    yield
    dist.destroy_process_group()
