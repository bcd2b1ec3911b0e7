"""The Ray Train door: one run on the workers of a cluster, records and stop requests through one actor.

Checkpoints are the run's own (``training/checkpoint.py``), so the same run continues under Ray or without it.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import Progress

from stargan_ray.config import Recipe
from stargan_ray.data import storage
from stargan_ray.data.shards import open_dataset
from stargan_ray.errors import DivergedError, InputError
from stargan_ray.runtime.cluster import ends_with_us, start_ray
from stargan_ray.runtime.embedder_use import notes, require_stored
from stargan_ray.runtime.judges import refuse_registered
from stargan_ray.runtime.plans import for_plan, make_plan
from stargan_ray.runtime.progress import Show, bar, display, interrupts
from stargan_ray.runtime.ray_worker import reads_itself, resources_of, train_worker
from stargan_ray.runtime.records import Shown, make_records, start_actor
from stargan_ray.runtime.restarts import persistently
from stargan_ray.runtime.room import Need, require_room
from stargan_ray.runtime.run import Run
from stargan_ray.runtime.session import run_worker, thread_source
from stargan_ray.runtime.starting import load_helpers
from stargan_ray.runtime.troubles import in_a_line, telling
from stargan_ray.training.loop import Outcome
from stargan_ray.training.step import NonFiniteError
from stargan_ray.training.worker import LocalWorker

_RESIZE_S = 60.0  # between looks whether an elastic run has room for more workers: more of them cost a restart


def prepare() -> None:
    """Start Ray and import what ``fit`` needs, before several threads do."""
    start_ray()
    import ray.train.torch  # noqa: F401


def fit(run: Run, *, progress: Progress | None = None, stop: threading.Event | None = None) -> Outcome:
    """Train a run with Ray Train; Ctrl-C ends it after a step with a checkpoint, twice at once.

    Args:
        run: what to train.
        progress: a display that is there already; None = its own.
        stop: set by whoever handles Ctrl-C, where several runs share it; None = handled here.

    Raises:
        InputError: something given cannot be used, or the run cannot fit the cluster.
        StorageError: a disk is full, or a store stays away: no fault of the run's.
        DivergedError: its numbers became infinite.
        KeyboardInterrupt: stopped by a person; the checkpoint is written.
    """
    run, data_hash = check(run.absolute())
    start_ray()
    import ray

    require_room(need_of(run.recipe))
    records = start_actor(run, data_hash)
    status, why = "FAILED", ""
    try:
        outcome = _watched(records, run, progress, stop)
        if failure := _failure(records):
            raise failure
        assert outcome, "a worker ended without an outcome or an error"
        status = "FINISHED" if outcome.finished else "KILLED"
    except BaseException as error:
        why = in_a_line(error)
        raise
    finally:
        ray.get(records.close.remote(status, why))
        ray.kill(records)
    if not outcome.finished:
        raise KeyboardInterrupt
    return outcome


def fit_here(run: Run) -> Outcome:
    """Train a run in this process, without Ray; Ctrl-C as in ``fit``."""
    run, data_hash = check(run)
    records = make_records(run, data_hash)
    device = "cuda" if run.recipe.scale.use_gpu else "cpu"
    status, why = "FAILED", ""
    try:
        with _shown(run, None) as show, interrupts(records.request_stop):
            records.began(1)
            outcome = run_worker(run, LocalWorker(device), thread_source, Shown(records, show))
        status = "FINISHED" if outcome.finished else "KILLED"
    except NonFiniteError as error:
        why = str(error)
        raise DivergedError(why) from error
    except BaseException as error:
        why = in_a_line(error)
        raise
    finally:
        records.close(status, why)
    if not outcome.finished:
        raise KeyboardInterrupt
    return outcome


def check(run: Run) -> tuple[Run, str]:
    """Find what is wrong before anything starts; returns the run, completed by its data, and their content hash."""
    dataset = open_dataset(run.data)
    plan = make_plan(run.recipe, dataset)
    run = replace(run, recipe=for_plan(run.recipe, plan))
    loaded = load_helpers(run)
    if run.embeddings:
        require_stored(run.recipe, dataset, plan.rows, loaded)
    for line in notes(run.recipe, loaded):
        print(f"warning: {line}", file=sys.stderr)
    _require_shares(run.recipe)
    storage.check_writable(run.uri)
    refuse_registered(loaded)
    return run, dataset.manifest.content_hash


def _require_shares(recipe: Recipe) -> None:
    """Every number of workers must be able to share a batch, and each worker to accumulate its share."""
    shape, parts = recipe.data.shape, recipe.train.accumulate
    shape.require_divisible(recipe.scale.workers)
    for number in recipe.scale.workers:
        if shape.batch // number % parts:
            raise InputError(
                f"train.accumulate = {parts}: allowed are divisors of a worker's {shape.batch // number} images a step"
                + (f", when there are {number}" if recipe.scale.elastic else "")
            )


@contextlib.contextmanager
def _shown(run: Run, progress: Progress | None) -> Iterator[Show]:
    """A bar of the run's steps, in a display that is there already or in its own."""
    own = display(Console(stderr=True)) if progress is None else contextlib.nullcontext(progress)
    with own as shared:
        yield bar(shared, run.name, run.recipe.train.steps)


