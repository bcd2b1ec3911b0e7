"""The Ray Train door: one run on the workers of a cluster, records and stop requests through one actor.

Checkpoints are the run's own (``training/checkpoint.py``), so the same run continues under Ray or without it.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import Progress

from stargan_ray.config import Recipe
from stargan_ray.data import storage
from stargan_ray.data.pipeline import RaySource
from stargan_ray.data.plan import Plan
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.stream import Source
from stargan_ray.errors import DivergedError, InputError
from stargan_ray.runtime.cluster import start_ray
from stargan_ray.runtime.embedder_use import notes, require_stored
from stargan_ray.runtime.judges import refuse_registered
from stargan_ray.runtime.plans import for_plan, make_plan
from stargan_ray.runtime.progress import Show, bar, display, interrupts
from stargan_ray.runtime.records import ActorRecorder, Shown, make_records, start_actor
from stargan_ray.runtime.room import Need, require_room
from stargan_ray.runtime.run import Run
from stargan_ray.runtime.session import run_worker, thread_source
from stargan_ray.runtime.starting import load_helpers
from stargan_ray.runtime.troubles import in_a_line, telling
from stargan_ray.training.loop import Outcome
from stargan_ray.training.step import NonFiniteError
from stargan_ray.training.worker import GroupWorker, LocalWorker

_RESIZE_S = 60.0  # between looks whether an elastic run has room for more workers: more of them cost a restart
_MAX_FAILURES = 3  # restarts of the workers after a crash or a lost node


def ray_source(dataset: Dataset, plan: Plan, lanes: Sequence[int], recipe: Recipe) -> Source:
    """Decode in Ray Data tasks."""
    data, cpus = recipe.data, recipe.scale.cpus_per_reader
    return RaySource(dataset, plan, lanes, data.size, data.cache_mib << 20, data.readers, cpus)


def _train_worker(config: dict[str, Any]) -> dict[str, Any] | None:
    """One Ray Train worker."""
    import ray
    from ray.train import get_context
    from ray.train.torch import get_device

    run: Run = config["run"]
    actor = config["records"]
    if ray.get(actor.failure.remote())[0]:
        return None  # started again after an error that will not go away
    if (group := get_context()).get_world_rank() == 0:
        actor.began.remote(group.get_world_size())
    try:
        worker = GroupWorker(get_device(), run.recipe.scale.timeout_s)
        source = thread_source if _reads_itself(run.recipe) else ray_source
        outcome = run_worker(run, worker, source, ActorRecorder(actor, run.name))
    except (InputError, NonFiniteError) as error:
        ray.get(actor.fail.remote(str(error), isinstance(error, NonFiniteError)))
        raise
    return vars(outcome)


def _reads_itself(recipe: Recipe) -> bool:
    """Whether workers decode in a thread of their own: an elastic run on CPUs takes all of them for its workers."""
    return recipe.scale.elastic and not recipe.scale.use_gpu


def _of_a_worker(recipe: Recipe) -> dict[str, float]:
    """What Ray reserves for a worker."""
    scale = recipe.scale
    reading = recipe.data.readers * scale.cpus_per_reader if _reads_itself(recipe) else 0.0
    return {"CPU": scale.cpus_per_worker + reading} | ({"GPU": 1.0} if scale.use_gpu else {})


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
        DivergedError: its numbers became infinite.
        KeyboardInterrupt: stopped by a person; the checkpoint is written.
    """
    run, data_hash = check(run.absolute())
    start_ray()
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    require_room(need_of(run.recipe))
    records = start_actor(run, data_hash)
    scale = run.recipe.scale
    filesystem, path = storage.resolve(storage.join(run.uri, "ray"))
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config={"run": run, "records": records},
        scaling_config=ScalingConfig(
            num_workers=(scale.workers[0], scale.workers[-1]) if scale.elastic else scale.workers[0],
            elastic_resize_monitor_interval_s=_RESIZE_S,
            use_gpu=scale.use_gpu,
            resources_per_worker=_of_a_worker(run.recipe),
        ),
        torch_config=TorchConfig(backend="nccl" if scale.use_gpu else "gloo", timeout_s=scale.timeout_s),
        # A name of its own each time: what continues is decided by our checkpoints alone.
        run_config=RunConfig(
            name=f"{run.name}-{int(time.time() * 1000)}",
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=_MAX_FAILURES),
            callbacks=[telling(records)],
        ),
    )
    status, why = "FAILED", ""
    try:
        result = _watched(trainer, records, run, progress, stop)
        if failure := _failure(records):
            raise failure
        outcome = Outcome(**result.return_value)
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
    beside = 0.0 if _reads_itself(recipe) else scale.cpus_per_reader
    return Need(who, least, _of_a_worker(recipe)["CPU"], int(scale.use_gpu), beside)


def _failure(records: Any) -> InputError | None:
    """What a worker could not go on from."""
    import ray

    message, diverged = ray.get(records.failure.remote())
    return (DivergedError if diverged else InputError)(message) if message else None


def _watched(trainer: Any, records: Any, run: Run, progress: Progress | None, stop: threading.Event | None) -> Any:
    """``trainer.fit()`` in a thread, with a progress bar; the first Ctrl-C asks, the second aborts."""
    import ray

    done: dict[str, Any] = {}

    def target() -> None:
        try:
            done["result"] = trainer.fit()
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
    if "error" in done:
        if failure := _failure(records):
            raise failure from done["error"]
        raise done["error"]
    return done["result"]
