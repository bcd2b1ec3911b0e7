"""Blocks of work over the rows of a data set, one after another here or side by side in a pool of Ray actors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stargan_ray.data.pipeline import said_plainly
from stargan_ray.runtime.cluster import start_ray
from stargan_ray.runtime.room import Need, require_room

Tool = TypeVar("Tool")


class Work(Protocol[Tool]):
    """What is done block by block; it travels to the actors by pickle."""

    def make(self) -> Tool:
        """What a process needs for all its blocks, such as a network on its device; called once in each."""
        ...

    def stored(self, start: int) -> bool:
        """Whether a block is stored whole."""
        ...

    def write(self, start: int, tool: Tool) -> None:
        """Do a block and store it."""
        ...


def each_block(work: Work[Any], starts: Sequence[int], parallel: int) -> Iterator[int]:
    """Do the blocks that begin at ``starts``; each is told when it is stored, in any order.

    Args:
        work: what is done.
        starts: the first place of each block.
        parallel: processes; 1 is this one, more are an actor pool of Ray Data.

    Raises:
        InputError: the cluster has fewer CPUs, or what the work itself raises in this process.
    """
    if not starts:
        return iter(())
    return _here(work, starts) if parallel == 1 else _in_ray(work, starts, parallel)


def _here(work: Work[Any], starts: Sequence[int]) -> Iterator[int]:
    tool = work.make()
    for start in starts:
        work.write(start, tool)
        yield start


class _Actor:
    """One member of the pool: the network is loaded once."""

    def __init__(self, work: Work[Any]) -> None:
        self.work, self.tool = work, work.make()

    def __call__(self, batch: dict[str, npt.NDArray[np.int64]]) -> dict[str, npt.NDArray[Any]]:
        for start in map(int, batch["start"]):
            if not self.work.stored(start):  # a task that is tried again finds what it stored before
                self.work.write(start, self.tool)
        return batch


def _in_ray(work: Work[Any], starts: Sequence[int], parallel: int) -> Iterator[int]:
    start_ray()
    import ray

    require_room(Need(f"--parallel {parallel}", parallel, 1))
    # Blocks that are there already need no reading task, which would want a CPU of its own.
    done = ray.data.from_arrow([pa.table({"start": [start]}) for start in starts]).map_batches(
        _Actor,
        fn_constructor_args=(work,),
        compute=ray.data.ActorPoolStrategy(size=min(parallel, len(starts))),
        batch_size=None,
        num_cpus=1,
        num_gpus=1 if ray.cluster_resources().get("GPU", 0) >= parallel else 0,
    )
    with said_plainly():
        for batch in done.iter_batches(batch_size=None, batch_format="numpy"):
            yield from (int(start) for start in batch["start"])