def need_of(recipe: Recipe) -> Need:
    """What a training needs at the same time, or it would wait for ever: its (fewest) workers, and one reader."""
    scale, least = recipe.scale, recipe.scale.workers[0]
    who = (
        f"scale.num_workers = {least} ({scale.cpus_per_worker:g} CPUs a worker, {scale.cpus_per_reader:g} "
        "for a reader; lower --scale.num-workers, --scale.cpus-per-worker or --scale.cpus-per-reader)"
    )
    beside = 0.0 if reads_itself(recipe) else scale.cpus_per_reader
    return Need(who, least, resources_of(recipe)["CPU"], int(scale.use_gpu), beside)


def _failure(records: Any) -> InputError | None:
    """What a worker could not go on from."""
    import ray

    message, fault = ray.get(records.failure.remote())
    kinds = {"diverged": DivergedError, "storage": storage.StorageError}
    return kinds.get(fault, InputError)(message) if message else None


def _say(records: Any, run: Run) -> None:
    """Print what was noted of the run since the last call."""
    import ray

    for note in ray.get(records.notes.remote()):
        print(f"{run.name}: {note}", file=sys.stderr)


def _trainer(run: Run, records: Any) -> Any:
    """Ray's trainer of the run."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig

    from stargan_ray.runtime.ray_trainer import LeanTorchTrainer

    scale = run.recipe.scale
    filesystem, path = storage.resolve(storage.join(run.uri, "ray"))
    return LeanTorchTrainer(
        ends_with_driver=ends_with_us(),
        train_loop_per_worker=train_worker,
        train_loop_config={"run": run, "records": records},
        scaling_config=ScalingConfig(
            num_workers=(scale.workers[0], scale.workers[-1]) if scale.elastic else scale.workers[0],
            elastic_resize_monitor_interval_s=_RESIZE_S,
            use_gpu=scale.use_gpu,
            resources_per_worker=resources_of(run.recipe),
        ),
        torch_config=TorchConfig(backend="nccl" if scale.use_gpu else "gloo", timeout_s=scale.timeout_s),
        # A name of its own each time: what continues is decided by our checkpoints alone.
        run_config=RunConfig(
            name=f"{run.name}-{int(time.time() * 1000)}",
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=scale.restarts),
            callbacks=[telling(records)],
        ),
    )


def _watched(records: Any, run: Run, progress: Progress | None, stop: threading.Event | None) -> Outcome | None:
    """Training in a thread, with a progress bar; the first Ctrl-C asks, the second aborts."""
    import ray

    done: dict[str, Any] = {}

    def attempt() -> Outcome | None:
        told = _trainer(run, records).fit().return_value
        return Outcome(**told) if told else None

    def target() -> None:
        try:
            done["result"] = persistently(run, attempt, records.note.remote)
        except BaseException as error:
            done["error"] = error

    thread = threading.Thread(target=target, daemon=True, name="fit")
    asked, told = stop or threading.Event(), False
    handled = interrupts(asked.set) if stop is None else contextlib.nullcontext()
    with _shown(run, progress) as show, handled:
        thread.start()
        while thread.is_alive():
            thread.join(0.25)
            if asked.is_set() and not told:
                records.request_stop.remote()
                told = True
            show(*ray.get(records.progress.remote()))
            _say(records, run)
        _say(records, run)
    if "error" in done:
        if failure := _failure(records):
            raise failure from done["error"]
        raise done["error"]
    outcome: Outcome | None = done["result"]
    return outcome
