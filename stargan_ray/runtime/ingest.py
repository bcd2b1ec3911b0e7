"""Ingest with progress, in this process or as Ray Data tasks on this machine or a cluster."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from stargan_ray.data.manifest import Manifest
from stargan_ray.data.units import Source, Task, Written
from stargan_ray.data.writing import map_here, write_dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime.cluster import start_ray
from stargan_ray.runtime.progress import display
from stargan_ray.runtime.room import Need, cpus_now, require_room

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_UNITS = 8  # of a task: what a killed process has to do again
_LEAST_TURNS = 4  # of each process, so that they end at about the same time


def ingest(
    source: Source,
    uri: str,
    *,
    parallel: int | None,
    overwrite: bool,
    drop_duplicates: bool = False,
    progress: Progress | None = None,
    title: str = "ingest",
) -> Manifest:
    """Write a source to a URI and show how far it is.

    Args:
        source: What a reader made.
        uri: Where.
        parallel: Processes, 1 or more; None is one, or all of a Ray cluster if RAY_ADDRESS names one.
        overwrite: Replace another data set at the URI.
        drop_duplicates: Keep only the first of the rows with one image.
        progress: A display that is there already; None is its own.
        title: Of the bar.

    Returns:
        The manifest of the finished data set.

    Raises:
        InputError: As `write_dataset`, or if no cluster or no processor can be had.
    """
    console = Console(stderr=True)
    for note in source.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    with display(console) if progress is None else contextlib.nullcontext(progress) as shown:
        bar = shown.add_task(title, total=len(source.units), said="")
        rows = 0

        def on_written(written: Written) -> None:
            nonlocal rows
            rows += sum(labels.num_rows for labels in written.labels)
            shown.update(bar, advance=1, said=f"{rows} rows")

        in_process = parallel == 1 or (parallel is None and "RAY_ADDRESS" not in os.environ)
        map_tasks = map_here if in_process else _ray_map(parallel)
        return write_dataset(
            uri,
            source,
            map_tasks=map_tasks,
            overwrite=overwrite,
            drop_duplicates=drop_duplicates,
            on_written=on_written,
        )


def table(manifest: Manifest) -> Table:
    """Rows by expression and split, and the number of people, as a table to print."""
    splits = list(manifest.rows_by_split)
    names = dict.fromkeys(name for split in splits for name in manifest.rows_by_domain[split])
    shown = Table("rows", *splits)
    for name in names:
        shown.add_row(name, *(str(manifest.rows_by_domain[split].get(name, 0)) for split in splits))
    shown.add_section()
    shown.add_row("all", *(str(manifest.rows_by_split[split]) for split in splits))
    shown.add_row("people", *(str(manifest.identities[split]) for split in splits))
    return shown


def _ray_map(
    parallel: int | None,
) -> Callable[[Callable[[Task], Written], Sequence[Task]], Iterable[Written]]:
    def run(function: Callable[[Task], Written], tasks: Sequence[Task]) -> Iterator[Written]:
        if not tasks:
            return
        start_ray()
        import ray

        require_room(Need("a task that reads or draws", 1, 1))
        blocks = _blocks(len(tasks), parallel or cpus_now())
        data = ray.data.from_items([{"task": task} for task in tasks], override_num_blocks=blocks)
        done = data.map(_call, fn_args=(function,), compute=ray.data.TaskPoolStrategy(size=parallel))
        for row in done.iter_rows():
            if isinstance(row["written"], str):
                raise InputError(row["written"])
            yield row["written"]

    return run


def _blocks(units: int, processes: int) -> int:
    """How many tasks of Ray Data: one that reads a single shard of small faces ends before the next is handed out."""
    return -(-units // max(1, min(_MOST_UNITS, units // (_LEAST_TURNS * processes))))


def _call(row: dict[str, Task], function: Callable[[Task], Written]) -> dict[str, Written | str]:
    """In a worker: one task; what a person can mend comes back as its message, not as Ray's traceback."""
    try:
        return {"written": function(row["task"])}
    except InputError as error:
        return {"written": str(error)}
