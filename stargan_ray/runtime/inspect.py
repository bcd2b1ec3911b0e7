"""Inspect a data set: decode every row here or in actors of Ray, then write the findings and their page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from stargan_ray.data import storage
from stargan_ray.data.image_facts import FACTS_SCHEMA, LOST, measure, pieces
from stargan_ray.data.inspection import findings
from stargan_ray.data.manifest import Manifest
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.verdict import Verdict, judge
from stargan_ray.errors import InputError
from stargan_ray.evaluation.inspection_charts import charts
from stargan_ray.evaluation.inspection_page import render
from stargan_ray.evaluation.thumbnails import thumbnails
from stargan_ray.runtime.cluster import start_ray
from stargan_ray.runtime.progress import display
from stargan_ray.runtime.room import Need, require_room

Ints = npt.NDArray[np.int64]
_ROW = "row"


@dataclass(frozen=True)
class Inspection:
    """What was found, to be told."""

    manifest: Manifest
    found: dict[str, Any]  # see findings
    verdict: Verdict
    page: str  # URI of inspect.html


def inspect(data: str, out: str, *, sample: int = 6, seed: int = 0, parallel: int = 1) -> Inspection:
    """Write ``inspect.html`` and ``inspect.json`` on a data set; of the data nothing is changed.

    Args:
        data: URI of an ingested data set.
        out: Where the two files go, a folder or an object-store prefix.
        sample: Images of every expression on the page, 0 or more.
        seed: Of that sample, 0 or more.
        parallel: Processes that decode, 1 or more; the result does not depend on it.

    Raises:
        InputError: There is no data set, nothing of it can be read, ``out`` cannot be written, or the cluster has
            too few CPUs.
    """
    # Row groups are read once and in order: a cache would only hold memory.
    dataset = open_dataset(data, cache_bytes=0)
    out = storage.absolute(out)
    storage.check_writable(out)
    facts = gather(dataset, parallel)
    found = findings(dataset, facts)
    verdict = judge(found)
    page = render(found, verdict, thumbnails(dataset, facts, sample=sample, seed=seed), charts(found))
    where = storage.join(out, "inspect.html")
    storage.write_bytes(where, page.encode())
    told = {"problems": verdict.problems, "worth_a_look": verdict.worth_a_look, **found}
    # Last, because a program that finds it may rely on the page.
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False)
    storage.write_bytes(storage.join(out, "inspect.json"), text.encode() + b"\n")
    return Inspection(dataset.manifest, found, verdict, where)


def gather(dataset: Dataset, parallel: int = 1) -> pa.Table:
    """FACTS_SCHEMA of every row of the index, in its order, with a bar on stderr.

    Args:
        dataset: What to decode.
        parallel: Processes; 1 is this one, more are an actor pool of Ray Data.

    Raises:
        InputError: No shard can be read, or the cluster has too few CPUs.
    """
    parts = pieces(dataset)
    positions, measured = [], []
    with display(Console(stderr=True)) as progress:
        bar = progress.add_task("inspect", total=len(dataset), said="")
        for rows, part in _here(dataset, parts) if parallel == 1 else _ray(dataset, parts, parallel):
            positions.append(rows)
            measured.append(part)
            progress.update(bar, advance=part.num_rows)
    # Actors end in any order.
    facts = pa.concat_tables(measured).take(np.argsort(np.concatenate(positions)))
    lost = facts.filter(pc.equal(facts["fault"], LOST))
    if lost.num_rows == len(dataset):
        raise InputError(lost["detail"][0].as_py())
    return facts


def _here(dataset: Dataset, parts: list[Ints]) -> Iterator[tuple[Ints, pa.Table]]:
    for rows in parts:
        yield rows, measure(dataset, rows)


class _Actor:
    """One member of the pool: the data set is opened once."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __call__(self, block: pa.Table) -> pa.Table:
        rows = block[_ROW].to_numpy()
        return measure(self.dataset, rows).append_column(_ROW, block[_ROW])


def _ray(dataset: Dataset, parts: list[Ints], parallel: int) -> Iterator[tuple[Ints, pa.Table]]:
    start_ray()
    import ray

    require_room(Need(f"--parallel {parallel}", parallel, 1))
    # One block a piece; blocks that are there already need no reading task, which would want a CPU of its own.
    done = ray.data.from_arrow([pa.table({_ROW: rows}) for rows in parts]).map_batches(
        _Actor,
        fn_constructor_args=(dataset,),
        compute=ray.data.ActorPoolStrategy(size=parallel),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=1,
    )
    for block in done.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield block[_ROW].to_numpy(), block.drop_columns([_ROW]).cast(FACTS_SCHEMA)


def table(found: dict[str, Any]) -> Table:
    """What was counted beside the rows, as a table to print."""
    shown = Table("finding", "number")
    lines = {
        "images in more than one split": len(found["copies"]["across_splits"]),
        "images under different expressions": len(found["conflicts"]["expression"]),
        "images under different people": len(found["conflicts"]["identity"]),
        "images several times in one split": len(found["copies"]["within_split"]),
        "rows that cannot be read": len(found["unreadable"]["rows"]),
        "near-black images": len(found["near_black"]["rows"]),
        "near-empty images": len(found["near_empty"]["rows"]),
        "people in more than one split": len(found["people"]["in_several_splits"]),
        "ordered cross-domain pairs of train": found["pairs"]["total"],
    }
    for name, number in lines.items():
        shown.add_row(name, f"{number:,}")
    return shown
