"""Workers beside one another: torch's gloo alone, and the same by Ray Train with its data by Ray Data.

    python benchmarks/scale.py                  # some seven minutes on two cores that nothing else uses

``stargan-v2-tiny`` at 32 px, a global batch of 16 whoever computes it. In turn, in one process a rank: one worker with
one thread, one worker with a thread for every core, and a worker of one thread on every core, all on random images in
memory. Then Ray: whole trainings of generated faces with the loop's own rates, start-up left out; its readers have a
core where there is one over. Then the first part once more, so that both of a comparison have seen the same machine.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import torch
import torch.distributed as dist
from measure import alternate, report, rounds, throughput
from torch import multiprocessing

from stargan_ray.config import Recipe, override
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.writing import write_dataset
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime import launch
from stargan_ray.runtime.run import Run
from stargan_ray.runtime.standing import read_now
from stargan_ray.training.loop import fresh_state
from stargan_ray.training.step import run_step
from stargan_ray.training.worker import GroupWorker, LocalWorker, Worker

RECIPE, SIZE, BATCH = "stargan-v2-tiny", 32, 16
STEPS = 8  # timed at once: the recipe's own mathematics repeats after four
ROUNDS, REPORTS = rounds(4), 12


def steps_of(worker: Worker, threads: int) -> Callable[[], None]:
    """Some iterations of a worker on its share of random images."""
    recipe, share = recipe_named(RECIPE), BATCH // worker.world_size
    state = fresh_state(recipe, len(EXPRESSIONS), worker, {})
    images = {name: torch.rand(share, 3, SIZE, SIZE) * 2 - 1 for name in ("source", "reference", "reference2")}
    labels = {name: torch.randint(len(EXPRESSIONS), (share,)) for name in ("source_label", "target_label")}
    part = (images | labels, lambda _, width: torch.randn(share, width))

    def work() -> None:
        torch.set_num_threads(threads)
        for _ in range(STEPS):
            worker.at(state.step)
            run_step(state, worker, [part], ema=recipe.train.ema)
            worker.stops(state.step)

    return work


def rank_of(rank: int, workers: int, folder: str) -> None:
    """One of the ranks; the first times them all, the others wait while it works alone."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting-{workers}", rank=rank, world_size=workers)
    group = GroupWorker()
    together = steps_of(group, 1)
    alone: dict[str, Callable[[], object]] = {f"one_worker_{n}_threads": lambda: None for n in (1, workers)}
    if rank == 0:
        alone = {f"one_worker_{n}_threads": steps_of(LocalWorker(), n) for n in (1, workers)}
    with group.together(str):
        seconds = alternate(ROUNDS, dist.barrier, **alone, **{f"{workers}_workers": together})
    if rank == 0:
        Path(folder, f"{workers}.json").write_text(json.dumps(seconds))
    dist.destroy_process_group()


def by_gloo(workers: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of ``STEPS`` steps by one worker and by several, in turn."""
    multiprocessing.spawn(rank_of, (workers, str(folder)), nprocs=workers)
    (folder / f"meeting-{workers}").unlink(missing_ok=True)
    seconds: dict[str, list[float]] = json.loads((folder / f"{workers}.json").read_text())
    return seconds


def recipe_of(workers: int) -> Recipe:
    """The recipe as Ray trains it: nothing but steps, and a rate after every few."""
    fields: dict[str, Any] = {
        "train.steps": STEPS * (REPORTS + 1),
        "train.report_every": STEPS,
        "train.checkpoint_every": STEPS * (REPORTS + 1),
        "train.validate_every": 0,
        "train.sample_every": 0,
        "train.threads": 1,
        "train.best": "",
        "scale.num_workers": workers,
        "data.shape.batch": BATCH,
        "data.shape.lanes": max(workers, 2),
    }
    return override(recipe_named(RECIPE), fields)


def by_ray(workers: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of ``STEPS`` steps at each rate that the loop has reported, and the share that it waited for data."""
    run = Run(recipe_of(workers), str(folder / "faces"), str(folder / "runs"), f"ray-{workers}")
    launch.fit(run)
    told = read_now(run.uri)
    assert told, "a run leaves its last reports"
    reports = [each for each in told.reports if each.images_per_second][1:]  # the first has the warm-up in it
    return {
        f"ray_{workers}_workers": [STEPS * BATCH / each.images_per_second for each in reports],
        f"waited_{workers}": [each.data_wait_share for each in reports],
    }


def of_medians(seconds: dict[str, list[float]], of: str, to: str) -> dict[str, float]:
    """As ``throughput`` where the two were not measured in turn: of medians, and at the extremes of both."""
    mine, base = seconds[of], seconds[to]
    shown = {
        "median": statistics.median(base) / statistics.median(mine),
        "lowest": min(base) / max(mine),
        "highest": max(base) / min(mine),
    }
    return {key: round(value, 3) for key, value in shown.items()}


def main() -> None:
    """Measure and report."""
    torch.set_num_threads(1)
    cores = len(os.sched_getaffinity(0))
    several = [number for number in (2, 4) if number <= cores]
    if not several:
        raise SystemExit("skipped: it takes two cores")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        faces = FacesConfig(people=60, images_per_person=16, size=SIZE, splits=(1.0, 0.0, 0.0))
        write_dataset(str(folder / "faces"), read_faces(faces))
        groups = {workers: by_gloo(workers, folder) for workers in several}
        launch.prepare()
        trained = {workers: by_ray(workers, folder) for workers in (1, *several)}
        ray.shutdown()
        for workers in several:
            for key, more in by_gloo(workers, folder).items():
                groups[workers][key] += more
    seconds, waits, facts = dict[str, list[float]](), dict[str, float](), dict[str, Any]()
    for workers, found in groups.items():
        seconds |= {key if key not in seconds else f"{key}_beside_{workers}": value for key, value in found.items()}
        for name, base in ((f"{workers}_threads", f"one_worker_{workers}_threads"), ("one", "one_worker_1_threads")):
            facts[f"{workers}_workers_to_{name}"] = throughput(found, f"{workers}_workers", base)
    for workers, found in trained.items():
        waits[str(workers)] = round(statistics.median(found.pop(f"waited_{workers}")), 4)
        seconds |= found
        bare = "one_worker_1_threads" if workers == 1 else f"{workers}_workers"
        facts[f"ray_to_bare_{workers}"] = of_medians(seconds, f"ray_{workers}_workers", bare)
    shape = {"batch": BATCH, "size": SIZE, "steps": STEPS, "cores": cores}
    report("scale", "python benchmarks/scale.py", seconds, **shape, data_wait_share=waits, **facts)


if __name__ == "__main__":
    main()
