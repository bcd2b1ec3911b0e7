"""Scoring a data set on storage for the filter, beside the bare network over images that are decoded already.

python benchmarks/refine.py                                # the published VGG19 and two smaller ones: half an hour
python benchmarks/refine.py expression-tiny                # one of them
python benchmarks/refine.py expression-tiny=4096           # on so many rows

Both have the same cores: one (one thread), two by threads of one process (``--parallel 1``, the default), two by two
processes (``--parallel 2``, a pool of Ray). The pool's own start is measured apart, on two rows, and taken off.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import alternate, report, rounds, throughput

from stargan_ray.config import to_json
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.policy import Policy
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.writing import write_dataset
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime.cluster import start_ray
from stargan_ray.runtime.defaults import BLOCK
from stargan_ray.runtime.panel import Panel
from stargan_ray.runtime.refine import refine
from stargan_ray.runtime.score_store import BATCH, Blocks, score_dataset
from stargan_ray.runtime.scoring import Scorer, decode_rows, model_scorer
from stargan_ray.training.checkpoint import save_folder
from stargan_ray.training.loop import fresh_state
from stargan_ray.training.worker import LocalWorker

ROUNDS = rounds(5)
ROWS = {"expression-tiny": 16_384, "expression-short": 4_096, "expression": 768}  # some ten seconds of a core each

KEEP = Policy(rule="soft", threshold=0.0)  # every row stays, which is the most to write


def make_model(name: str, folder: Path) -> Scorer:
    """An untrained network of a recipe, saved and loaded as a trained one would be."""
    recipe = recipe_named(name)
    state = fresh_state(recipe, len(EXPRESSIONS), LocalWorker(), {})
    told = {"domains": list(EXPRESSIONS), "data_hash": "", "commit": "", "version": "", "metrics": {}, "helpers": {}}
    save_folder(state, folder, {"recipe": to_json(recipe), **told})
    return model_scorer(str(folder))


def make_data(size: int, rows: int, folder: Path) -> Dataset:
    """Generated faces as JPEGs."""
    write_dataset(str(folder), read_faces(FacesConfig(people=rows // 16, size=size)))
    return open_dataset(str(folder))


class Bare:
    """The network over decoded images: nothing is read, decoded or stored."""

    def __init__(self, scorer: Scorer, data: str, rows: int) -> None:
        decoded = decode_rows(open_dataset(data), scorer.size, np.arange(min(rows, BLOCK))).images
        assert decoded is not None
        self.score = scorer.make()
        self.batches = [decoded[start : start + BATCH] for start in range(0, len(decoded), BATCH)]
        self.count = rows // BATCH

    def __call__(self) -> None:
        """All batches; the images of a block take the place of those of the others."""
        for number in range(self.count):
            self.score(self.batches[number % len(self.batches)])


_mine: Bare  # of a process of the bare pool


def _become_bare(*arguments: Any) -> None:
    global _mine
    torch.set_num_threads(1)
    _mine = Bare(*arguments)


def _run_bare(_: int) -> None:
    _mine()


@contextmanager
def one_core() -> Iterator[None]:
    """This thread, and those it starts, on one core."""
    all_cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, {max(all_cores)})
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    os.sched_setaffinity(0, all_cores)


def measure(asked: str, work: Path) -> None:
    """One network: by one core, by threads, by a pool."""
    name, _, few = asked.partition("=")
    size, rows = recipe_named(name).data.size, int(few or ROWS[name])
    scorer = make_model(name, work / name)
    data = str(work / f"faces-{size}-{rows}")
    dataset = make_data(size, rows, data)
    block = max(BATCH, min(BLOCK, rows // 8))  # enough blocks for a pool to share, none smaller than a batch
    out = work / "out"

    def clear() -> None:
        shutil.rmtree(out, ignore_errors=True)

    def scoring(parallel: int, among: np.ndarray | None = None) -> None:
        blocks = Blocks(dataset, scorer, str(out), block if among is None else 1, among)
        score_dataset(blocks, parallel)

    bare = Bare(scorer, data, rows)
    with one_core():
        one: dict[str, Callable[[], object]] = {
            "one_bare": bare,
            "one_scoring": lambda: scoring(1),
            "one_refine": lambda: refine(data, str(out), Panel((scorer,)), KEEP, block=block),
        }
        seconds = alternate(ROUNDS, clear, **one)
    seconds |= alternate(ROUNDS, clear, threads_bare=bare, threads_scoring=lambda: scoring(1))
    start = time.perf_counter()
    start_ray()
    ray_start = time.perf_counter() - start
    with multiprocessing.get_context("spawn").Pool(2, _become_bare, (scorer, data, rows // 2)) as pool:
        seconds |= alternate(
            ROUNDS,
            clear,
            pool_bare=lambda: pool.map(_run_bare, range(2), chunksize=1),
            pool_start=lambda: scoring(2, np.arange(2)),
            pool_scoring=lambda: scoring(2),
        )
    seconds["pool_scoring_without_start"] = [
        whole - start for whole, start in zip(seconds["pool_scoring"], seconds["pool_start"], strict=True)
    ]
    pairs = {
        "one_scoring": "one_bare",
        "one_scoring_cpu": "one_bare_cpu",
        "one_refine": "one_bare",
        "one_refine_cpu": "one_bare_cpu",
        "threads_scoring": "threads_bare",
        "pool_scoring": "pool_bare",
        "pool_scoring_without_start": "pool_bare",
    }
    report(
        f"refine-{name}" + (f"-{few}" if few else ""),
        f"python benchmarks/refine.py {asked}",
        seconds,
        rows=rows,
        pixels=size,
        block=block,
        batch=BATCH,
        ray_start_seconds=round(ray_start, 2),
        throughput={f"{of} to {to}": throughput(seconds, of, to) for of, to in pairs.items()},
    )


def main() -> None:
    """Measure each network, or the one that is named."""
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or ROWS:
            measure(name, Path(folder))


if __name__ == "__main__":
    main()
