"""Units of a data set that need a network, in this process or in a pool of Ray actors: each loads it once.

What :func:`stargan_ray.data.writing.write_dataset` calls for its units, beside the plain tasks of ``ingest``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stargan_ray.data import storage
from stargan_ray.data.schema import SPLITS
from stargan_ray.data.units import Task, Written, find_written, write_unit
from stargan_ray.data.writing import MapTasks
from stargan_ray.errors import InputError
from stargan_ray.runtime.block_pool import each_block


def unit_pool(parallel: int, warm: Callable[[], object]) -> MapTasks:
    """Applies ``write_unit`` to tasks; units that are written already go to no process.

    Args:
        parallel: processes; 1 is this one, more are actors of Ray.
        warm: picklable, called once in every process before its first unit, to load what the units need; they find it
            in that process by themselves.
    """

    def run(_function: Callable[[Task], Written], tasks: Sequence[Task]) -> Iterator[Written]:
        missing = []
        for task in tasks:
            found = find_written(task) if task.present else None
            if found is not None:
                yield found
                continue
            for path in task.present:  # damaged or of another configuration: not to be taken for what comes now
                storage.delete(storage.join(task.uri, path))
            missing.append(task)
        work = _Work(tuple(missing), warm)
        for number in each_block(work, range(len(missing)), parallel):
            written = work.find(number)
            if written is None:
                raise InputError(
                    f"{missing[number].uri} cannot be read here: workers on other machines need a shared folder or s3://…"
                )
            yield dataclasses.replace(written, reused=False)

    return run


@dataclass(frozen=True)
class _Work:
    """Units as blocks, each by its place among them; see ``block_pool.Work``."""

    tasks: tuple[Task, ...]
    warm: Callable[[], object]

    def make(self) -> object:
        """What the units need, in this process."""
        return self.warm()

    def find(self, number: int) -> Written | None:
        """What is on storage now of a unit, if it is whole."""
        task = self.tasks[number]
        paths = [f"rows/{split}-{task.unit.number:05d}.parquet" for split in SPLITS]
        present = tuple(path for path in paths if storage.exists(storage.join(task.uri, path)))
        return find_written(dataclasses.replace(task, present=present)) if present else None

    def stored(self, number: int) -> bool:
        """Whether a unit is written whole: a task that is tried again may find it so."""
        return self.find(number) is not None

    def write(self, number: int, _tool: object) -> None:
        """Write a unit."""
        write_unit(self.tasks[number])
