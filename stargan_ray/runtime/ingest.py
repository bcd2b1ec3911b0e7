"""Ingest with progress, in this process or as Ray Data tasks on this machine or a cluster."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from stargan_ray.data.manifest import Manifest
from stargan_ray.data.units import Source, Task, Written
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

# What tells workers of a running cluster where storage is. Keys are not among it, since the dashboard shows a
# job's environment: nodes have their own credentials.
_PASSED_ON = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION")


def ingest(source: Source, uri: str, *, parallel: int | None, overwrite: bool) -> Manifest:
    """Write a source to a URI and show how far it is.

    Args:
        source: What a reader made.
        uri: Where.
        parallel: Processes, 1 or more; None is one, or all of a Ray cluster if RAY_ADDRESS names one.
        overwrite: Replace another data set at the URI.

    Returns:
        The manifest of the finished data set.

    Raises:
        InputError: As `write_dataset`, or if no cluster or no processor can be had.
    """
    console = Console(stderr=True)
    for note in source.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    columns = (
        TextColumn("ingest"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rows]}"),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("ingest", total=len(source.units), rows="")
        rows = 0

        def on_written(written: Written) -> None:
            nonlocal rows
            rows += sum(labels.num_rows for labels in written.labels)
            progress.update(bar, advance=1, rows=f"{rows} rows")

        in_process = parallel == 1 or (parallel is None and "RAY_ADDRESS" not in os.environ)
        map_tasks = map if in_process else _ray_map(parallel)
        return write_dataset(uri, source, map_tasks=map_tasks, overwrite=overwrite, on_written=on_written)


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
        import ray

        _start_ray(parallel)
        packed = [{"task": pickle.dumps(task)} for task in tasks]
        data = ray.data.from_items(packed, override_num_blocks=len(packed))
        done = data.map(_call, fn_args=(function,), compute=ray.data.TaskPoolStrategy(size=parallel))
        for row in done.iter_rows():
            written = pickle.loads(row["written"])  # from our own worker, never from storage
            if isinstance(written, str):
                raise InputError(written)
            yield written

    return run


def _call(row: dict[str, Any], function: Callable[[Task], Written]) -> dict[str, bytes]:
    """In a worker: one task; what a person can mend comes back as its message, not as Ray's traceback."""
    try:
        return {"written": pickle.dumps(function(pickle.loads(row["task"])))}
    except InputError as error:
        return {"written": pickle.dumps(str(error))}


def _start_ray(parallel: int | None) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # one bar is enough
    if not ray.is_initialized():
        if "RAY_ADDRESS" in os.environ:
            passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
            try:
                ray.init(runtime_env={"env_vars": passed}, log_to_driver=False, logging_level="error")
            except ConnectionError as error:
                raise InputError(f"no Ray cluster answers at {os.environ['RAY_ADDRESS']}: {error}") from error
        else:
            ray.init(num_cpus=parallel, include_dashboard=False, log_to_driver=False, logging_level="error")
    if ray.cluster_resources().get("CPU", 0) < 1:  # Ray Data would wait for one without a word
        raise InputError("no node of the Ray cluster has a whole processor: start it with --num-cpus=1 or more")
