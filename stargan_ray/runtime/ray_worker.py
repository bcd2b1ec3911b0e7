"""What runs in a training worker of Ray Train, and what Ray reserves for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stargan_ray.config import Recipe
from stargan_ray.data.pipeline import RaySource
from stargan_ray.data.plan import Plan
from stargan_ray.data.shards import Dataset
from stargan_ray.data.storage import StorageError
from stargan_ray.data.stream import Source
from stargan_ray.errors import InputError
from stargan_ray.runtime.records import ActorRecorder
from stargan_ray.runtime.records_actor import Fault
from stargan_ray.runtime.run import Run
from stargan_ray.runtime.session import run_worker, thread_source
from stargan_ray.training.step import NonFiniteError
from stargan_ray.training.worker import GroupWorker


def ray_source(dataset: Dataset, plan: Plan, lanes: Sequence[int], recipe: Recipe) -> Source:
    """Decode in Ray Data tasks."""
    data, cpus = recipe.data, recipe.scale.cpus_per_reader
    return RaySource(dataset, plan, lanes, data.size, data.cache_mib << 20, data.readers, cpus)


def train_worker(config: dict[str, Any]) -> dict[str, Any] | None:
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
        scale = run.recipe.scale
        worker = GroupWorker(get_device(), scale.timeout_s, scale.gradients)
        source = thread_source if reads_itself(run.recipe) else ray_source
        outcome = run_worker(run, worker, source, ActorRecorder(actor, run.name), _notice)
    except (InputError, NonFiniteError) as error:
        ray.get(actor.fail.remote(str(error), _fault(error)))
        if group.get_world_size() == 1:
            return None  # or Ray would start another worker, only to be told that there is nothing to do
        raise  # the others wait for this one
    return vars(outcome)


def _fault(error: Exception) -> Fault:
    """What a driver should know of an error, besides what it says."""
    return "diverged" if isinstance(error, NonFiniteError) else "storage" if isinstance(error, StorageError) else ""


def _notice() -> str:
    """What Ray knows of the end of this run's machines; its public question is a round of all workers."""
    from ray.train.v2._internal.execution.context import get_train_context

    info = get_train_context().preemption_context.preemption_info
    return f"the machine of rank {', '.join(map(str, info.preempted_ranks))} is taken away" if info else ""


def reads_itself(recipe: Recipe) -> bool:
    """Whether workers decode in a thread of their own: an elastic run on CPUs takes all of them for its workers."""
    return recipe.scale.elastic and not recipe.scale.use_gpu


def resources_of(recipe: Recipe) -> dict[str, float]:
    """What Ray reserves for a worker."""
    scale = recipe.scale
    reading = recipe.data.readers * scale.cpus_per_reader if reads_itself(recipe) else 0.0
    return {"CPU": scale.cpus_per_worker + reading} | ({"GPU": 1.0} if scale.use_gpu else {})
